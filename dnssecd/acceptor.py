"""A listening socket that accepts in small batches, and pauses when the process has no free file descriptor.

The accept loop of asyncio does neither: without free descriptors it logs each attempt, thousands per second, and keeps
the event loop busy until some are free.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from msgspec import Struct

from dnssecd.repeats import Repeated, Repeats
from dnssecd.tls_alert import handshake_on

#: Connections accepted before control returns to the event loop.
BATCH = 32
#: What may be unsent on a TLS connection before writing waits; asyncio's default for TCP.
WRITE_OCTETS = 64 * 1024
#: Pause after accept() found no descriptor or memory.
REST_S = 1.0

#: Errors of accept() that last until descriptors or memory are free.
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

log = structlog.get_logger("dnssecd.acceptor")


def log_exhausted(listener: str) -> Callable[[OSError], None]:
    """Return a function that logs that a listener has no descriptors: immediately, then once a minute with a count."""

    def again(window: Repeated) -> None:
        log.error("connections could not be accepted", listener=listener, count=window.count)

    repeats = Repeats(again)

    def report(error: OSError) -> None:
        now = time.monotonic()
        repeats.flush(now)
        window = repeats.first(error.errno, now)
        if window is not None:
            window.add({})
            return
        log.error(
            "connections cannot be accepted",
            listener=listener,
            cause=str(error),
            remedy="raise LimitNOFILE of the unit, or find out which files the process keeps open",
        )

    return report


class Acceptor:
    """Accepts connections on one bound stream socket, which it owns, until :meth:`close`. Not thread-safe.

    accepted: called with each connection (non-blocking) and the peer's address; it owns the connection.
    exhausted: called with the error at each pause; descriptors that it closes are free for the next attempt.
    """

    def __init__(
        self,
        sock: socket.socket,
        backlog: int,
        accepted: Callable[[socket.socket, Any], None],
        exhausted: Callable[[OSError], None],
    ) -> None:
        self._socket = sock
        self._accepted = accepted
        self._exhausted = exhausted
        self._resting: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        sock.setblocking(False)
        sock.listen(backlog)
        self._loop.add_reader(sock, self._readable)

    @property
    def address(self) -> Any:
        """The address in use, as sockets name it."""
        return self._socket.getsockname()

    def close(self) -> None:
        """Stop accepting and close the socket; accepted connections continue."""
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def _readable(self) -> None:
        for _ in range(BATCH):
            try:
                connection, peer = self._socket.accept()
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._rest(error)
                # Other errors concern only that connection, or the queue is empty (accept(2)).
                return
            connection.setblocking(False)
            self._accepted(connection, peer)

    def _rest(self, error: OSError) -> None:
        self._loop.remove_reader(self._socket)
        self._resting = self._loop.call_later(REST_S, self._go_on)
        self._exhausted(error)

    def _go_on(self) -> None:
        self._resting = None
        self._loop.add_reader(self._socket, self._readable)


class TlsServerSide(Struct, frozen=True):
    """TLS on an accepted connection: the context, and the most seconds for its handshake and its end."""

    context: ssl.SSLContext
    handshake_s: float
    shutdown_s: float


async def streams(
    connection: socket.socket, limit: int, tls: TlsServerSide | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return reader and writer of an accepted connection. Raise OSError when it is already closed.

    limit: reading pauses while twice this many octets wait to be consumed. tls: the handshake is done first; its
    failure is an OSError too (ssl.SSLError, ConnectionError).
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit, loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    try:
        if tls is None:
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection)
        else:
            with handshake_on(connection):
                transport, _ = await loop.connect_accepted_socket(
                    lambda: protocol,
                    connection,
                    ssl=tls.context,
                    ssl_handshake_timeout=tls.handshake_s,
                    ssl_shutdown_timeout=tls.shutdown_s,
                )
            # The default for TLS is eight times that for TCP: much memory for peers that do not read.
            transport.set_write_buffer_limits(high=WRITE_OCTETS)
    except BaseException:
        connection.close()
        raise
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


class StreamServer:
    """Calls ``serve`` with the streams of each connection of a bound socket, which it owns; awaits it in a task."""

    def __init__(
        self,
        sock: socket.socket,
        backlog: int,
        limit: int,
        serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None],
        exhausted: Callable[[OSError], None],
    ) -> None:
        """limit: as in :func:`streams`; exhausted: as in Acceptor."""
        self._limit, self._serve = limit, serve
        self._tasks: set[asyncio.Task[None]] = set()
        self._acceptor = Acceptor(sock, backlog, self._accepted, exhausted)

    def close(self) -> None:
        """Stop accepting; connections continue."""
        self._acceptor.close()

    def _accepted(self, connection: socket.socket, peer: Any) -> None:
        task = asyncio.get_running_loop().create_task(self._run(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, connection: socket.socket) -> None:
        try:
            reader, writer = await streams(connection, self._limit)
        except OSError as error:
            log.debug("connection lost before it was served", cause=str(error))
            return
        served = self._serve(reader, writer)
        if served is not None:
            await served
