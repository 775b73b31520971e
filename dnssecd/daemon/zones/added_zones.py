"""Zones that come and go while the daemon runs: by ``zone add`` and ``zone remove``, and by catalogs.

They are added and removed as a reload of the configuration does it (``reload.py``). Their records are stored first when
they come, and before they go: after a crash in between, a zone is served, at worst as one without configuration.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dnssecd.clock import Clock
from dnssecd.config.added import AddedZone, make_zone
from dnssecd.config.diff import ConfigDiff
from dnssecd.config.errors import ConfigErrors
from dnssecd.config.model import Config, ZoneConfig
from dnssecd.config.values import Bad, parse_name
from dnssecd.control.command import Call, Command, Refused
from dnssecd.control.messages.zones import AddZone, RemoveZone, ZoneAdded, ZoneRemoved
from dnssecd.daemon.commands.common import zone_of
from dnssecd.daemon.zones.added_records import AddedRecords
from dnssecd.daemon.zones.kept_note import begins_anew
from dnssecd.daemon.zones.reload import UNUSABLE, Reloader
from dnssecd.daemon.zones.removal_gate import check_ds_gone
from dnssecd.daemon.zones.table import ZoneTable
from dnssecd.ops.events import EventCore
from dnssecd.replacing import replace
from dnssecd.store.aside import kept_of
from dnssecd.store.errors import StoreError

COMMAND_S = 600.0


class AddedZones:
    """Adds and removes zones, and answers the commands that do. Belongs to the event loop."""

    def __init__(
        self,
        records: AddedRecords,
        reloader: Reloader,
        table: ZoneTable,
        events: EventCore,
        clock: Clock,
    ) -> None:
        self.records = records
        self._reloader, self._table, self._events, self._clock = reloader, table, events, clock

    @property
    def turn(self) -> asyncio.Lock:
        """The lock that is held while zones are added and removed."""
        return self._reloader.turn

    @property
    def config(self) -> Config:
        """Return the configuration in force: another object after each change of zones."""
        return self._reloader.config

    def served(self) -> frozenset[str]:
        """Return the names of all zones that the daemon has, those without configuration included."""
        return frozenset(self._table.by_name)

    def commands(self) -> list[Command[Any]]:
        """Return the commands."""
        return [
            Command(AddZone, self.add, timeout=COMMAND_S),
            Command(RemoveZone, self.remove, timeout=COMMAND_S),
        ]

    async def add(self, call: Call[AddZone]) -> ZoneAdded:
        """Answer ``zone.add``."""
        request = call.request
        name = _name(request.zone)
        given = {} if request.file is None else {"file": request.file}
        async with self.turn:
            present = self._table.by_name.get(name)
            if present is not None and not present.orphan:
                raise Refused(f"this daemon has the zone {name} already", "see: dnssecd zone show " + name)
            added = AddedZone(zone=name, template=request.template, given=given, at=int(self._clock.now()))
            await self.change({name: (added, self.make(added))}, [])
            zone = self._table.by_name[name]
            kept = await asyncio.to_thread(kept_of, Path(zone.spec.database))
        warnings = [begins_anew(name, kept[0])] if kept and present is None else []
        message = f"{name} is added; it is served when it is signed: dnssecd zone wait {name} --current"
        return ZoneAdded(zone=name, changed=True, message=message, warnings=warnings)

    async def remove(self, call: Call[RemoveZone]) -> ZoneRemoved:
        """Answer ``zone.remove``."""
        request = call.request
        async with self.turn:
            zone = zone_of(self._table.by_name, request.zone)
            record = self.records.get(zone.name)
            if record is None and not zone.orphan:
                raise Refused(
                    f"{zone.name} is in the configuration file",
                    f"remove it there, then: dnssecd config reload --remove {zone.name}",
                )
            if record is not None and record.catalog in self.config.catalogs:
                raise Refused(
                    f"{zone.name} is a member of the catalog {record.catalog}", "remove it from the catalog"
                )
            if request.ds_is_gone:
                call.note("removal without a check of the parent's DS", zone.name)
            else:
                await check_ds_gone([zone], self.config, self._clock.now)
            await self.change({}, [zone.name])
        message = (
            f"{zone.name} is removed; its database and keys are kept. To restore it: dnssecd zone restore "
            f"{zone.name}"
        )
        return ZoneRemoved(zone=zone.name, changed=True, message=message)

    def make(self, added: AddedZone) -> ZoneConfig:
        """Return the zone of a record. Raise Refused."""
        try:
            return make_zone(self.config, added)
        except ConfigErrors as error:
            first = error.errors[0]
            raise Refused(f"{first.where}: {first.what}", first.remedy) from None

    async def change(
        self,
        added: Mapping[str, tuple[AddedZone, ZoneConfig]],
        removed: Sequence[str],
        *,
        load: bool = True,
    ) -> None:
        """Add or change zones, and remove others; hold :attr:`turn`. Raise Refused if nothing could be stored.

        load: whether the added zones are loaded. Of a removed zone that the daemon does not have, the record ends.
        """
        try:
            self.records.put([record for record, _ in added.values()])
            self.records.end(list(removed), int(self._clock.now()))
        except StoreError as error:
            raise Refused(
                f"the zones cannot be stored: {error}", "check disk space and permissions"
            ) from None
        config = self.config
        zones = {name: zone for name, zone in config.zones.items() if name not in removed}
        zones.update((name, zone) for name, (_, zone) in added.items())
        found = ConfigDiff(
            changes=(),
            added=tuple(name for name in added if name not in config.zones),
            removed=tuple(name for name in removed if name in self._table.by_name),
            changed=tuple(name for name in added if name in config.zones),
        )
        await self._reloader.apply(replace(config, zones=zones), found, [], load=load)
        for name in removed:
            self._events.resolve(UNUSABLE, None, name)

    async def put_back(self, zone: str) -> bool:
        """Add a removed zone as it had been added, for its restoration; hold :attr:`turn`. Return whether it was.

        Nothing is published from its input: the zone gets its earlier database next.
        """
        name = _name(zone)
        if name in self._table.by_name:
            return False
        record = self.records.removed(name)
        if record is None:
            return False
        again = AddedZone(zone=name, template=record.template, given=record.given, at=int(self._clock.now()))
        await self.change({name: (again, self.make(again))}, [], load=False)
        return True

    async def take_back(self, zone: str) -> None:
        """Undo :meth:`put_back`; hold :attr:`turn`."""
        await self.change({}, [_name(zone)])


def _name(text: str) -> str:
    try:
        return parse_name(text)
    except Bad as bad:
        raise Refused(bad.what, bad.remedy, exit=2) from None
