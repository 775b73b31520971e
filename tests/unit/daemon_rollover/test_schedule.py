"""Wake-ups by the wall clock, when the wall clock moves."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from apscheduler.schedulers import base

import dnssecd
from dnssecd.clock import SystemClock
from dnssecd.daemon.zones import schedule
from dnssecd.daemon.zones.schedule import Schedule
from dnssecd.daemon.zones.zone import FrontZone


def a_zone() -> FrontZone:
    parts: Any = SimpleNamespace(name="z.")
    return FrontZone(parts, parts, parts, [], [], parts)


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
    wakes.wake(a_zone(), "load", clock.now() + 3600, lambda _: woken.set())
    await asyncio.sleep(0.05)
    assert not woken.is_set()
    ahead = timedelta(hours=2)
    async with asyncio.timeout(10):
        await woken.wait()
    wakes.close()


async def test_a_later_request_replaces_the_one_before_and_a_zone_that_is_gone_is_woken_no_more() -> None:
    clock, woken = SystemClock(), list[str]()
    first, second = a_zone(), a_zone()
    wakes = Schedule(clock)
    wakes.start()
    for zone, name in ((first, "first"), (second, "second")):
        wakes.wake(zone, "load", clock.now() + 3600, lambda _: woken.append("too late"))
        wakes.wake(
            zone,
            "load",
            clock.now(),
            lambda found, zone=zone, name=name: woken.append(name if found is zone else "another"),
        )
        wakes.wake(zone, "resign", clock.now() + 60, lambda _: woken.append("a minute too early"))
    assert [(wake.what, wake.zone) for wake in wakes.next_wakes()] == [("load", "z.")] * 2 + [
        ("resign", "z.")
    ] * 2
    first.gone = True
    first.close()
    assert [(wake.what, wake.zone) for wake in wakes.next_wakes()] == [("load", "z."), ("resign", "z.")]
    wakes.wake(first, "load", clock.now(), lambda _: woken.append("gone"))
    async with asyncio.timeout(10):
        while not woken:
            await asyncio.sleep(0.005)
    assert woken == ["second"]
    assert [wake.what for wake in second.wakes] == ["resign"]
    wakes.forget(second, "resign")
    assert (wakes.next_wakes(), second.wakes) == ([], ())
    wakes.close()


async def test_a_zone_that_leaves_while_its_wake_up_happens_is_not_woken() -> None:
    clock, woken = SystemClock(), list[str]()
    zone, wakes = a_zone(), Schedule(SystemClock())
    wakes.start()
    wakes.wake(zone, "load", clock.now(), lambda _: woken.append("load"))
    while wakes.next_wakes():  # APScheduler has taken it out of its queue
        await asyncio.sleep(0)
    zone.gone = True
    zone.close()
    await asyncio.sleep(0.02)
    assert woken == []
    wakes.close()


def test_no_other_module_uses_apscheduler() -> None:
    root = Path(dnssecd.__file__).parent
    users = [path for path in root.rglob("*.py") if "from apscheduler" in path.read_text()]
    assert users == [root / "daemon" / "zones" / "schedule.py"]
