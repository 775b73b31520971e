"""Bounds of the listeners."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """All bounds; times in seconds. The values suit a hidden primary with tens of secondaries."""

    #: Half of the places are open to strangers, a quarter is kept for peers (server.connections.Standing).
    connections_max: int = 512
    connections_per_client_max: int = 128
    #: Connections of one network (server.clients.network) that are not peers', and those of strangers among them.
    connections_per_network_max: int = 256
    strangers_per_network_max: int = 64
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
    #: A client that has fewer than its share of the transfers waits this long, then the largest client gives one up.
    transfer_yield_s: float = 2.0
    #: How long a connection that asks nothing more is kept for the answers it is owed: an update waits at most 30 s
    #: until it is begun, and is then carried out.
    owed_s: float = 120.0
    #: NOTIFY and UPDATE being worked on, in all (server.deferred shares them) and for one connection.
    deferred_max: int = 1024
    deferred_per_connection_max: int = 128
