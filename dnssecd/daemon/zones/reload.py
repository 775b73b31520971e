"""Apply a changed configuration as a whole, or not at all."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import structlog

from dnssecd.clock import Clock
from dnssecd.config import ConfigErrors, load
from dnssecd.config.added import with_added
from dnssecd.config.diff import ConfigDiff, diff
from dnssecd.config.model import Config
from dnssecd.control.command import Call, Command, Refused
from dnssecd.control.messages.config import ConfigChanges, ConfigReloaded, DiffConfig, ReloadConfig
from dnssecd.core.dns.names import full_name
from dnssecd.daemon.key_service import SignerLink
from dnssecd.daemon.zones import unconfigured as serving
from dnssecd.daemon.zones.added_records import AddedRecords
from dnssecd.daemon.zones.config_in_force import ConfigInForce
from dnssecd.daemon.zones.departure import Departures
from dnssecd.daemon.zones.kept_note import begins_anew
from dnssecd.daemon.zones.removal_gate import check_ds_gone
from dnssecd.daemon.zones.start_up import recall
from dnssecd.daemon.zones.table import ZoneTable
from dnssecd.daemon.zones.work import ZoneJobs
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import Metrics
from dnssecd.store.aside import kept_of
from dnssecd.store.catalogue import Catalogue
from dnssecd.store.errors import StoreError
from dnssecd.uninterrupted import to_the_end

#: At most this many zones are listed in an answer or a log line.
DETAIL_MAX = 50
#: The event on a zone that was added while the daemon ran, and that the configuration cannot have now.
UNUSABLE = "added-zone-unusable"

log = structlog.get_logger("dnssecd.zones")


class Reloader:
    """Applies a changed configuration. ``on_applied`` is called with every new one and its changes."""

    def __init__(
        self,
        config: ConfigInForce,
        zones: ZoneTable,
        jobs: ZoneJobs,
        signer: SignerLink,
        events: EventCore,
        metrics: Metrics,
        catalogue: Catalogue,
        clock: Clock,
        on_applied: Callable[[Config, ConfigDiff], None],
        departures: Departures,
        records: AddedRecords,
    ) -> None:
        self._in_force, self._records = config, records
        self._zones, self._jobs, self._signer = zones, jobs, signer
        self._events, self._metrics, self._catalogue, self._clock = events, metrics, catalogue, clock
        self._on_applied, self._departures = on_applied, departures
        #: Held while zones are added and removed.
        self.turn = asyncio.Lock()

    @property
    def config(self) -> Config:
        """Return the configuration in force."""
        return self._in_force.get()

    def commands(self) -> list[Command[Any]]:
        """Return the commands."""
        return [Command(DiffConfig, self.diff), Command(ReloadConfig, self.reload_command)]

    async def diff(self, call: Call[DiffConfig]) -> ConfigChanges:
        """Answer ``config.diff``."""
        _, config = await asyncio.to_thread(self._read)
        return ConfigChanges(changes=[str(change) for change in diff(self.config, config).changes])

    async def reload_command(self, call: Call[ReloadConfig]) -> ConfigReloaded:
        """Answer ``config.reload``."""
        request = call.request
        if request.ds_is_gone:
            call.note("removal without a check of the parent's DS", ", ".join(request.remove))
        return await self.reload(request.remove, ds_is_gone=request.ds_is_gone)

    async def reload(self, remove: Sequence[str], *, ds_is_gone: bool = False) -> ConfigReloaded:
        """Read the file again and apply it; raise Refused, with nothing changed, if it cannot be applied.

        ds_is_gone: an operator states that no zone of ``remove`` has a DS at its parent; this is not checked.
        """
        async with self.turn:
            return await self._reload(remove, ds_is_gone)

    async def _reload(self, remove: Sequence[str], ds_is_gone: bool) -> ConfigReloaded:
        try:
            # A configuration of 10,000 zones takes seconds to read.
            in_file, config = await asyncio.to_thread(self._read)
            found = diff(self.config, config)
            lost = self._check(config, found, {full_name(name) for name in remove})
            if not ds_is_gone:
                leaving = [self._zones.by_name[name] for name in (*found.removed, *lost)]
                await check_ds_gone(leaving, self.config, self._clock.now)
        except Refused as refused:
            self._metrics.daemon.config_reloads.labels("rejected").inc()
            self._events.raise_event("config-rejected", None, refused.what, remedy=refused.remedy)
            raise
        await to_the_end(self._put_in_force(in_file, config, found, lost))
        return ConfigReloaded(
            changed=bool(found.changes or lost),
            added=list(found.added),
            removed=[*found.removed, *lost],
            zones_changed=list(found.changed),
            changes=[*map(str, found.changes), *(f'- zone."{name}"' for name in lost)],
            warnings=[*map(str, config.warnings), *await self._earlier(found.added)],
        )

    async def _put_in_force(
        self, in_file: Config, config: Config, found: ConfigDiff, lost: list[str]
    ) -> None:
        await self._signer.reconfigure(in_file)
        await self._apply(config, found, lost, load=True)
        self._settle_records(in_file)
        self._events.resolve("config-rejected")
        self._metrics.daemon.config_reloads.labels("ok").inc()
        self._metrics.daemon.config_loaded.set(self._clock.now())

    async def _earlier(self, added: Iterable[str]) -> list[str]:
        """Report added zones with a kept earlier database, and how to restore it."""
        told = []
        for name in added:
            zone = self._zones.by_name[name]
            kept = await asyncio.to_thread(kept_of, Path(zone.spec.database))
            if kept:
                told.append(begins_anew(name, kept[0]))
        return told

    def _read(self) -> tuple[Config, Config]:
        """Return the configuration of the file, and that of the daemon; raise Refused."""
        in_file = self._load()
        config, unusable = with_added(in_file, self._records.all())
        lost = [one for one in unusable if one.zone in self.config.zones]
        if lost:
            raise Refused(
                f"{len(lost)} zone(s) that were added while dnssecd runs could not be configured, the first: "
                f"{lost[0].zone} ({lost[0].what})",
                f"{lost[0].remedy}; the previous configuration stays in force",
                detail=[f"{one.zone}: {one.what}" for one in lost[:DETAIL_MAX]],
            )
        return in_file, config

    def _settle_records(self, in_file: Config) -> None:
        """Forget the records of zones that the file has now."""
        there = [one.zone for one in self._records.all() if one.zone in in_file.zones]
        if there:
            log.info("zones that were added are in the configuration file now", zones=there[:DETAIL_MAX])
            try:
                self._records.end(there, None)
            except StoreError as error:  # the file's zone counts; the record is forgotten at the next reload
                log.error("records of added zones cannot be removed", cause=str(error))

    def _load(self) -> Config:
        try:
            return load(self.config.path)
        except ConfigErrors as error:
            raise Refused(
                f"{self.config.path} has {len(error.errors)} error(s), the first: {error.errors[0]}",
                "the previous configuration stays in force; dnssecd check-config lists all errors",
                detail=[str(one) for one in error.errors],
            ) from None

    def _check(self, config: Config, found: ConfigDiff, remove: set[str]) -> list[str]:
        """Return the zones to remove that are no longer in the configuration in force; raise Refused."""
        fixed = [str(change) for change in found.changes if change.needs_restart]
        if fixed:
            raise Refused(
                f"this cannot be changed while the daemon runs: {'; '.join(fixed)}",
                "restart the daemon, or undo the change; nothing was applied",
            )
        kept = [name for name in found.removed if name not in remove]
        if kept:
            options = " ".join(f"--remove {name}" for name in kept)
            raise Refused(
                f"the file no longer has {', '.join(kept)}, which would no longer be served",
                f"to remove them: dnssecd config reload {options}; nothing was applied",
            )
        lost = sorted(remove - set(found.removed))
        for name in lost:
            if name in config.zones:
                raise Refused(
                    f"the file still has {name}", "first remove it from the file; nothing was applied"
                )
            if name not in self._zones.by_name:
                raise Refused(
                    f"there is no zone {name} to remove", "dnssecd zone list shows all; nothing was applied"
                )
        return lost

    async def apply(self, config: Config, found: ConfigDiff, lost: list[str], *, load: bool = True) -> None:
        """Put a configuration in force, as a whole also if the caller is cancelled meanwhile; hold :attr:`turn`.

        lost: zones to remove that were not configured; load: whether new and changed zones are loaded.
        """
        await to_the_end(self._apply(config, found, lost, load=load))

    async def _apply(self, config: Config, found: ConfigDiff, lost: list[str], *, load: bool) -> None:
        if leaving := (*found.removed, *lost):
            try:
                await self._departures.remove(leaving)
            except OSError as error:  # the zones are gone all the same; one that comes back is verified first
                log.error("the database of a removed zone stays in its place", cause=str(error))
        # From here to the end no other task runs: zones and configuration change together.
        self._in_force.put(config)
        for name in (*found.added, *found.changed):
            zone = self._zones.put(config, config.zones[name])
            self._events.add_zone(name)
            self._events.resolve("zone-not-configured", name)
            self._events.resolve(UNUSABLE, None, name)
            if zone.serial is None and zone.doubt is None and zone.held is None:
                recall(zone, None, exact=True)  # a database that an operator put there is verified first
            if load:
                self._jobs.request(zone, "load")
        documents = {
            name: serving.remember(config, config.zones[name], self._zones.by_name[name].spec)
            for name in (*found.added, *found.changed)
        }
        self._catalogue.keep_serving(documents)
        self._on_applied(config, found)
