"""The DNS server: UDP and TCP sockets on every configured address, and one dispatcher for all."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from dnssecd.acceptor import Acceptor
from dnssecd.core.dns.tsig import TsigKey
from dnssecd.server.acl import Address
from dnssecd.server.connections import ConnectionLedger
from dnssecd.server.deferred import Places, Share
from dnssecd.server.dispatch import Dispatcher
from dnssecd.server.drains import Drains
from dnssecd.server.interfaces import Handler, Hooks, TransferOut, ZoneDirectory
from dnssecd.server.limits import Limits
from dnssecd.server.slots import TransferSlots
from dnssecd.server.tcp import TcpService
from dnssecd.server.udp import UdpService

#: With two threads, transfers continue while one thread waits for the disk; Python code runs in one thread at
#: a time anyway.
_TRANSFER_THREADS = 2
#: Connections that the kernel queues until they are accepted; in a flood, peers wait in this queue too.
_BACKLOG = 1024
#: With port 0, this many ports that are free for TCP are tried until one is free for UDP, too.
_ANY_PORT_TRIES = 20
#: What the kernel buffers for a connection that is not read; a whole message fits.
_TCP_BUFFER = 64 * 1024


class DnsServer:
    """Listens, answers, transfers. All methods belong to the event loop's thread.

    >>> server = DnsServer([("127.0.0.1", 5300)], zones.get, lambda: keys, xfrout, clock.now)  # doctest: +SKIP
    >>> await server.start()                                                                 # doctest: +SKIP
    >>> await server.close()                                                                 # doctest: +SKIP
    """

    def __init__(
        self,
        listen: Iterable[tuple[str, int]],
        zones: ZoneDirectory,
        keys: Callable[[], Mapping[bytes, TsigKey]],
        transfers: TransferOut,
        now: Callable[[], float],
        hooks: Hooks | None = None,
        limits: Limits | None = None,
        on_notify: Handler | None = None,
        on_update: Handler | None = None,
        known: Callable[[Address], bool] = lambda address: False,
        tls_listen: Iterable[tuple[str, int]] = (),
        tls_context: Callable[[], ssl.SSLContext | None] = lambda: None,
    ) -> None:
        """Take the configured addresses and the handlers.

        listen: (IP address, port), port 0 for any; zones: directory by exact origin; keys: the TSIG keys in
        force by name; transfers: publish.xfrout; now: epoch seconds; on_notify, on_update: see Handler;
        known: whether an address is a configured peer's; peers have reserved places. tls_listen: addresses for DNS
        over TLS; tls_context: for a new connection there, None while there is no certificate that can be used.
        """
        self.limits = limits or Limits()
        self.hooks = hooks or Hooks()
        self.known = known
        self.dispatcher = Dispatcher(zones, keys, transfers, now, self.hooks, on_notify, on_update, known)
        self.ledger = ConnectionLedger(self.limits)
        self.slots = TransferSlots(self.limits)
        self.drains = Drains()
        self.pool = ThreadPoolExecutor(_TRANSFER_THREADS, "transfer-out")
        self.places = Places(self.limits.deferred_max)
        self.deferred: set[asyncio.Task[Any]] = set()
        self.tls_context = tls_context
        self._listen, self._tls_listen = list(listen), list(tls_listen)
        self._udp: list[UdpService] = []
        self._tcp: list[Acceptor] = []
        self._tls: list[Acceptor] = []
        self._service = TcpService(self)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Return the addresses in use, with real ports, in the order they were given."""
        return [acceptor.address[:2] for acceptor in self._tcp]

    @property
    def tls_addresses(self) -> list[tuple[str, int]]:
        """Return the addresses for DNS over TLS, likewise."""
        return [acceptor.address[:2] for acceptor in self._tls]

    async def start(self) -> None:
        """Bind all sockets; raise OSError naming the address, with no socket left open."""
        try:
            for host, port in self._listen:
                self._bind(host, port)
            for host, port in self._tls_listen:
                self._bind_tls(host, port)
        except BaseException:
            await self.close()
            raise

    async def close(self, grace_s: float = 2.0) -> None:
        """Stop listening, wait at most ``grace_s`` seconds for running work, then close the connections."""
        for acceptor in (*self._tcp, *self._tls):
            acceptor.close()
        for udp in self._udp:
            udp.stop()
        await self._service.drain(grace_s)
        self.ledger.abort_all()
        if self.deferred:
            await asyncio.wait(set(self.deferred), timeout=grace_s)
        for udp in self._udp:
            udp.close()
        self.pool.shutdown(wait=False)

    def spawn(self, share: Share, work: Coroutine[Any, Any, Any]) -> None:
        """Run a deferred answer that has its place."""
        task = asyncio.get_running_loop().create_task(work)
        self.deferred.add(task)
        task.add_done_callback(lambda done: self._gave(done, share))

    def _gave(self, task: asyncio.Task[Any], share: Share) -> None:
        self.deferred.discard(task)
        self.places.give_back(share)

    def _exhausted(self, error: OSError) -> None:
        """Report that accepting found no free descriptor, and close the least important connection."""
        self.ledger.shed()
        self.hooks.exhausted(error)

    def _bind(self, host: str, port: int) -> None:
        try:
            tcp, udp = _pair(host, port)
            self._tcp.append(Acceptor(tcp, _BACKLOG, self._service.accepted, self._exhausted))
            self._udp.append(UdpService(self, udp))
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {host} port {port}: {error.strerror}") from error

    def _bind_tls(self, host: str, port: int) -> None:
        accepted = partial(self._service.accepted, tls=True)
        try:
            sock = _socket(host, port, socket.SOCK_STREAM)
            self._tls.append(Acceptor(sock, _BACKLOG, accepted, self._exhausted))
        except OSError as error:
            raise OSError(
                error.errno, f"cannot listen for TLS on {host} port {port}: {error.strerror}"
            ) from error


def _pair(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Return sockets for TCP and UDP with one port number; port 0: any that is free for both. Raise OSError."""
    tries = 1 if port else _ANY_PORT_TRIES
    while True:
        tcp = _socket(host, port, socket.SOCK_STREAM)
        try:
            return tcp, _socket(host, tcp.getsockname()[1], socket.SOCK_DGRAM)
        except OSError:
            tcp.close()
            tries -= 1
            if not tries:
                raise


def _socket(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _TCP_BUFFER)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock
