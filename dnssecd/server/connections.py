"""The ledger of TCP connections: it decides which have a place, and which are closed to make room.

A connection begins as a stranger's, unless its address is a configured peer's. It becomes a client's when an
access list allows a request on it. It becomes a peer's when a request is signed with a known TSIG key, or
comes from an address that may transfer or notify. Strangers are evicted first, even in the middle of a
message. Among strangers, the network with the most connections is chosen, in it the client with the most, and
of that client the oldest connection. So a peer that has just connected, and proves itself only with its first
message, is evicted last.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from dnssecd.server.acl import Address, Channel
from dnssecd.server.clients import client, network
from dnssecd.server.limits import Limits
from dnssecd.server.reasons import Drop


class Standing(IntEnum):
    """The proven standing of the sender of a request or the other end of a connection."""

    STRANGER = 0
    CLIENT = 1
    PEER = 2


@dataclass(eq=False, slots=True)
class Connection:
    """An open TCP connection in the ledger; ``abort`` closes it at once. ``idle_since``: None during a message.

    ``tls``: it is for TLS; ``channel``: set once the handshake is done. Time: monotonic, seconds.
    """

    address: Address
    abort: Callable[[], None]
    standing: Standing = Standing.STRANGER
    idle_since: float | None = field(default_factory=time.monotonic)
    tls: bool = False
    channel: Channel | None = None
    client: str = field(init=False)
    network: str = field(init=False)

    def __post_init__(self) -> None:
        self.client, self.network = client(self.address), network(self.address)


class ConnectionLedger:
    """Counts connections. When no place is free, it closes strangers first, then the connection idle longest."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._strangers_max = limits.connections_max - limits.connections_max // 2
        self._others_max = limits.connections_max - limits.connections_max // 4
        self._open: dict[Connection, None] = {}
        #: Strangers by network and client, each oldest first; the number of strangers in each network.
        self._strangers: dict[str, dict[str, dict[Connection, None]]] = {}
        self._stranger_networks: Counter[str] = Counter()
        self._stranger_count = 0
        self._clients: Counter[str] = Counter()
        self._networks: Counter[str] = Counter()
        self._peers = 0

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, connection: Connection) -> bool:
        return connection in self._open

    def admit(self, connection: Connection) -> Drop | None:
        """Add a connection; return None, or the reason why it must be closed instead."""
        limits = self._limits
        full = self._clients[connection.client] >= limits.connections_per_client_max
        if full and not self._evict_of_client(connection):
            return Drop.CONNECTIONS_OF_CLIENT
        if connection.standing is not Standing.PEER:
            reason = self._room_for_other(connection)
            if reason is not None:
                return reason
        if len(self._open) >= limits.connections_max and not (
            self._evict_stranger() or self._evict_idle(self._open)
        ):
            return Drop.CONNECTIONS
        self._enter(connection)
        return None

    def promote(self, connection: Connection, standing: Standing) -> None:
        """Raise the standing of a connection; it is never lowered."""
        if connection in self._open and standing > connection.standing:
            idle_since = connection.idle_since
            self.leave(connection)
            connection.standing, connection.idle_since = standing, idle_since
            self._enter(connection)

    def leave(self, connection: Connection) -> None:
        """Remove a connection; a second call has no effect."""
        if connection not in self._open:
            return
        del self._open[connection]
        _count_down(self._clients, connection.client)
        if connection.standing is Standing.PEER:
            self._peers -= 1
            return
        _count_down(self._networks, connection.network)
        if connection.standing is Standing.STRANGER:
            self._strike_stranger(connection)

    def _strike_stranger(self, connection: Connection) -> None:
        of_network = self._strangers[connection.network]
        of_client = of_network[connection.client]
        del of_client[connection]
        if not of_client:
            del of_network[connection.client]
        if not of_network:
            del self._strangers[connection.network]
        self._stranger_count -= 1
        _count_down(self._stranger_networks, connection.network)

    def abort_all(self) -> None:
        """Close every connection at once."""
        for connection in list(self._open):
            connection.abort()

    def abort_idle(self) -> None:
        """Close the connections that wait for a request."""
        for connection in list(self._open):
            if connection.idle_since is not None:
                connection.abort()

    def shed(self) -> None:
        """Close the least important connection, if there is any: the process needs its descriptor."""
        if not self._evict_stranger():
            self._evict_idle(self._open)

    def _enter(self, connection: Connection) -> None:
        self._open[connection] = None
        self._clients[connection.client] += 1
        if connection.standing is Standing.PEER:
            self._peers += 1
            return
        self._networks[connection.network] += 1
        if connection.standing is Standing.STRANGER:
            of_network = self._strangers.setdefault(connection.network, {})
            of_network.setdefault(connection.client, {})[connection] = None
            self._stranger_count += 1
            self._stranger_networks[connection.network] += 1

    def _room_for_other(self, connection: Connection) -> Drop | None:
        """Make room for a connection that is not a peer's; return None, or the reason why there is no room."""
        limits, network = self._limits, connection.network
        if self._networks[network] >= limits.connections_per_network_max and not self._evict_of_network(
            network
        ):
            return Drop.CONNECTIONS_OF_NETWORK
        if self._stranger_networks[network] >= limits.strangers_per_network_max:
            self._evict_of_network(network)
        if self._stranger_count >= self._strangers_max:
            self._evict_stranger()
        if len(self._open) - self._peers >= self._others_max and not (
            self._evict_stranger() or self._evict_idle(c for c in self._open if c.standing is Standing.CLIENT)
        ):
            return Drop.CONNECTIONS
        return None

    def _evict_of_client(self, connection: Connection) -> bool:
        return self._evict(self._strangers.get(connection.network, {}).get(connection.client, {}))

    def _evict_of_network(self, network: str) -> bool:
        largest: dict[Connection, None] = max(self._strangers.get(network, {}).values(), key=len, default={})
        return self._evict(largest)

    def _evict_stranger(self) -> bool:
        if not self._stranger_count:
            return False
        return self._evict_of_network(max(self._stranger_networks, key=self._stranger_networks.__getitem__))

    def _evict_idle(self, among: Iterable[Connection]) -> bool:
        idle = [connection for connection in among if connection.idle_since is not None]
        return bool(idle) and self._evict([min(idle, key=lambda connection: connection.idle_since or 0.0)])

    def _evict(self, among: Iterable[Connection]) -> bool:
        """Close the first of the given connections."""
        victim = next(iter(among), None)
        if victim is None:
            return False
        self.leave(victim)
        victim.abort()
        return True


def _count_down(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
