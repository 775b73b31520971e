"""Connections to peers over TLS (RFC 9103): authenticated, kept open for the next request, sessions resumed.

A connection is used by one request at a time. After an orderly answer it waits IDLE_S for the next one; a
connection that the peer closed meanwhile is replaced once. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from weakref import WeakKeyDictionary

import msgspec

from dnssecd.clock import SystemClock
from dnssecd.publish.source import BY_ROUTE, Source, local_address
from dnssecd.tls import (
    ALPN,
    BadCertificate,
    Identity,
    PeerCheck,
    ResumingContext,
    TlsFailed,
    TlsFault,
    client_context,
    fault_of,
    judge_verified,
)
from dnssecd.tls_alert import handshake_on

#: How long an open connection waits for the next request, and how many wait for one peer.
IDLE_S = 15.0
IDLE_MAX = 8
CONNECT_S = 5.0
HANDSHAKE_S = 5.0
SHUTDOWN_S = 1.0
#: A session is resumed for this long: then a whole handshake shows the peer's certificate again.
SESSION_S = 3600.0
CONTEXTS_MAX = 1024
_STREAM_OCTETS = 1 << 18


class TlsTarget(msgspec.Struct, frozen=True):
    """Where and how to connect: IP address and port; ``check``: of the peer; ``identity``: what we show."""

    host: str
    port: int
    check: PeerCheck
    identity: Identity | None = None
    source: Source = BY_ROUTE


@dataclass(eq=False, slots=True)
class Connection:
    """An open connection. ``used``: it has served a request before. ``resumed``: its session was resumed."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    resumed: bool
    used: bool = False
    timer: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Tell whether neither side closed it."""
        return not (self.writer.transport.is_closing() or self.reader.at_eof() or self.reader.exception())


@dataclass(eq=False, slots=True)
class _Prepared:
    """The context for a peer, the state of the files that it was made of, and when its session began."""

    context: ResumingContext
    files: tuple[tuple[str, int, int], ...]
    session_at: float = 0.0


class TlsClient:
    """Connects to peers; keeps contexts and idle connections. ``now``: epoch seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._prepared: dict[tuple[PeerCheck, Identity | None, str, int], _Prepared] = {}
        self._idle: dict[TlsTarget, list[Connection]] = {}

    @asynccontextmanager
    async def connection(self, target: TlsTarget, *, fresh: bool = False) -> AsyncIterator[Connection]:
        """Yield a connection for one request; raise TlsFailed, or OSError if there is no TCP connection.

        It is kept for the next request if the body ends without an exception. fresh: open a new one.
        """
        found = None if fresh else self._take(target)
        if found is None:
            found = await self._dial(target)
        kept = False
        try:
            yield found
            kept = found.is_open
        finally:
            if kept:
                self._keep(target, found)
            else:
                found.writer.transport.abort()

    async def ask(self, target: TlsTarget, wire: bytes, octets_max: int) -> tuple[bytes, bool]:
        """Send a message and return the next message on the connection, and whether a session was reused.

        The caller has a deadline. Raise TlsFailed, OSError or IncompleteReadError. octets_max: of a longer answer
        only one octet more is returned.
        """
        try:
            return await self._ask(target, wire, octets_max, fresh=False)
        except _Stale:
            return await self._ask(target, wire, octets_max, fresh=True)

    async def _ask(
        self, target: TlsTarget, wire: bytes, octets_max: int, *, fresh: bool
    ) -> tuple[bytes, bool]:
        async with self.connection(target, fresh=fresh) as open_now:
            reused = open_now.used or open_now.resumed
            try:
                open_now.writer.write(len(wire).to_bytes(2, "big") + wire)
                head = await open_now.reader.readexactly(2)
            except (OSError, asyncio.IncompleteReadError) as error:
                raise self.broken(open_now, error) from error
            size = int.from_bytes(head, "big")
            item = await open_now.reader.readexactly(min(size, octets_max + 1))
            if size > octets_max or item[:2] != wire[:2]:
                # The rest is not read, or the answer to this request may still come.
                open_now.writer.transport.abort()
            self.remember_session(target, open_now)
            return item, reused

    def broken(self, open_now: Connection, error: BaseException) -> Exception:
        """Return the exception for a request that got no answer: a connection that was used before may be replaced."""
        if open_now.used:
            return _Stale()
        if isinstance(error, asyncio.IncompleteReadError):
            return TlsFailed(TlsFault.CLOSED, "it closed the TLS connection without an answer")
        return fault_of(error)

    async def close(self) -> None:
        """Close all idle connections."""
        for waiting in self._idle.values():
            for one in waiting:
                self._drop(one)
        self._idle.clear()
        await asyncio.sleep(0)

    def remember_session(self, target: TlsTarget, open_now: Connection) -> None:
        """Keep the session of a connection for the next one to the peer; tickets come after the handshake."""
        prepared = self._prepared.get(_key(target))
        ssl_object = open_now.writer.get_extra_info("ssl_object")
        if prepared is None or ssl_object is None or ssl_object.context is not prepared.context:
            return
        session = ssl_object.session
        if session is not None and session.has_ticket:
            if not open_now.resumed:
                prepared.session_at = time.monotonic()
            prepared.context.resumable = session

    async def _dial(self, target: TlsTarget) -> Connection:
        prepared = self._prepare(target)
        if time.monotonic() - prepared.session_at > SESSION_S:
            prepared.context.resumable = None
        try:
            async with asyncio.timeout(CONNECT_S):
                sock = await _connect(target)
        except TimeoutError:
            raise OSError(errno.ETIMEDOUT, "no connection in time") from None
        try:
            with handshake_on(sock):
                async with asyncio.timeout(HANDSHAKE_S):
                    reader, writer = await asyncio.open_connection(
                        sock=sock,
                        limit=_STREAM_OCTETS,
                        ssl=prepared.context,
                        server_hostname=target.check.name,
                        ssl_handshake_timeout=HANDSHAKE_S,
                        ssl_shutdown_timeout=SHUTDOWN_S,
                    )
        except (OSError, EOFError) as error:  # TimeoutError is one of them
            sock.close()
            prepared.context.resumable = None
            raise fault_of(error) from None
        except BaseException:
            sock.close()
            raise
        ssl_object = cast(Any, writer.get_extra_info("ssl_object"))
        why = _refuse(ssl_object, target.check, self._now())
        if why:
            writer.transport.abort()
            prepared.context.resumable = None
            raise TlsFailed(TlsFault.CERTIFICATE, why)
        return Connection(reader, writer, bool(ssl_object.session_reused))

    def _prepare(self, target: TlsTarget) -> _Prepared:
        key, files = _key(target), _state_of(target)
        found = self._prepared.get(key)
        if found is None or found.files != files:
            try:
                found = _Prepared(client_context(target.check, target.identity), files)
            except BadCertificate as error:
                raise TlsFailed(TlsFault.NO_IDENTITY, f"on this host: {error}") from None
            if len(self._prepared) >= CONTEXTS_MAX:
                del self._prepared[next(iter(self._prepared))]
            self._prepared[key] = found
        return found

    def _take(self, target: TlsTarget) -> Connection | None:
        waiting = self._idle.get(target, [])
        while waiting:
            one = waiting.pop()
            if one.timer is not None:
                one.timer.cancel()
            if one.is_open and not _changed(self._prepared.get(_key(target)), one, target):
                return one
            self._drop(one)
        self._idle.pop(target, None)
        return None

    def _keep(self, target: TlsTarget, one: Connection) -> None:
        waiting = self._idle.setdefault(target, [])
        if len(waiting) >= IDLE_MAX:
            self._drop(one)
            return
        one.used = True
        one.timer = asyncio.get_running_loop().call_later(IDLE_S, self._expire, target, one)
        waiting.append(one)

    def _expire(self, target: TlsTarget, one: Connection) -> None:
        waiting = self._idle.get(target, [])
        if one in waiting:
            waiting.remove(one)
            if not waiting:
                del self._idle[target]
            self._drop(one)

    def _drop(self, one: Connection) -> None:
        if one.timer is not None:
            one.timer.cancel()
        one.writer.close()


class _Stale(Exception):
    """A kept connection turned out to be closed: the request is sent again on a new one."""


def is_stale(error: BaseException) -> bool:
    """Tell whether an exception of :meth:`TlsClient.broken` asks for another attempt on a fresh connection."""
    return isinstance(error, _Stale)


def _refuse(ssl_object: Any, check: PeerCheck, now: float) -> str:
    """Return why the peer at the other end of a finished handshake is refused, or an empty text."""
    protocol = ssl_object.selected_alpn_protocol()
    if protocol not in (None, ALPN):
        return f"it speaks {protocol}, not DNS over TLS"
    return judge_verified(ssl_object.getpeercert(binary_form=True), check, now)


async def _connect(target: TlsTarget) -> socket.socket:
    family = socket.AF_INET6 if ":" in target.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if (local := local_address(target.source, target.host, target.port)) is not None:
            sock.bind(local)
        await asyncio.get_running_loop().sock_connect(sock, (target.host, target.port))
    except OSError as error:
        sock.close()
        if error.errno is None or isinstance(error, TimeoutError):
            raise
        raise OSError(
            error.errno, os.strerror(error.errno)
        ) from None  # asyncio's text has the address instead
    except BaseException:
        sock.close()
        raise
    return sock


def _key(target: TlsTarget) -> tuple[PeerCheck, Identity | None, str, int]:
    return target.check, target.identity, target.host, target.port


def _state_of(target: TlsTarget) -> tuple[tuple[str, int, int], ...]:
    """Return the files of a target with time and inode: a renewed certificate needs no restart."""
    identity = target.identity
    paths = [target.check.ca, *(() if identity is None else (identity.certificate, identity.key))]
    found = []
    for path in filter(None, paths):
        try:
            status = Path(path).stat()
        except OSError:
            found.append((path, 0, 0))
        else:
            found.append((path, status.st_mtime_ns, status.st_ino))
    return tuple(found)


def _changed(prepared: _Prepared | None, one: Connection, target: TlsTarget) -> bool:
    """Tell whether the files were renewed since the connection was made."""
    ssl_object = one.writer.get_extra_info("ssl_object")
    return (
        prepared is None or ssl_object.context is not prepared.context or prepared.files != _state_of(target)
    )


_CLIENTS: WeakKeyDictionary[asyncio.AbstractEventLoop, TlsClient] = WeakKeyDictionary()


def client() -> TlsClient:
    """Return the client of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _CLIENTS.get(loop)
    if found is None:
        found = _CLIENTS[loop] = TlsClient(SystemClock().now)
    return found
