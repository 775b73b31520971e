"""Wake-ups at wall-clock times. This is the only place that uses APScheduler.

The parts of the daemon request a wake-up of a zone for a named purpose; a later request for the same purpose
replaces the earlier one. The zone keeps its wake-ups (:attr:`Woken.wakes`) and cancels all of them when it is
removed, so that no wake-up is for a removed zone. Nothing is stored: after a restart the parts make new
requests from the zones' databases. APScheduler keeps the queue and calls back on the event loop. It is
configured so that a late wake-up always happens, and happens once.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from apscheduler.job import Job
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from dnssecd.clock import Clock

#: The wall clock is checked at this interval (s): a step forward makes wake-ups due of which the timer does
#: not know.
LOOK_S = 30.0


@dataclass(eq=False, slots=True)
class Wake:
    """A wake-up that is due at ``at``, epoch seconds."""

    at: float
    job: Job

    def cancel(self) -> None:
        """Cancel the wake-up."""
        with suppress(JobLookupError):  # it is just about to happen
            self.job.remove()


class Woken(Protocol):
    """A zone with its wake-ups. ``wakes``: by purpose; None if there are none."""

    gone: bool
    wakes: dict[str, Wake] | None

    @property
    def name(self) -> str:
        """Return the zone's name, text, absolute."""


class NextWake(NamedTuple):
    """A wake-up: when (epoch seconds), its purpose, and the zone's name."""

    at: float
    what: str
    zone: str


class Schedule:
    """Wake-ups on the event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looking: asyncio.TimerHandle | None = None
        self._scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True}
        )

    def start(self) -> None:
        """Start the wake-ups; called on the event loop."""
        self._scheduler.start()
        self._look()

    def _look(self) -> None:
        """Run all wake-ups that are due by the present clock, and check again soon."""
        self._scheduler.wakeup()
        self._looking = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def wake(self, zone: Woken, what: str, when: float, action: Callable[[], None]) -> None:
        """Call ``action`` at ``when`` (epoch seconds), or immediately if that has passed; never if the zone is gone."""
        if zone.gone:
            return
        at = max(when, self._clock.now())
        loop = asyncio.get_running_loop()

        def happen() -> None:
            if zone.gone:
                return
            if wake is (zone.wakes or {}).get(what):
                self._drop(zone, what)
            action()

        async def act() -> None:
            loop.call_soon(happen)

        job = self._scheduler.add_job(
            act,
            "date",
            run_date=datetime.fromtimestamp(at, UTC),
            id=f"{what} {id(zone)}",
            name=f"{what} {zone.name}",
            replace_existing=True,
        )
        wake = Wake(at, job)
        zone.wakes = {**(zone.wakes or {}), what: wake}

    def forget(self, zone: Woken, what: str) -> None:
        """Cancel a wake-up."""
        wake = (zone.wakes or {}).get(what)
        if wake is not None:
            wake.cancel()
            self._drop(zone, what)

    def _drop(self, zone: Woken, what: str) -> None:
        left = {other: wake for other, wake in (zone.wakes or {}).items() if other != what}
        zone.wakes = left or None

    def next_wakes(self) -> list[NextWake]:
        """Return all wake-ups, earliest first."""
        jobs = [
            NextWake(job.next_run_time.timestamp(), *job.name.split(" ", 1))
            for job in self._scheduler.get_jobs()
            if job.next_run_time
        ]
        return sorted(jobs)

    def close(self) -> None:
        """Cancel all wake-ups."""
        if self._looking is not None:
            self._looking.cancel()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
