"""Work that is carried to its end, although the task that waits for it is cancelled: a thread cannot be stopped."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def to_the_end(work: Awaitable[T]) -> T:
    """Return the result of ``work``, or raise its exception.

    If the caller is cancelled meanwhile, the work continues, and CancelledError is raised when it has ended.
    """
    running = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait((running,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not running.cancelled():
            running.exception()  # retrieved: nothing else logs it
        raise cancelled
    return running.result()
