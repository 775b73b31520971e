"""No signal is lost, however many threads report to the loop."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from dnssecd.procs.signals import on_signal

NUMBER = signal.SIGUSR2


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = signal.getsignal(NUMBER)
    yield
    signal.signal(NUMBER, before)


@pytest.mark.parametrize("wakeups", [0, 5_000])
def test_a_busy_loop_hears_each_signal(wakeups: int) -> None:
    heard = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        on_signal(loop, NUMBER, lambda: heard.append(1))
        for _ in range(wakeups):
            loop.call_soon_threadsafe(lambda: None)  # as threads do: the pipe of the loop is full now
        os.kill(os.getpid(), NUMBER)
        async with asyncio.timeout(10):
            while not heard:
                await asyncio.sleep(0.01)

    asyncio.run(work())
    assert heard == [1]


def test_a_waiting_loop_is_woken() -> None:
    async def work() -> None:
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        on_signal(loop, NUMBER, event.set)
        loop.run_in_executor(None, os.kill, os.getpid(), NUMBER)
        async with asyncio.timeout(10):
            await event.wait()

    asyncio.run(work())


def test_after_the_end_of_the_loop_nothing_happens() -> None:
    async def work() -> None:
        on_signal(asyncio.get_running_loop(), NUMBER, lambda: None)

    asyncio.run(work())
    os.kill(os.getpid(), NUMBER)
