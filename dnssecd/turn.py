"""A lock for objects that are many and mostly quiet: what waits for it takes memory only while it waits.

``asyncio.Lock`` takes 160 octets, and each zone has two.
"""

import asyncio
from collections import deque
from types import TracebackType


class Turn:
    """Used as ``asyncio.Lock`` is, on one event loop: the first who waits gets it first."""

    __slots__ = ("_taken", "_waiting")

    def __init__(self) -> None:
        self._taken = False
        self._waiting: deque[asyncio.Future[None]] | None = None

    def locked(self) -> bool:
        """Tell whether it is taken."""
        return self._taken

    async def acquire(self) -> None:
        """Take it, when all that waited before had it."""
        if not self._taken and self._waiting is None:
            self._taken = True
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._waiting = deque() if self._waiting is None else self._waiting
        queue.append(waiting)
        try:
            try:
                await waiting
            finally:
                queue.remove(waiting)
                if not queue:
                    self._waiting = None
        except asyncio.CancelledError:
            if not self._taken:  # it may have been given to the one that is cancelled
                self._give()
            raise
        self._taken = True

    def release(self) -> None:
        """Give it to the next who waits. Raise RuntimeError if it is not taken."""
        if not self._taken:
            raise RuntimeError("the turn is not taken")
        self._taken = False
        self._give()

    def _give(self) -> None:
        """Wake the first who waits; until that one runs, none takes it, as there is still a queue."""
        if self._waiting is not None and not self._waiting[0].done():
            self._waiting[0].set_result(None)

    async def __aenter__(self) -> None:
        """Take it."""
        await self.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release it."""
        self.release()
