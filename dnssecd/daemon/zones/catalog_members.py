"""Follow catalogs: their members become zones of the daemon, and leave it again.

A catalog is fetched as any zone from primaries (``primaries.py``), with its delta guard: a catalog that suddenly lost
many members changes nothing before an operator accepts it. Each new version is compared with the records of the added
zones. A member that left is still served until its parent has no DS; then its database is set aside like that of any
removed zone.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import islice

import structlog

from dnssecd.clock import Clock
from dnssecd.config.added import AddedZone
from dnssecd.config.model import CatalogConfig, Config, ZoneConfig
from dnssecd.control.command import Refused
from dnssecd.core.zone.catalog import BrokenCatalog, Member, read_catalog
from dnssecd.daemon.zones.added_zones import AddedZones
from dnssecd.daemon.zones.catalog_plan import CatalogPlan, plan_members
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.removal_gate import AT_ONCE_MAX, why_not_removed
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.store.errors import StoreError

#: Zones are added and removed in groups of this many: other work continues in between.
GROUP = 200
PAUSE_S = 0.02
#: Members that cannot leave yet, and catalogs with trouble, are looked at again after this long.
AGAIN_S = 300.0
SHOWN_MAX = 10
FAULT_REMEDY = "report this as a bug, with the log; the members stay as they are, and it is tried again"
BROKEN, CONFLICT, WAITING = "catalog-broken", "catalog-conflict", "catalog-removal-waiting"

log = structlog.get_logger("dnssecd.catalog")


class _Overtaken(Exception):
    """Zones came or went since a plan was made: it is made again."""


class CatalogMembers:
    """Follows the catalogs that the configuration consumes. Belongs to the event loop.

    count: is called with the result of each comparison.
    """

    def __init__(
        self,
        zones: Mapping[str, FrontZone],
        added: AddedZones,
        events: EventCore,
        clock: Clock,
        mailbox: Mailbox,
        count: Callable[[str], None],
        again_s: Callable[[], float] = lambda: AGAIN_S,
    ) -> None:
        self._zones, self._added, self._events, self._clock = zones, added, events, clock
        self._count, self._again_s = count, again_s
        self._due: set[FrontZone] = set()
        self._wake = asyncio.Event()
        mailbox.published.subscribe(self._published)
        mailbox.configured.subscribe(self.look_at_all)

    def look_at_all(self) -> None:
        """Compare every catalog with the zones: templates, or the catalogs themselves, may have changed."""
        self._due.update(self._zones[name] for name in self._consumed() if name in self._zones)
        self._wake.set()

    def _published(self, zone: FrontZone) -> None:
        if zone.name in self._consumed():
            self._due.add(zone)
            self._wake.set()

    def _consumed(self) -> dict[str, CatalogConfig]:
        catalogs = self._added.config.catalogs
        return {name: one for name, one in catalogs.items() if one.primaries}

    async def run(self) -> None:
        """Follow the catalogs until cancelled."""
        self.look_at_all()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._again_s()):
                    await self._wake.wait()
            if not self._wake.is_set():
                self.look_at_all()
            self._wake.clear()
            while self._due:
                await self._try_to_follow(self._due.pop())

    async def _try_to_follow(self, zone: FrontZone) -> None:
        try:
            await self._follow(zone)
        except _Overtaken:
            self._due.add(zone)
        except Refused as refused:
            log.error("a catalog cannot be followed now", zone=zone.name, cause=refused.what)
        except Exception as error:  # a bug must not end the daemon, nor what follows the other catalogs
            log.exception("a catalog cannot be followed", zone=zone.name)
            self._count("failed")
            fault = f"fault in dnssecd: {type(error).__name__}: {error}"
            self._events.raise_event(
                BROKEN, zone.name, f"the catalog {zone.name} cannot be followed: {fault}", remedy=FAULT_REMEDY
            )

    async def _follow(self, zone: FrontZone) -> None:
        name, catalog = zone.name, self._consumed().get(zone.name)
        if catalog is None or zone.gone or zone.serial is None:
            return
        try:
            members = await asyncio.to_thread(_members, zone, catalog.max_members)
        except BrokenCatalog as error:
            self._count("broken")
            cause = f"the catalog {name} cannot be followed: {error}"
            self._events.raise_event(BROKEN, name, cause)
            return
        except (StoreError, OSError) as error:
            self._count("failed")
            log.error("a catalog cannot be read", zone=name, cause=str(error))
            return
        records = {one.zone: one for one in self._added.records.all()}
        config, served, now = self._added.config, self._added.served(), int(self._clock.now())
        plan = await asyncio.to_thread(plan_members, catalog, members, records, config, served, now)
        await self._carry_out(name, plan, config)
        self._events.resolve(BROKEN, name)
        self._count("ok")

    async def _carry_out(self, name: str, plan: CatalogPlan, planned: Config) -> None:
        """Carry out a plan. planned: the configuration that it was made for; with another one, raise _Overtaken."""
        put = iter(plan.put.items())
        while group := dict(islice(put, GROUP)):
            planned = await self._change(planned, group, [])
            await asyncio.sleep(PAUSE_S)
        if plan.put:
            log.info("members of a catalog taken up", zone=name, members=len(plan.put))
        self._report_refused(name, plan.refused)
        await self._let_go(name, plan.gone, planned)
        for member in self._added.records.of_catalog(name).keys() - set(plan.gone):
            self._events.resolve(WAITING, member)

    def _report_refused(self, name: str, refused: Mapping[str, str]) -> None:
        if not refused:
            self._events.resolve(CONFLICT, name)
            return
        shown = "; ".join(f"{zone}: {why}" for zone, why in islice(refused.items(), SHOWN_MAX))
        more = f"; and {len(refused) - SHOWN_MAX} more" if len(refused) > SHOWN_MAX else ""
        cause = f"{len(refused)} member(s) of the catalog {name} are not taken over: {shown}{more}"
        self._events.raise_event(CONFLICT, name, cause)

    async def _change(
        self, planned: Config, put: Mapping[str, tuple[AddedZone, ZoneConfig]], gone: list[str]
    ) -> Config:
        async with self._added.turn:
            self._check_still(planned)
            await self._added.change(put, gone)
            return self._added.config

    def _check_still(self, planned: Config) -> None:
        """Raise _Overtaken if zones came or went since the plan was made; hold the turn."""
        if self._added.config is not planned:
            raise _Overtaken

    async def _let_go(self, name: str, gone: list[str], planned: Config) -> None:
        """Remove the members that left the catalog and have no DS at their parent; the others stay."""
        for group in _groups(gone):
            async with self._added.turn:
                self._check_still(planned)
                mine = self._added.records.of_catalog(name)
                leaving = [self._zones[zone] for zone in group if zone in mine and zone in self._zones]
                whys = await self._why_not(leaving)
                free = [zone.name for zone, why in zip(leaving, whys, strict=True) if not why]
                lost = [zone for zone in group if zone in mine and zone not in self._zones]
                if free or lost:
                    await self._added.change({}, [*free, *lost])
                    log.info("members left a catalog", zone=name, members=free[:SHOWN_MAX], number=len(free))
                planned = self._added.config
            for zone, why in zip(leaving, whys, strict=True):
                if why:
                    cause = f"{zone.name} left the catalog {name}, but {why}; it is still signed and served"
                    self._events.raise_event(WAITING, zone.name, cause)
            await asyncio.sleep(PAUSE_S)

    async def _why_not(self, leaving: list[FrontZone]) -> list[str]:
        free = asyncio.Semaphore(AT_ONCE_MAX)

        async def one(zone: FrontZone) -> str:
            async with free:
                return await why_not_removed(zone, self._added.config, self._clock.now)

        return list(await asyncio.gather(*map(one, leaving)))


def _groups(names: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), GROUP):
        yield names[start : start + GROUP]


def _members(zone: FrontZone, members_max: int) -> dict[str, Member]:
    with zone.database.snapshot() as snapshot:
        return read_catalog(snapshot.scan(), members_max)
