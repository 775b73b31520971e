"""A turn is had by one at a time, in the order of asking, and by none that was cancelled."""

from __future__ import annotations

import asyncio
import random

import pytest

from dnssecd.turn import Turn


async def _some_turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_at_a_time_in_the_order_of_asking() -> None:
    turn, had = Turn(), list[int]()

    async def use(number: int) -> None:
        async with turn:
            assert turn.locked()
            had.append(number)
            await _some_turns()
            had.append(number)

    await asyncio.gather(*map(use, range(4)))
    assert had == [0, 0, 1, 1, 2, 2, 3, 3]
    assert not turn.locked()
    assert turn._waiting is None, "what waits for nothing takes no memory"


async def test_it_is_released_by_an_error_and_not_twice() -> None:
    turn = Turn()
    with pytest.raises(ValueError, match="inside"):
        async with turn:
            raise ValueError("inside")
    assert not turn.locked()
    with pytest.raises(RuntimeError):
        turn.release()


async def test_none_overtakes_the_one_that_was_given_the_turn() -> None:
    turn, had = Turn(), list[str]()

    async def use(name: str) -> None:
        async with turn:
            had.append(name)

    await turn.acquire()
    first = asyncio.create_task(use("first"))
    await _some_turns()
    turn.release()
    assert not turn.locked()
    await use("second")
    await first
    assert had == ["first", "second"]


async def test_the_next_gets_it_if_the_first_is_cancelled_when_it_was_given_the_turn() -> None:
    turn = Turn()
    await turn.acquire()
    first, second = (asyncio.create_task(turn.acquire()) for _ in range(2))
    await _some_turns()
    turn.release()
    first.cancel()
    async with asyncio.timeout(10):
        await second
    assert first.cancelled()
    assert turn.locked()
    turn.release()
    assert turn._waiting is None


async def test_a_cancelled_one_in_front_does_not_stop_the_release() -> None:
    turn = Turn()
    await turn.acquire()
    first, second = (asyncio.create_task(turn.acquire()) for _ in range(2))
    await _some_turns()
    first.cancel()
    turn.release()  # before the first has run
    async with asyncio.timeout(10):
        await second
    assert turn.locked()


@pytest.mark.parametrize("seed", range(20))
async def test_any_history_lets_all_have_it_that_are_not_cancelled(seed: int) -> None:
    chance, turn, inside, had = random.Random(seed), Turn(), list[int](), set[int]()

    async def use(number: int) -> None:
        async with turn:
            assert inside == []
            inside.append(number)
            try:
                for _ in range(chance.randrange(3)):
                    await asyncio.sleep(0)
                had.add(number)
            finally:
                inside.clear()

    tasks = list[asyncio.Task[None]]()
    cancelled = set[int]()
    for number in range(60):
        tasks.append(asyncio.create_task(use(number)))
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        if chance.random() < 0.4:
            victim = chance.randrange(len(tasks))
            if tasks[victim].cancel():
                cancelled.add(victim)
    async with asyncio.timeout(10):
        await asyncio.gather(*tasks, return_exceptions=True)
    assert had >= set(range(60)) - cancelled
    assert not turn.locked()
    assert turn._waiting is None
