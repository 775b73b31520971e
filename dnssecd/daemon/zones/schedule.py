"""Wake-ups at wall-clock times. This is the only place that uses APScheduler.

The parts of the daemon request a wake-up of a zone for a named purpose; a later request for the same purpose
replaces the earlier one. The zone keeps its wake-ups (:attr:`Woken.wakes`) and cancels all of them when it is
removed, so that no wake-up is for a removed zone. Nothing is stored: after a restart the parts make new
requests from the zones' databases.

All wake-ups wait in one heap, and APScheduler has one job: the earliest of them. A job for each
took 2 KiB and 50 us, a heap entry takes 500 octets and 2 us. A late wake-up always happens, and happens once.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from dnssecd.clock import Clock

#: The wall clock is checked at this interval (s): a step forward makes wake-ups due of which the timer does
#: not know.
LOOK_S = 30.0
#: This many due wake-ups happen in a row; then the event loop does other work.
AT_ONCE = 100
#: The heap is made again without cancelled wake-ups when there are more of them than this, and than others.
CANCELLED_MAX = 1_000
_JOB = "next wake-up"


#: What a wake-up does, with its zone: most are one object for all zones.
Action = Callable[[Any], None]


class Wake:
    """A wake-up that is due at ``at``, epoch seconds. ``waits``: False after it has happened or was cancelled."""

    __slots__ = ("_schedule", "action", "at", "waits", "what", "zone")

    def __init__(self, schedule: "Schedule", at: float, zone: "Woken", what: str, action: Action) -> None:
        self._schedule, self.at, self.zone, self.what = schedule, at, zone, what
        self.action, self.waits = action, True

    def cancel(self) -> None:
        """Cancel the wake-up."""
        if self.waits:
            self.waits = False
            self._schedule.cancelled()


class Woken(Protocol):
    """A zone with its wake-ups. ``wakes``: at most one for a purpose; a tuple takes a third of a dictionary."""

    gone: bool
    wakes: tuple[Wake, ...]

    @property
    def name(self) -> str:
        """Return the zone's name, text, absolute."""


def wake_of(zone: Woken, what: str) -> Wake | None:
    """Return a zone's wake-up for a purpose, None if there is none."""
    return next((wake for wake in zone.wakes if wake.what == what), None)


def _others(zone: Woken, what: str) -> tuple[Wake, ...]:
    return tuple(wake for wake in zone.wakes if wake.what != what)


def _drop(zone: Woken, what: str) -> None:
    zone.wakes = _others(zone, what)


class NextWake(NamedTuple):
    """A wake-up: when (epoch seconds), its purpose, and the zone's name."""

    at: float
    what: str
    zone: str


def _act(zone: Woken, action: Action) -> None:
    if not zone.gone:
        action(zone)


class Schedule:
    """Wake-ups on the event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looking: asyncio.TimerHandle | None = None
        self._heap: list[tuple[float, int, Wake]] = []
        self._numbers = itertools.count()
        self._cancelled = 0
        #: The time of APScheduler's job, if it has one.
        self._set_for: float | None = None
        self._scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True}
        )

    def start(self) -> None:
        """Start the wake-ups; called on the event loop."""
        self._scheduler.start()
        self._look()

    def _look(self) -> None:
        """Run all wake-ups that are due by the present clock, and check again soon."""
        self._happen()
        self._scheduler.wakeup()
        self._looking = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def wake(self, zone: Woken, what: str, when: float, action: Action) -> None:
        """Call ``action`` at ``when`` (epoch seconds), or soon if that has passed; never if the zone is gone."""
        if zone.gone:
            return
        earlier = wake_of(zone, what)
        if earlier is not None:
            earlier.cancel()
        wake = Wake(self, max(when, self._clock.now()), zone, what, action)
        heapq.heappush(self._heap, (wake.at, next(self._numbers), wake))
        zone.wakes = (*_others(zone, what), wake)
        self._set()

    def _set(self) -> None:
        """Have APScheduler call at the time of the earliest wake-up."""
        while self._heap and not self._heap[0][2].waits:
            heapq.heappop(self._heap)
            self._cancelled -= 1
        if not self._heap or (self._set_for is not None and self._set_for <= self._heap[0][0]):
            return
        self._set_for = self._heap[0][0]
        loop = asyncio.get_running_loop()

        async def act() -> None:
            loop.call_soon(self._due)

        run_date = datetime.fromtimestamp(self._set_for, UTC)
        self._scheduler.add_job(act, "date", run_date=run_date, id=_JOB, replace_existing=True)

    def _due(self) -> None:
        due, self._set_for = self._set_for, None
        self._happen(due or 0.0)

    def _happen(self, due: float = 0.0) -> None:
        """Let wake-ups happen that are due, the earliest first; ``due``: a time that has come for APScheduler."""
        now = max(self._clock.now(), due)
        for _ in range(AT_ONCE):
            if not self._heap or self._heap[0][0] > now:
                break
            wake = heapq.heappop(self._heap)[2]
            if not wake.waits:
                self._cancelled -= 1
            elif not wake.zone.gone:
                wake.waits = False
                if wake in wake.zone.wakes:
                    _drop(wake.zone, wake.what)
                asyncio.get_running_loop().call_soon(_act, wake.zone, wake.action)
        self._set()

    def cancelled(self) -> None:
        """Count a cancelled wake-up."""
        self._cancelled += 1
        if self._cancelled > max(CANCELLED_MAX, len(self._heap) // 2):
            self._heap = [entry for entry in self._heap if entry[2].waits]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def forget(self, zone: Woken, what: str) -> None:
        """Cancel a wake-up."""
        wake = wake_of(zone, what)
        if wake is not None:
            wake.cancel()
            _drop(zone, what)

    def next_wakes(self) -> list[NextWake]:
        """Return all wake-ups, earliest first."""
        waiting = (wake for _, _, wake in self._heap if wake.waits)
        return sorted(NextWake(wake.at, wake.what, wake.zone.name) for wake in waiting)

    def close(self) -> None:
        """Cancel all wake-ups."""
        if self._looking is not None:
            self._looking.cancel()
        self._heap.clear()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
