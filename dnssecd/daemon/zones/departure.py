"""Remove zones: they are no longer served, their data is forgotten in one step, and their databases are set aside."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from dnssecd.clock import Clock
from dnssecd.daemon.zones.databases import Databases
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.table import ZoneTable
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import Metrics
from dnssecd.pipeline.workers.pool import WorkerPool
from dnssecd.store.aside import set_aside
from dnssecd.store.catalogue import Catalogue
from dnssecd.store.zonedb import ZoneDatabase
from dnssecd.uninterrupted import to_the_end

#: The time for running work of the zone to end: a commit, a transfer to a secondary.
LET_GO_S = 10.0
LOOK_S = 0.01
#: Databases that are set aside at the same time.
AT_ONCE = 16

log = structlog.get_logger("dnssecd.zones")


class Departures:
    """Removes zones. Every part of the daemon with data on a zone subscribes to ``mailbox.removed``."""

    def __init__(
        self,
        table: ZoneTable,
        databases: Databases[FrontZone],
        pool: WorkerPool,
        clock: Clock,
        events: EventCore,
        metrics: Metrics,
        catalogue: Catalogue,
        mailbox: Mailbox,
    ) -> None:
        self._table, self._databases, self._pool, self._clock = table, databases, pool, clock
        self._events, self._metrics, self._catalogue, self._mailbox = events, metrics, catalogue, mailbox

    async def remove(self, names: Sequence[str]) -> None:
        """Remove zones; raise KeyError if there is no zone of a name.

        From the first step on they are not served, and no work on them begins. Their databases are moved when they
        are no longer open, also if the caller is cancelled meanwhile: SQLite removes the side files of a database by
        their names, which may by then belong to another zone. All are moved before OSError is raised for one.
        """
        zones = [self._leave(name) for name in names]
        self._catalogue.remove(names)
        await to_the_end(self._set_all_aside(zones))

    def _leave(self, name: str) -> FrontZone:
        zone = self._table.remove(name)
        self._mailbox.removed.send(zone)
        zone.close()
        self._events.remove_zone(name)
        self._metrics.forget_zone(name)
        return zone

    async def _set_all_aside(self, zones: Sequence[FrontZone]) -> None:
        """Set databases aside, several at a time: most of it is waiting, for the disk and for threads."""
        free = asyncio.Semaphore(AT_ONCE)

        async def one(zone: FrontZone) -> None:
            async with free:
                await self._set_aside(zone)

        for result in await asyncio.gather(*map(one, zones), return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _set_aside(self, zone: FrontZone) -> None:
        path = Path(zone.spec.database)
        await self._pool.release(zone.spec.database)
        await self._quiet(zone)
        database = self._databases.retire(zone)
        if database is not None:
            await _released(database)
            await asyncio.to_thread(database.close)
        kept = await asyncio.to_thread(self._move_aside, zone, path)
        log.info("zone removed", zone=zone.name, kept=str(kept) if kept else None)

    def _move_aside(self, zone: FrontZone, path: Path) -> Path | None:
        self._databases.settle(zone)
        return set_aside(path, int(self._clock.now()))

    async def _quiet(self, zone: FrontZone) -> None:
        """Wait until running work in the daemon's threads has ended; later work finds the zone gone."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LET_GO_S), zone.jobs.turn:
                return


async def _released(database: ZoneDatabase) -> None:
    ends = asyncio.get_running_loop().time() + LET_GO_S
    while database.in_use and asyncio.get_running_loop().time() < ends:
        await asyncio.sleep(LOOK_S)
