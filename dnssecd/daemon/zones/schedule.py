"""Wake-ups at wall-clock times, by name: a later request for a name replaces the one before."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from dnssecd.clock import Clock

#: The wall clock is looked at this often (s): a step forward makes wake-ups due that the timer knows nothing of.
LOOK_S = 30.0


class Schedule:
    """Named wake-ups on the event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looking: asyncio.TimerHandle | None = None
        self._scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True}
        )

    def start(self) -> None:
        """Begin waking; called on the event loop."""
        self._scheduler.start()
        self._look()

    def _look(self) -> None:
        """Wake whoever is due by the clock as it is now, and look again soon."""
        self._scheduler.wakeup()
        self._looking = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def wake(self, name: str, when: float, action: Callable[[], None]) -> None:
        """Call ``action`` at ``when`` (epoch seconds), or at once where that has passed."""
        moment = datetime.fromtimestamp(max(when, self._clock.now()), UTC)
        loop = asyncio.get_running_loop()

        async def act() -> None:
            loop.call_soon(action)

        self._scheduler.add_job(act, "date", run_date=moment, id=name, replace_existing=True)

    def forget(self, name: str) -> None:
        """Drop a wake-up."""
        if self._scheduler.get_job(name) is not None:
            self._scheduler.remove_job(name)

    def next_wakes(self) -> list[tuple[float, str]]:
        """Return (when, name) of all wake-ups, soonest first."""
        jobs = [
            (job.next_run_time.timestamp(), job.id) for job in self._scheduler.get_jobs() if job.next_run_time
        ]
        return sorted(jobs)

    def close(self) -> None:
        """Wake nobody any more."""
        if self._looking is not None:
            self._looking.cancel()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
