"""``zone restore``: restore a removed zone with its keys, their states and its serial."""

import asyncio
import os
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from dnssecd.clock import Clock
from dnssecd.config.model import Config
from dnssecd.control.command import Call, Command, Refused
from dnssecd.control.messages.zones import RestoreZone, ZoneRestored
from dnssecd.core.dns.names import full_name
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.restore_limits import highest
from dnssecd.daemon.commands.common import configured_zone_of
from dnssecd.daemon.zones import unconfigured as serving
from dnssecd.daemon.zones.added_zones import AddedZones
from dnssecd.daemon.zones.departure import Departures
from dnssecd.daemon.zones.restored_zone import may_return
from dnssecd.daemon.zones.start_up import recall
from dnssecd.daemon.zones.table import ZoneTable
from dnssecd.daemon.zones.work import ZoneJobs
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.keyservice_client.async_client import AsyncSignerClient
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.ops.events import EventCore
from dnssecd.pipeline.version import state
from dnssecd.store.aside import Kept, copy_kept, discard, kept_of
from dnssecd.store.catalogue import Catalogue
from dnssecd.store.errors import StoreError
from dnssecd.store.sqlite import SIDE_FILES, require_merged, sync_directory
from dnssecd.store.zonedb import ZoneDatabase
from dnssecd.uninterrupted import to_the_end

COMMAND_S = 3600.0
STORE_ERRORS = (StoreError, OSError)


class Parts(Struct, frozen=True):
    """The parts that a restore needs."""

    config: Callable[[], Config]
    table: ZoneTable
    jobs: ZoneJobs
    departures: Departures
    events: EventCore
    catalogue: Catalogue
    clock: Clock
    signer: AsyncSignerClient
    added: AddedZones


class RemovedZones:
    """The handler; one instance per daemon."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def commands(self) -> list[Command[Any]]:
        """Return the command."""
        return [Command(RestoreZone, self.restore, timeout=COMMAND_S)]

    async def restore(self, call: Call[RestoreZone]) -> ZoneRestored:
        """Answer ``zone.restore``; the version served now is also set aside."""
        unheard, added = call.request.first_publication, self._parts.added
        async with added.turn:
            was_added = await added.put_back(call.request.zone)
            try:
                back, kept = await self._bring_back(call, unheard=unheard)
            except BaseException:  # refused, or the client has left
                if was_added:
                    await added.take_back(call.request.zone)
                else:
                    self._return(call.request.zone)
                raise
        try:
            permission = await self._parts.jobs.permit(back, first_publication=unheard)
        except asyncio.CancelledError:
            self._return(back.name)
            raise
        if not permission.allowed:
            raise Refused(permission.cause, permission.remedy)
        message = f"{back.name} is restored from serial {kept.serial}, and published at serial {back.serial}"
        return ZoneRestored(zone=back.name, changed=True, serial=back.serial, message=message)

    def _return(self, name: str) -> None:
        """Have a zone published that was restored, and whose client has left."""
        zone = self._parts.table.by_name.get(full_name(name))
        if zone is not None and (zone.doubt is not None or zone.held is not None):
            self._parts.jobs.request(zone, "load")

    async def _bring_back(self, call: Call[RestoreZone], *, unheard: bool) -> tuple[FrontZone, Kept]:
        zone = configured_zone_of(self._parts.table.by_name, call.request.zone)
        kept = await self._newest(zone)
        note = state.Restored(
            at=int(self._parts.clock.now()),
            who=call.caller.user,
            source=kept.path.name,
            floor=zone.serial,
        )
        prepared = Path(f"{zone.spec.database}.back")
        try:
            keyset = await to_the_end(asyncio.to_thread(_prepare, kept, prepared, zone.origin, note))
            await self._check(zone, keyset, note, unheard=unheard)
            return await to_the_end(self._exchange(zone, kept, prepared)), kept
        except STORE_ERRORS as error:
            raise Refused(f"{kept.path}: {error}", "check permissions and disk") from None
        finally:
            await asyncio.to_thread(discard, prepared)

    async def _newest(self, zone: FrontZone) -> Kept:
        try:
            kept = await asyncio.to_thread(kept_of, Path(zone.spec.database))
        except OSError as error:
            raise Refused(
                f"the kept database of {zone.name} cannot be read: {error}", "check permissions"
            ) from None
        if not kept:
            raise Refused(
                f"there is no kept database of {zone.name}: it was not removed from this state_dir, or "
                f"never published",
                "restore it from a backup: dnssecd restore",
            )
        return kept[0]

    async def _check(
        self, zone: FrontZone, keyset: Keyset | None, note: state.Restored, *, unheard: bool
    ) -> None:
        """Refuse, with nothing changed, a zone that could not be published after the exchange."""
        if keyset is None:
            return
        await self._check_keys(zone, keyset)
        permission = await may_return(
            zone, self._parts.config(), keyset, note, self._parts.clock.now, unheard=unheard
        )
        if not permission.allowed:
            raise Refused(permission.cause, permission.remedy)

    async def _check_keys(self, zone: FrontZone, keyset: Keyset) -> None:
        try:
            held = {info.id for info in await self._parts.signer.keys(zone.origin) if info.state != "missing"}
        except SignerError as error:
            raise Refused(f"its keys cannot be checked: {error}", "nothing was changed; try again") from None
        missing = [
            f"{key.tag} ({key.role.value})"
            for key in keyset.keys
            if not key.foreign and key.key_id not in held
        ]
        if missing:
            raise Refused(
                f"keys of {zone.name} are not in their key stores: {', '.join(missing)}",
                "make the key store available, or restore its backup; nothing was changed",
            )

    async def _exchange(self, zone: FrontZone, kept: Kept, prepared: Path) -> FrontZone:
        """Replace the present database, which is set aside, by the kept one; return the restored zone."""
        zone.check()
        config = self._parts.config()
        await self._parts.departures.remove([zone.name])
        await asyncio.to_thread(_place, prepared, Path(zone.spec.database))
        back = self._parts.table.put(config, config.zones[zone.name])
        self._parts.events.add_zone(back.name)
        recall(back, None, exact=True)
        self._parts.catalogue.keep_serving({back.name: serving.remember(config, back.config, back.spec)})
        await asyncio.to_thread(discard, kept.path)
        return back


def _prepare(kept: Kept, prepared: Path, origin: bytes, note: state.Restored) -> Keyset | None:
    """Make a copy that is held until it has a version with a serial after all public ones; return its key set."""
    copy_kept(kept.path, prepared)
    database = ZoneDatabase(prepared, origin)
    try:
        with database.write() as transaction:
            keyset = state.keyset_from(transaction.state(state.KEYSET))
            keyset = state.keys_used(transaction.old.version, keyset)
            floor = highest((), kept.serial, note.floor)
            transaction.set_state(
                state.RESTORED, state.to_document(msgspec.structs.replace(note, floor=floor))
            )
            transaction.add_history(note.at, note.who, "zone restored", kept.serial, f"from {note.source}")
            transaction.commit_state()
    finally:
        database.close()
    require_merged(prepared)
    return keyset


def _place(prepared: Path, target: Path) -> None:
    """Put a prepared database on the disk under its zone's name, where no database is, nor the log of one."""
    for path, suffix in product((prepared, target), SIDE_FILES):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    with prepared.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(prepared, target)
    sync_directory(target.parent)
