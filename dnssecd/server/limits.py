"""Bounds of the listeners."""

from __future__ import annotations

from msgspec import Struct


class Limits(Struct, frozen=True):
    """All bounds; times in seconds. The values suit a hidden primary with tens of secondaries."""

    #: Strangers may use half of the places; a quarter is reserved for peers (server.connections.Standing).
    connections_max: int = 512
    connections_per_client_max: int = 128
    #: Connections from one network (server.clients.network): all except peers', and strangers' only.
    connections_per_network_max: int = 256
    strangers_per_network_max: int = 64
    #: Between two messages of a connection; for one whole message; for the peer to read what was written.
    idle_s: float = 20.0
    message_s: float = 10.0
    write_s: float = 30.0
    connection_s: float = 3600.0
    #: For a TLS handshake, and to wait for the peer's end of a TLS connection that is closed.
    handshake_s: float = 10.0
    tls_shutdown_s: float = 2.0
    #: TLS handshakes with strangers, in a second and in one burst: in all, and of one network.
    handshakes_per_s: float = 100.0
    handshakes_burst: int = 200
    network_handshakes_per_s: float = 10.0
    network_handshakes_burst: int = 50
    #: Transfers at one time, in all; the longest time for one (its snapshot pins the store's log), and to
    #: wait for a place.
    transfers_max: int = 32
    transfer_s: float = 1800.0
    transfer_wait_s: float = 10.0
    #: A transfer whose peer has read nothing for this time is ended when others wait.
    transfer_stall_s: float = 5.0
    #: After a client with less than its share of transfers has waited this long, one transfer of the largest
    #: client is ended.
    transfer_yield_s: float = 2.0
    #: How long a connection without further requests is kept for its pending answers: an update waits at most
    #: 30 s until it is started.
    owed_s: float = 120.0
    #: NOTIFY and UPDATE requests in progress, in all (server.deferred shares the places) and for one connection.
    deferred_max: int = 1024
    deferred_per_connection_max: int = 128
