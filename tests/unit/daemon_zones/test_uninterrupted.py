"""Work in a thread ends before the task that waits for it, even if that is cancelled twice."""

from __future__ import annotations

import asyncio
import threading

import pytest

from dnssecd.uninterrupted import to_the_end


async def test_the_result_and_the_exception_come_through() -> None:
    assert await to_the_end(asyncio.to_thread(lambda: 7)) == 7
    with pytest.raises(ZeroDivisionError):
        await to_the_end(asyncio.to_thread(lambda: 1 // 0))


async def test_a_cancelled_task_ends_after_the_work() -> None:
    go, ended = threading.Event(), threading.Event()

    def work() -> None:
        assert go.wait(10)
        ended.set()

    task = asyncio.create_task(to_the_end(asyncio.to_thread(work)))
    for _ in range(2):
        await asyncio.sleep(0.01)
        task.cancel()
    await asyncio.sleep(0.01)
    assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)
    assert ended.is_set()
