"""The service manager's watchdog (sd_notify(3), WatchdogSec=): fed only while work gets done.

It is fed from the event loop, so a loop that does not turn starves it; and it is not fed when zone jobs have been
asked for and none has ended for longer than one may take. A restart is cheap then: the stored zones are served at
once. Single jobs that hang are not its concern, :mod:`dnssecd.pipeline.workers.pool` ends them.
"""

import asyncio
import time
from collections.abc import Callable

import structlog

from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.workers import frames
from dnssecd.pipeline.workers.pool import JOB_DEADLINE_S, WorkerPool
from dnssecd.sdnotify import notify, watchdog_s

#: No job has ended for so long although there are some: even the longest would have been ended by its deadline.
STUCK_S = JOB_DEADLINE_S + 600.0
#: Fed so many times in the span the service manager allows.
FEEDS = 4

log = structlog.get_logger("dnssecd.watchdog")


class WatchedPool(WorkerPool):
    """A pool that knows since when no job has ended."""

    under_way = 0
    _moved_at = 0.0

    async def run(
        self, job: frames.Job, octets: int = 0, wanted: Callable[[], bool] = lambda: True
    ) -> Outcome:
        """Do a job, as :meth:`WorkerPool.run` does."""
        if not self.under_way:
            self._moved_at = time.monotonic()
        self.under_way += 1
        try:
            return await super().run(job, octets, wanted)
        finally:
            self.under_way -= 1
            self._moved_at = time.monotonic()

    def idle_s(self) -> float:
        """Return for how long (s) jobs have been under way and none has ended; 0 when there are none."""
        return time.monotonic() - self._moved_at if self.under_way else 0.0


class Watchdog:
    """Run :meth:`run` as a task."""

    def __init__(self, pool: WatchedPool) -> None:
        self._pool = pool
        self._starving = False

    async def run(self) -> None:
        """Feed for ever; returns at once where no watchdog waits to be fed."""
        period_s = watchdog_s() / FEEDS
        while period_s:
            self.look()
            await asyncio.sleep(period_s)

    def look(self) -> None:
        """Feed the watchdog if work gets done; say so once if it does not."""
        idle_s = self._pool.idle_s()
        if idle_s <= STUCK_S:
            self._starving = False
            notify("WATCHDOG=1")
        elif not self._starving:
            self._starving = True
            log.error("no job makes progress; leaving it to the service manager", jobs=self._pool.under_way)
