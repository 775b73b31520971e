"""The idle workers, and who gets the next one.

A change of a zone that is served goes before first versions: thousands of new zones must not keep a change, such as
that of the catalog which lists them, from the secondaries. First versions get a part of the turns.
"""

import asyncio
from collections import deque
from typing import Generic, TypeVar

#: Of this many turns one goes to the jobs that wait behind, if any.
TURNS = 4

W = TypeVar("W")


class Idle(Generic[W]):
    """Belongs to the event loop."""

    def __init__(self) -> None:
        self._free: deque[W] = deque()
        #: Those who wait: for changes of served zones, and for all else.
        self._first: deque[asyncio.Future[W]] = deque()
        self._behind: deque[asyncio.Future[W]] = deque()
        self._turns = 0

    async def get(self, *, first: bool) -> W:
        """Return an idle worker. first: go before those who are not."""
        if self._free:
            return self._free.popleft()
        place: asyncio.Future[W] = asyncio.get_running_loop().create_future()
        waiting = self._first if first else self._behind
        waiting.append(place)
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.put(place.result())
            raise

    def put(self, worker: W) -> None:
        """Give a worker back, to the next who waits."""
        while (place := self._next()) is not None:
            if not place.done():
                place.set_result(worker)
                return
        self._free.append(worker)

    def _next(self) -> asyncio.Future[W] | None:
        if self._first and self._behind:
            self._turns = (self._turns + 1) % TURNS
            return (self._first if self._turns else self._behind).popleft()
        waiting = self._first or self._behind
        return waiting.popleft() if waiting else None
