"""Room for the requests of one user: the octets that are being received, worked on, and sent as replies are bounded.

What finds no room waits, in order. So a user with many connections can neither use up the memory, nor make the key
service check and answer for others later than a few requests of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque

from dnssecd import keyservice_protocol as wp

ROOM_OCTETS = 64 * 1024 * 1024
#: What is reserved for the reply to a request that lists something; other replies are small.
LIST_OCTETS = wp.FRAME_OCTETS_MAX // 2
LISTING = (wp.KeysRequest, wp.TrashRequest, wp.AuditRequest, wp.ConsentsRequest, wp.StatusRequest)


def reply_octets(request: wp.Request) -> int:
    """Return what is to be reserved for the reply to a request."""
    return LIST_OCTETS if isinstance(request, LISTING) else 0


class Room:
    """See the module. Belongs to the event loop."""

    def __init__(self, most: int = ROOM_OCTETS) -> None:
        self._most = most
        self._used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, octets: int) -> None:
        """Wait until there is room, and take it; what is larger than all of the room gets it alone."""
        if not self._waiting and self._fits(octets):
            self._used += octets
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((octets, granted))
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.give(octets)
            raise

    def give(self, octets: int) -> None:
        """Give room back."""
        self._used -= octets
        while self._waiting and (self._waiting[0][1].done() or self._fits(self._waiting[0][0])):
            wanted, granted = self._waiting.popleft()
            if not granted.done():
                self._used += wanted
                granted.set_result(None)

    def _fits(self, octets: int) -> bool:
        return not self._used or self._used + octets <= self._most
