"""Wake-ups by the wall clock, when the wall clock moves."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, tzinfo

import pytest
from apscheduler.schedulers import base

from dnssecd.clock import SystemClock
from dnssecd.daemon.zones import schedule
from dnssecd.daemon.zones.schedule import Schedule


async def test_a_step_of_the_clock_makes_wake_ups_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timer sleeps by the monotonic clock; after a step forward it would sleep on for as long as the step."""
    ahead = timedelta()

    class Stepped(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) + ahead

    monkeypatch.setattr(base, "datetime", Stepped)
    monkeypatch.setattr(schedule, "LOOK_S", 0.01)
    clock, woken = SystemClock(), asyncio.Event()
    wakes = Schedule(clock)
    wakes.start()
    wakes.wake("zone", clock.now() + 3600, woken.set)
    await asyncio.sleep(0.05)
    assert not woken.is_set()
    ahead = timedelta(hours=2)
    async with asyncio.timeout(10):
        await woken.wait()
    wakes.close()
