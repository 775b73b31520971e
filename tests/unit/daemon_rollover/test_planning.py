"""When a plan is made: after the sightings of a new version, not once before and once after them."""

from __future__ import annotations

import asyncio

import pytest

from dnssecd.daemon.rollover import planning
from dnssecd.daemon.rollover.planning import Planning


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
