"""The service manager's watchdog (sd_notify(3), WatchdogSec=): it is fed only while jobs make progress.

The event loop feeds it, so a blocked loop stops feeding. It is also not fed if zone jobs are waiting and none
has ended for longer than one job may take. A restart is then cheap, because stored zones are served
immediately. For single jobs that hang it is not needed: :mod:`dnssecd.pipeline.workers.pool` ends them.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import structlog

from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.workers import frames
from dnssecd.pipeline.workers.pool import JOB_DEADLINE_S, WorkerPool
from dnssecd.sdnotify import notify, watchdog_s

#: If no job has ended for this long, the jobs are stuck: the deadline would have ended even the longest.
STUCK_S = JOB_DEADLINE_S + 600.0
#: It is fed this many times in the span that the service manager allows.
FEEDS = 4

log = structlog.get_logger("dnssecd.watchdog")


class WatchedPool(WorkerPool):
    """A pool that measures since when no job has ended."""

    under_way = 0
    _moved_at = 0.0

    async def run(
        self,
        job: frames.Job,
        turn: AbstractAsyncContextManager[None],
        octets: int = 0,
        wanted: Callable[[], bool] = lambda: True,
        *,
        first: bool = True,
    ) -> Outcome:
        """Run a job, as :meth:`WorkerPool.run` does."""
        if not self.under_way:
            self._moved_at = time.monotonic()
        self.under_way += 1
        try:
            return await super().run(job, turn, octets, wanted, first=first)
        finally:
            self.under_way -= 1
            self._moved_at = time.monotonic()

    def idle_s(self) -> float:
        """Return for how long (s) jobs have been running and none has ended; 0 if there are no jobs."""
        return time.monotonic() - self._moved_at if self.under_way else 0.0


class Watchdog:
    """Run :meth:`run` as a task."""

    def __init__(self, pool: WatchedPool) -> None:
        self._pool = pool
        self._starving = False

    async def run(self) -> None:
        """Feed the watchdog until cancelled; return immediately if there is none."""
        period_s = watchdog_s() / FEEDS
        while period_s:
            self.look()
            await asyncio.sleep(period_s)

    def look(self) -> None:
        """Feed the watchdog if jobs make progress; log it once if they do not."""
        idle_s = self._pool.idle_s()
        if idle_s <= STUCK_S:
            self._starving = False
            notify("WATCHDOG=1")
        elif not self._starving:
            self._starving = True
            log.error("no job makes progress; the watchdog is no longer fed", jobs=self._pool.under_way)
