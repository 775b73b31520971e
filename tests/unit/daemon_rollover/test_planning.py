"""When a plan is made: after the sightings of a new version, not once before and once after them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dnssecd.daemon.rollover import planning
from dnssecd.daemon.rollover.engine import Rollovers
from dnssecd.daemon.rollover.planning import PLANS_S, Planning
from dnssecd.flag import Flag


@pytest.fixture(autouse=True)
def _long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "COALESCE_S", 0.0)
    monkeypatch.setattr(planning, "SEEN_S", 600.0)


async def _ends(task: asyncio.Task[None]) -> None:
    async with asyncio.timeout(60):
        await task


def test_a_plan_after_a_commit_waits_until_the_version_is_seen() -> None:
    async def check() -> None:
        asked = Planning()
        asked.await_sightings()
        task = asyncio.create_task(asked.gather())
        for _ in range(50):
            await asyncio.sleep(0)
        assert not task.done()
        asked.seen.set()
        await _ends(task)
        await _ends(asyncio.create_task(asked.gather()))  # nothing was committed: nothing is waited for

    asyncio.run(check())


def test_a_command_does_not_wait_for_sightings() -> None:
    async def check() -> None:
        asked = Planning()
        asked.urgent.set()
        asked.await_sightings()
        await _ends(asyncio.create_task(asked.gather()))

    asyncio.run(check())


def test_a_dead_secondary_delays_a_plan_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        monkeypatch.setattr(planning, "SEEN_S", 0.01)
        asked = Planning()
        asked.await_sightings()
        await _ends(asyncio.create_task(asked.gather()))
        monkeypatch.setattr(planning, "SEEN_S", 600.0)
        await _ends(asyncio.create_task(asked.gather()))

    asyncio.run(check())


def test_it_rests_only_if_a_new_one_would_do_the_same() -> None:
    def made(**fields: Any) -> Planning:
        return Planning(**fields)

    assert made().rests(100.0)
    assert made(planned=(90.0, 100.0 - PLANS_S)).rests(100.0)
    assert not made(planned=(90.0, 100.1 - PLANS_S)).rests(100.0)
    assert not made(again=True).rests(100.0)
    assert not made(task=cast(Any, object())).rests(100.0)
    assert not made(urgent=Flag(is_set=True)).rests(100.0)
    assert not made(seen=Flag()).rests(100.0)


@pytest.mark.parametrize(("again", "forgotten"), [(False, True), (True, False)])
def test_a_zone_keeps_no_planning_that_rests(again: bool, forgotten: bool) -> None:
    asked, other = Planning(again=again), Planning()
    zone, loop = SimpleNamespace(planning=asked), SimpleNamespace(time=lambda: 100.0)
    rest = cast(Any, Rollovers)._rest
    rest(None, zone, other, loop)
    assert zone.planning is asked, "a later one is another object"
    rest(None, zone, asked, loop)
    assert (zone.planning is None) is forgotten
