"""Deferred answers (NOTIFY, UPDATE): how many at one time, and how they are shared among clients and zones.

The answers of one sender, or for one zone, may hold at most as many places as remain free. So one flood holds
half of the places, two floods a third each, and there is always room for others (dynamic thresholds, as in
the buffers of switches: Choudhury and Hahne, 1998).
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, NamedTuple


class Share(NamedTuple):
    """The zone (the object) and the sender (TSIG key as wire name, or address) that a place counts for."""

    zone: object
    sender: bytes | str


class Deferred:
    """An answer that takes time: ``work`` makes it, ``share`` is what its place counts for."""

    __slots__ = ("_dropped", "share", "work")

    def __init__(
        self, share: Share, work: Coroutine[Any, Any, bytes], dropped: Callable[[], None] | None = None
    ) -> None:
        """Hold the work; ``dropped`` is called if the work is never started."""
        self.share = share
        self.work = work
        self._dropped = dropped

    def __await__(self) -> Generator[Any, None, bytes]:
        """Make the answer."""
        return self.work.__await__()

    def close(self) -> None:
        """Give up before the work has started."""
        self.work.close()
        if self._dropped is not None:
            self._dropped()


class Places:
    """Places for deferred answers. Belongs to the event loop's thread."""

    def __init__(self, places_max: int) -> None:
        self._max = places_max
        self._zones: Counter[object] = Counter()
        self._senders: Counter[bytes | str] = Counter()
        self._taken = 0
        self._waiting: dict[Share, deque[asyncio.Future[None]]] = {}

    def __len__(self) -> int:
        return self._taken

    def take(self, share: Share) -> bool:
        """Take a place; False when there is none for this share now."""
        free = self._max - self._taken
        if free <= 0 or self._zones[share.zone] >= free or self._senders[share.sender] >= free:
            return False
        self._taken += 1
        self._zones[share.zone] += 1
        self._senders[share.sender] += 1
        return True

    async def wait(self, share: Share) -> None:
        """Wait for a place and take it; requests of one share get places in their order of arrival."""
        if share not in self._waiting and self.take(share):
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(share, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.give_back(share)
            raise

    def give_back(self, share: Share) -> None:
        """Give a place back; free places go to waiting requests, one share after another."""
        self._taken -= 1
        self._zones[share.zone] -= 1
        if not self._zones[share.zone]:
            del self._zones[share.zone]
        self._senders[share.sender] -= 1
        if not self._senders[share.sender]:
            del self._senders[share.sender]
        granted = True
        while granted and self._waiting:
            granted = False
            for waiting in list(self._waiting):
                granted |= self._grant(waiting)

    def _grant(self, share: Share) -> bool:
        """Give a place to the first waiting request of this share, if there is one."""
        queue = self._waiting[share]
        while queue and queue[0].done():
            queue.popleft()
        granted = bool(queue) and self.take(share)
        if granted:
            queue.popleft().set_result(None)
        if not queue:
            del self._waiting[share]
        return granted
