"""A zone leaves: it is served no more, everything about it is forgotten at once, and its database is set aside."""

import asyncio
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

#: So long what is under way for the zone may take to end: a commit, a transfer to a secondary.
LET_GO_S = 10.0
LOOK_S = 0.01

log = structlog.get_logger("dnssecd.zones")


class Departures:
    """Takes zones out. Every part of the daemon that keeps something of a zone takes ``mailbox.removed``."""

    def __init__(
        self,
        table: ZoneTable,
        databases: Databases,
        pool: WorkerPool,
        clock: Clock,
        events: EventCore,
        metrics: Metrics,
        catalogue: Catalogue,
        mailbox: Mailbox,
    ) -> None:
        self._table, self._databases, self._pool, self._clock = table, databases, pool, clock
        self._events, self._metrics, self._catalogue, self._mailbox = events, metrics, catalogue, mailbox

    async def remove(self, name: str) -> None:
        """Remove a zone; KeyError when there is none.

        Nothing of it is served or begun from the first step on. Its database is moved when nobody has it open: SQLite
        removes the side files of a database by their names, which may be another zone's by then.
        """
        zone = self._table.remove(name)
        self._mailbox.removed.send(zone)
        zone.close()
        self._events.remove_zone(name)
        self._metrics.forget_zone(name)
        self._catalogue.remove(name)
        path = Path(zone.spec.database)
        await self._pool.release(zone.spec.database)
        await self._quiet(zone)
        database = self._databases.retire(path)
        if database is not None:
            await _released(database)
            await asyncio.to_thread(database.close)
        kept = await asyncio.to_thread(set_aside, path, int(self._clock.now()))
        log.info("zone removed", zone=name, kept=str(kept) if kept else None)

    async def _quiet(self, zone: FrontZone) -> None:
        """Wait until what was under way in threads of ours has ended; what comes after it finds the zone gone."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LET_GO_S), self._pool.lock(zone.name):
                return


async def _released(database: ZoneDatabase) -> None:
    ends = asyncio.get_running_loop().time() + LET_GO_S
    while database.held and asyncio.get_running_loop().time() < ends:
        await asyncio.sleep(LOOK_S)
