"""The idle workers, and who gets the next one.

The one that worked last gets the next job, so that in quiet times the others rest (:meth:`Idle.resting`).

A change of a zone that is served goes before first versions: thousands of new zones must not keep a change, such as
that of the catalog which lists them, from the secondaries. First versions get a part of the turns.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

#: Of this many turns one goes to the jobs that wait behind, if any.
TURNS = 4

W = TypeVar("W")


class Withdrawn(Exception):
    """The work that a worker was wanted for is not wanted any more."""


class Idle(Generic[W]):
    """Belongs to the event loop."""

    def __init__(self) -> None:
        #: Who worked last is the first.
        self._free: deque[W] = deque()
        #: Those who wait: for changes of served zones, and for all else.
        self._first: deque[asyncio.Future[W]] = deque()
        self._behind: deque[asyncio.Future[W]] = deque()
        self._turns = 0
        #: Who waits for what, and whether it is still wanted.
        self._places: dict[str, tuple[asyncio.Future[W], Callable[[], bool]]] = {}

    async def get(self, what: str, wanted: Callable[[], bool], *, first: bool) -> W:
        """Return an idle worker. first: go before those who are not. Raise Withdrawn (:meth:`withdraw`)."""
        if self._free:
            return self._free.popleft()
        place: asyncio.Future[W] = asyncio.get_running_loop().create_future()
        waiting = self._first if first else self._behind
        waiting.append(place)
        self._places[what] = place, wanted
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.put(place.result())
            raise
        finally:
            if self._places.get(what, (None,))[0] is place:
                del self._places[what]

    def withdraw(self, what: str) -> None:
        """Let one who waits wait no longer, if the work is not wanted any more."""
        place, wanted = self._places.get(what, (None, None))
        if place is not None and wanted is not None and not wanted() and not place.done():
            place.set_exception(Withdrawn)

    def put(self, worker: W) -> None:
        """Give a worker back, to the next who waits."""
        while (place := self._next()) is not None:
            if not place.done():
                place.set_result(worker)
                return
        self._free.appendleft(worker)

    def resting(self) -> list[W]:
        """Return the idle workers, without the one that would get the next job."""
        return list(self._free)[1:]

    def _next(self) -> asyncio.Future[W] | None:
        if self._first and self._behind:
            self._turns = (self._turns + 1) % TURNS
            return (self._first if self._turns else self._behind).popleft()
        waiting = self._first or self._behind
        return waiting.popleft() if waiting else None
