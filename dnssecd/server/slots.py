"""Places for transfers, shared among clients: a client with many slow transfers does not block another."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from dnssecd.server.interfaces import ServedZone
from dnssecd.server.limits import Limits


@dataclass(eq=False, slots=True)
class Slot:
    """One running transfer of a client; ``progress_at`` is when the peer last read something (monotonic)."""

    client: str
    abort: Callable[[], None]
    zone: ServedZone
    started_at: float = field(default_factory=time.monotonic)
    progress_at: float = field(default_factory=time.monotonic)
    steps: int = 0
    cut: bool = False

    def progressed(self) -> None:
        """Note that the peer read what was sent."""
        self.progress_at = time.monotonic()
        self.steps += 1

    def pace(self, now: float) -> float:
        """Return how many slices the peer reads per second."""
        return self.steps / max(now - self.started_at, 0.001)


@dataclass(eq=False, slots=True)
class _Waiter:
    client: str
    granted: asyncio.Future[None]


class TransferSlots:
    """Places for transfers, fair among clients.

    If no place is free, a client waits; the next free place goes to the client with the fewest transfers. A
    stalled transfer is ended for a waiting one. If the waiting client has less than its share, the slowest
    transfer of the client with the most is ended too.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._taken = 0
        self._running: dict[Slot, None] = {}
        self._counts: Counter[str] = Counter()
        self._waiting: dict[_Waiter, None] = {}

    async def acquire(self, client: str, abort: Callable[[], None], zone: ServedZone) -> Slot | None:
        """Return a place for a transfer of ``client``, or None when no place became free in time."""
        if (slot := self.acquire_now(client, abort, zone)) is not None:
            return slot
        return self._begun(client, abort, zone) if await self._wait(client) else None

    def acquire_now(self, client: str, abort: Callable[[], None], zone: ServedZone) -> Slot | None:
        """Return a place for a transfer of ``client``, or None when it has to wait for one."""
        if self._taken >= self._limits.transfers_max or self._waiting:
            return None
        self._take(client)
        return self._begun(client, abort, zone)

    def _begun(self, client: str, abort: Callable[[], None], zone: ServedZone) -> Slot:
        slot = Slot(client, abort, zone)
        self._running[slot] = None
        return slot

    def release(self, slot: Slot) -> None:
        """Give a place back."""
        self._running.pop(slot, None)
        self._give_back(slot.client)

    def zones(self) -> list[ServedZone]:
        """Return the zones that are transferred now."""
        return list({id(slot.zone): slot.zone for slot in self._running}.values())

    def end(self, zone: ServedZone, older_than_s: float) -> int:
        """Cut the transfers of a zone that have run for longer than that, oldest first; return how many they are."""
        begun_before = time.monotonic() - older_than_s
        old = [
            slot
            for slot in self._running
            if slot.zone is zone and not slot.cut and slot.started_at <= begun_before
        ]
        for slot in old:
            self._cut(slot)
        return len(old)

    async def _wait(self, client: str) -> bool:
        loop = asyncio.get_running_loop()
        waiter = _Waiter(client, loop.create_future())
        self._waiting[waiter] = None
        self._cut_stalled()
        insist = loop.call_later(self._limits.transfer_yield_s, self._cut_greediest, waiter)
        try:
            async with asyncio.timeout(self._limits.transfer_wait_s):
                await waiter.granted
        except BaseException as error:
            if waiter.granted.done() and not waiter.granted.cancelled():
                self._give_back(client)
            if isinstance(error, TimeoutError):
                return False
            raise
        finally:
            insist.cancel()
            self._waiting.pop(waiter, None)
        return True

    def _take(self, client: str) -> None:
        self._taken += 1
        self._counts[client] += 1

    def _give_back(self, client: str) -> None:
        self._taken -= 1
        self._counts[client] -= 1
        if not self._counts[client]:
            del self._counts[client]
        self._grant()

    def _grant(self) -> None:
        """Give a free place to the waiting client with the fewest transfers; among equals, to the first."""
        if self._taken >= self._limits.transfers_max:
            return
        waiting = [one for one in self._waiting if not one.granted.done()]
        if not waiting:
            return
        waiter = min(waiting, key=lambda one: self._counts[one.client])
        del self._waiting[waiter]
        self._take(waiter.client)
        waiter.granted.set_result(None)

    def _cut_stalled(self) -> None:
        stalest = min((s for s in self._running if not s.cut), key=lambda s: s.progress_at, default=None)
        if stalest is not None and time.monotonic() - stalest.progress_at >= self._limits.transfer_stall_s:
            self._cut(stalest)

    def _cut_greediest(self, waiter: _Waiter) -> None:
        """End a transfer of the client that has the most, if ``waiter`` still waits and has less than its share."""
        if waiter not in self._waiting:
            return
        # The places of transfers already being ended belong to earlier waiters.
        held = Counter(slot.client for slot in self._running if not slot.cut)
        share = max(1, self._limits.transfers_max // len(held.keys() | {waiter.client}))
        greediest, most = max(held.items(), key=lambda item: item[1], default=("", 0))
        if held[waiter.client] >= share or most <= share:
            return
        now = time.monotonic()
        mine = (slot for slot in self._running if slot.client == greediest and not slot.cut)
        self._cut(min(mine, key=lambda slot: slot.pace(now)))

    def _cut(self, slot: Slot) -> None:
        slot.cut = True
        slot.abort()
