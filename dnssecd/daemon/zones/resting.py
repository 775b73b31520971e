"""End what is not used: close databases, end zone workers, and give the memory back."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress

from dnssecd.daemon import heap
from dnssecd.daemon.zones.databases import Databases
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.pipeline.workers.pool import WorkerPool
from dnssecd.store.errors import StoreError

ROUND_S = 2.0
#: The heap is trimmed when this many databases were closed, and when no more are closed or being closed.
CLOSED_MAX = 256


class Resting:
    """Belongs to the event loop."""

    def __init__(
        self, databases: Databases[FrontZone], pool: WorkerPool, shares: Iterable[Callable[[], None]] = ()
    ) -> None:
        """shares: of the daemon's own databases: each lets others read one that was opened on a full disk."""
        self._databases, self._pool, self._shares = databases, pool, tuple(shares)
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
        for share in self._shares:
            with suppress(StoreError, OSError):  # tried again in the next round
                share()
        closed = self._databases.rest()
        self._closed += closed
        going_on = closed or self._databases.closing
        if not self._closed or (going_on and self._closed < CLOSED_MAX):
            return False
        self._closed = self._databases.closing  # their memory is given back next time
        return True
