"""A flag wakes all that wait, and keeps nothing of them."""

from __future__ import annotations

import asyncio

import pytest

from dnssecd.flag import Flag


async def _some_turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_all_that_wait_are_woken_even_if_it_is_cleared_before_they_run() -> None:
    flag, woken = Flag(), list[int]()

    async def wait(number: int) -> None:
        await flag.wait()
        woken.append(number)

    tasks = [asyncio.create_task(wait(number)) for number in range(3)]
    await _some_turns()
    assert woken == []
    flag.set()
    flag.clear()
    await _some_turns()
    assert sorted(woken) == [0, 1, 2]
    assert not flag.is_set()
    assert flag._waiting is None
    later = asyncio.create_task(wait(3))
    await _some_turns()
    assert not later.done()
    flag.set()
    await asyncio.wait_for(asyncio.gather(later, *tasks), 10)
    await asyncio.wait_for(wait(4), 10)


async def test_who_is_cancelled_waits_no_longer() -> None:
    flag = Flag()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(flag.wait(), 0.01)
    assert flag._waiting is None
    flag.set()
    assert flag.is_set()
