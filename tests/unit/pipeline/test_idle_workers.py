"""Who gets the next idle worker: changes of served zones first, and nobody waits for ever."""

from __future__ import annotations

import asyncio

import pytest

from dnssecd.pipeline.workers.idle import TURNS, Idle, Withdrawn


def wanted() -> bool:
    return True


async def waiting(idle: Idle[str], name: str, got: list[str], *, first: bool) -> None:
    await idle.get(name, wanted, first=first)
    got.append(name)


def test_a_change_goes_before_a_thousand_first_versions() -> None:
    async def run() -> list[str]:
        idle: Idle[str] = Idle()
        got: list[str] = []
        async with asyncio.TaskGroup() as group:
            for number in range(1_000):
                group.create_task(waiting(idle, f"new {number}", got, first=False))
            await asyncio.sleep(0)
            group.create_task(waiting(idle, "change", got, first=True))
            await asyncio.sleep(0)
            for _ in range(1_001):
                idle.put("worker")
                await asyncio.sleep(0)
        return got

    got = asyncio.run(run())
    assert got.index("change") < TURNS
    assert [name for name in got if name != "change"] == [f"new {number}" for number in range(1_000)]


def test_first_versions_get_a_part_of_the_turns() -> None:
    async def run() -> list[str]:
        idle: Idle[str] = Idle()
        got: list[str] = []
        async with asyncio.TaskGroup() as group:
            group.create_task(waiting(idle, "new", got, first=False))
            for number in range(100):
                group.create_task(waiting(idle, str(number), got, first=True))
            await asyncio.sleep(0)
            for _ in range(101):
                idle.put("worker")
                await asyncio.sleep(0)
        return got

    assert asyncio.run(run()).index("new") < TURNS


def test_the_worker_of_one_who_left_goes_to_the_next() -> None:
    async def run() -> None:
        idle: Idle[str] = Idle()
        left = asyncio.ensure_future(idle.get("zone", wanted, first=True))
        await asyncio.sleep(0)
        idle.put("worker")
        left.cancel()  # it was given the worker, and did not take it yet
        with pytest.raises(asyncio.CancelledError):
            await left
        assert await asyncio.wait_for(idle.get("zone", wanted, first=False), 5) == "worker"
        gone = asyncio.ensure_future(idle.get("zone", wanted, first=True))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        idle.put("worker")
        assert await asyncio.wait_for(idle.get("zone", wanted, first=False), 5) == "worker"

    asyncio.run(run())


async def test_what_is_not_wanted_any_more_waits_no_longer() -> None:
    idle: Idle[str] = Idle()
    gone = False
    leaves = asyncio.ensure_future(idle.get("leaves", lambda: not gone, first=False))
    stays = asyncio.ensure_future(idle.get("stays", wanted, first=False))
    await asyncio.sleep(0)
    for name in ("leaves", "stays", "other"):
        idle.withdraw(name)
    await asyncio.sleep(0)
    assert not leaves.done(), "it is wanted"
    gone = True
    for name in ("leaves", "stays"):
        idle.withdraw(name)
    with pytest.raises(Withdrawn):
        await leaves
    assert not stays.done()
    idle.put("worker")
    assert await asyncio.wait_for(stays, 5) == "worker"
    assert not idle._places
