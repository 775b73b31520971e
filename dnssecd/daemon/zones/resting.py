"""End what is not used: close databases, end zone workers, and give the memory back."""

import asyncio

from dnssecd.daemon import heap
from dnssecd.daemon.zones.databases import Databases
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.pipeline.workers.pool import WorkerPool

ROUND_S = 2.0
#: The heap is trimmed when this many databases were closed, and when no more are closed.
CLOSED_MAX = 256


class Resting:
    """Belongs to the event loop."""

    def __init__(self, databases: Databases[FrontZone], pool: WorkerPool) -> None:
        self._databases, self._pool = databases, pool
        self._closed = 0

    async def run(self) -> None:
        """Do it until cancelled."""
        while True:
            await asyncio.sleep(ROUND_S)
            if self.round():
                await asyncio.to_thread(heap.trim)
            await self._pool.rest()

    def round(self) -> bool:
        """Close what rests; return whether to trim the heap now."""
        closed = self._databases.rest()
        self._closed += closed
        if not self._closed or (closed and self._closed < CLOSED_MAX):
            return False
        self._closed = 0
        return True
