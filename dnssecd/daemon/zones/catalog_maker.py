"""Make catalogs (RFC 9432): the zones that certain secondaries should have, as a zone file that is loaded as any other.

A zone is listed from its first published version until it is removed. Everything else that can happen to it (an expired
or damaged version, a database that cannot be read, a zone without configuration) leaves it listed: a secondary deletes
what is no longer in the catalog.
"""

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import structlog

from dnssecd.clock import Clock
from dnssecd.config.catalogs import CATALOG_POLICY
from dnssecd.config.model import CatalogConfig
from dnssecd.core.zone.catalog import BrokenCatalog, catalog_text, read_catalog
from dnssecd.daemon.zones.config_in_force import ConfigInForce
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.work import ZoneJobs
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.store.errors import StoreError

#: Changes within this time make one version of a catalog; and making it takes at most this share of the time.
GATHER_S = 0.2
SHARE = 0.25
#: A file that could not be written is tried again after this long.
AGAIN_S = 10.0

log = structlog.get_logger("dnssecd.catalog")


class CatalogMaker:
    """Writes the files of the catalogs that the configuration produces. Belongs to the event loop."""

    def __init__(
        self,
        config: ConfigInForce,
        zones: Mapping[str, FrontZone],
        jobs: ZoneJobs,
        events: EventCore,
        clock: Clock,
        mailbox: Mailbox,
    ) -> None:
        self._config, self._zones, self._jobs = config, zones, jobs
        self._events, self._clock = events, clock
        self._wake = asyncio.Event()
        mailbox.published.subscribe(self._changed)
        mailbox.removed.subscribe(self._changed)
        mailbox.configured.subscribe(self.configured)

    def _changed(self, zone: FrontZone) -> None:
        if zone.config.policy != CATALOG_POLICY and self._produced():
            self._wake.set()

    def configured(self) -> None:
        """Take up a new configuration: a catalog that has no file yet gets it before it is first loaded."""
        if any(self._lacks_file(catalog.name) for catalog in self._produced()):
            self.write_all()
        self._wake.set()

    def _lacks_file(self, name: str) -> bool:
        zone = self._zones.get(name)
        return zone is not None and zone.config.file is not None and not Path(zone.config.file).exists()

    def _produced(self) -> list[CatalogConfig]:
        return [one for one in self._config.get().catalogs.values() if one.produce]

    async def run(self) -> None:
        """Keep the catalogs up to date until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_S)
            self._wake.clear()
            started = self._clock.monotonic()
            for zone, file, members in self._drafts():
                try:
                    changed = await asyncio.to_thread(_write, file, zone.name, members)
                except OSError as error:
                    self._failed(zone, file, error)
                    asyncio.get_running_loop().call_later(AGAIN_S, self._wake.set)
                else:
                    self._written(zone, members, changed=changed)
            await asyncio.sleep((self._clock.monotonic() - started) / SHARE)

    def write_all(self) -> None:
        """Write every catalog now, before it is first loaded."""
        for zone, file, members in self._drafts():
            try:
                self._written(zone, members, changed=_write(file, zone.name, members))
            except OSError as error:
                self._failed(zone, file, error)

    def _drafts(self) -> Iterator[tuple[FrontZone, Path, dict[str, str]]]:
        """Yield each catalog with its file and its members."""
        for catalog in self._produced():
            zone = self._zones.get(catalog.name)
            if zone is not None and zone.config.file is not None:
                listed = _listed_in(zone)
                if listed is not None:
                    yield zone, Path(zone.config.file), self._members(catalog, listed)

    def _written(self, zone: FrontZone, members: dict[str, str], *, changed: bool) -> None:
        zone.listed = members
        if changed and not zone.gone:
            log.info("catalog written", zone=zone.name, members=len(members))
            self._jobs.request(zone, "load")

    def _failed(self, zone: FrontZone, file: Path, error: OSError) -> None:
        cause = f"{file} cannot be written: {error.strerror}"
        self._events.raise_event("store-failed", zone.name, cause)

    def _members(self, catalog: CatalogConfig, listed: Mapping[str, str]) -> dict[str, str]:
        wanted = set(catalog.produce)
        found = {}
        for zone in self._zones.values():
            if zone.config.policy == CATALOG_POLICY or not wanted <= {peer.name for peer in zone.secondaries}:
                continue
            if zone.serial is not None or zone.name in listed:
                group = listed.get(zone.name, "") if zone.orphan else zone.config.catalog_group
                found[zone.name] = group
        return found


def _listed_in(zone: FrontZone) -> dict[str, str] | None:
    """Return the members of a catalog's last version; None if they cannot be known now: nothing is written then."""
    if zone.listed is not None:
        return zone.listed
    if not Path(zone.spec.database).exists():
        return {}
    try:
        with zone.database.snapshot() as snapshot:
            members = read_catalog(snapshot.scan()) if snapshot.version is not None else {}
    except (StoreError, OSError, BrokenCatalog) as error:
        log.error("the last version of a catalog cannot be read", zone=zone.name, cause=str(error))
        return None
    return {member.zone: next(iter(member.groups), "") for member in members.values()}


def _write(path: Path, catalog: str, members: Mapping[str, str]) -> bool:
    """Write the file of a catalog as a whole; return whether it changed. Raise OSError."""
    text = catalog_text(catalog, members)
    with suppress(FileNotFoundError):
        if path.read_text() == text:
            return False
    path.parent.mkdir(mode=0o700, exist_ok=True)
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    return True
