"""Bounds of the listeners, and the two ledgers that keep them: connections and transfers."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_network

from dnssecd.server.acl import Address


@dataclass(frozen=True, slots=True)
class Limits:
    """All bounds; times in seconds. The values suit a hidden primary with tens of secondaries."""

    connections_max: int = 512
    connections_per_client_max: int = 128
    #: Between two messages of a connection; for all of one message; for the peer to take what was written.
    idle_s: float = 20.0
    message_s: float = 10.0
    write_s: float = 30.0
    connection_s: float = 3600.0
    #: Transfers at one time, in all; how long one may take (its snapshot pins the store's log), or wait its turn.
    transfers_max: int = 32
    transfer_s: float = 1800.0
    transfer_wait_s: float = 10.0
    #: A transfer whose peer has taken nothing for this long gives way when others wait.
    transfer_stall_s: float = 5.0
    #: NOTIFY and UPDATE being worked on, in all and for one connection.
    deferred_max: int = 1024
    deferred_per_connection_max: int = 128


def client_group(address: Address) -> str:
    """Return what counts as one client: an IPv4 address, an IPv6 /64."""
    if isinstance(address, IPv6Address) and not address.is_loopback:
        return str(ip_network((address, 64), strict=False))
    return str(address)


@dataclass(eq=False, slots=True)
class Connection:
    """An open TCP connection in the ledger; ``abort`` closes it at once."""

    group: str
    abort: Callable[[], None]
    idle_since: float | None = field(default_factory=time.monotonic)


class ConnectionLedger:
    """Counts connections; when all places are taken, the one idle longest makes room."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: set[Connection] = set()
        self._groups: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: Connection) -> str | None:
        """Enter a connection; return None, or the reason why it must be closed instead."""
        if self._groups[connection.group] >= self._limits.connections_per_client_max:
            return "too many connections of one client"
        if len(self._open) >= self._limits.connections_max and not self._evict():
            return "too many connections"
        self._open.add(connection)
        self._groups[connection.group] += 1
        return None

    def leave(self, connection: Connection) -> None:
        """Strike a connection out; once is enough, twice does no harm."""
        if connection in self._open:
            self._open.discard(connection)
            self._groups[connection.group] -= 1
            if not self._groups[connection.group]:
                del self._groups[connection.group]

    def abort_all(self) -> None:
        """Close every connection at once."""
        for connection in list(self._open):
            connection.abort()

    def abort_idle(self) -> None:
        """Close the connections that wait for a request."""
        for connection in list(self._open):
            if connection.idle_since is not None:
                connection.abort()

    def _evict(self) -> bool:
        idle = [(c.idle_since, id(c), c) for c in self._open if c.idle_since is not None]
        if not idle:
            return False
        victim = min(idle)[2]
        victim.abort()
        self.leave(victim)
        return True


@dataclass(eq=False, slots=True)
class Slot:
    """One running transfer; ``progress_at`` is when the peer last took something."""

    abort: Callable[[], None]
    progress_at: float = field(default_factory=time.monotonic)

    def progressed(self) -> None:
        """Note that the peer took what was sent."""
        self.progress_at = time.monotonic()


class TransferSlots:
    """Places for transfers. Who finds none free waits; a stalled transfer is cut short for those who wait."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._free = asyncio.Semaphore(limits.transfers_max)
        self._running: set[Slot] = set()

    async def acquire(self, abort: Callable[[], None]) -> Slot | None:
        """Return a place, or None when none came free in time."""
        if self._free.locked():
            self._cut_stalled()
        try:
            async with asyncio.timeout(self._limits.transfer_wait_s):
                await self._free.acquire()
        except TimeoutError:
            return None
        slot = Slot(abort)
        self._running.add(slot)
        return slot

    def release(self, slot: Slot) -> None:
        """Give a place back."""
        self._running.discard(slot)
        self._free.release()

    def _cut_stalled(self) -> None:
        if not self._running:
            return
        stalest = min(self._running, key=lambda slot: slot.progress_at)
        if time.monotonic() - stalest.progress_at >= self._limits.transfer_stall_s:
            self._running.discard(stalest)
            stalest.abort()
