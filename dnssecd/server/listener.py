"""The DNS server: UDP and TCP on every configured address, in front of one dispatcher."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dnssecd.acceptor import Acceptor
from dnssecd.core.dns.tsig import TsigKey
from dnssecd.server.acl import Address
from dnssecd.server.connections import ConnectionLedger
from dnssecd.server.deferred import Places, Share
from dnssecd.server.dispatch import Dispatcher
from dnssecd.server.interfaces import Handler, Hooks, TransferOut, ZoneDirectory
from dnssecd.server.limits import Limits
from dnssecd.server.slots import TransferSlots
from dnssecd.server.tcp import TcpService
from dnssecd.server.udp import UdpService

#: Two threads keep transfers going while one waits for the disk; Python code takes turns anyway.
_TRANSFER_THREADS = 2
#: Connections that the kernel holds until they are accepted: more come at once in a flood, and peers among them.
_BACKLOG = 1024
#: What the kernel takes in for a connection nobody reads; a whole message fits.
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
    ) -> None:
        """listen: (IP address, port), port 0 for any; zones: directory by exact origin; keys: the TSIG keys in
        force by name; transfers: publish.xfrout; now: epoch seconds; on_notify, on_update: see Handler;
        known: whether an address is a configured peer's, which places are kept for.
        """
        self.limits = limits or Limits()
        self.hooks = hooks or Hooks()
        self.known = known
        self.dispatcher = Dispatcher(zones, keys, transfers, now, self.hooks, on_notify, on_update, known)
        self.ledger = ConnectionLedger(self.limits)
        self.slots = TransferSlots(self.limits)
        self.pool = ThreadPoolExecutor(_TRANSFER_THREADS, "transfer-out")
        self.places = Places(self.limits.deferred_max)
        self.deferred: set[asyncio.Task[Any]] = set()
        self._listen = list(listen)
        self._udp: list[UdpService] = []
        self._tcp: list[Acceptor] = []
        self._service = TcpService(self)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """The addresses in use, with real ports, in the order they were given."""
        return [acceptor.address[:2] for acceptor in self._tcp]

    async def start(self) -> None:
        """Bind everything; raises OSError naming the address, with nothing left open."""
        try:
            for host, port in self._listen:
                self._bind(host, port)
        except BaseException:
            await self.close()
            raise

    async def close(self, grace_s: float = 2.0) -> None:
        """Stop listening, let what is under way end within ``grace_s``, then cut it off."""
        for acceptor in self._tcp:
            acceptor.close()
        for udp in self._udp:
            udp.close()
        await self._service.drain(grace_s)
        self.ledger.abort_all()
        if self.deferred:
            await asyncio.wait(set(self.deferred), timeout=grace_s)
        self.pool.shutdown(wait=False)

    def spawn(self, share: Share, work: Coroutine[Any, Any, Any]) -> None:
        """Run a deferred answer, whose place is taken."""
        task = asyncio.get_running_loop().create_task(work)
        self.deferred.add(task)
        task.add_done_callback(lambda done: self._gave(done, share))

    def _gave(self, task: asyncio.Task[Any], share: Share) -> None:
        self.deferred.discard(task)
        self.places.give_back(share)

    def _exhausted(self, error: OSError) -> None:
        """Accepting found no descriptor: one connection that can be spared gives up its own."""
        self.ledger.shed()
        self.hooks.exhausted(error)

    def _bind(self, host: str, port: int) -> None:
        try:
            tcp = _socket(host, port, socket.SOCK_STREAM)
            self._tcp.append(Acceptor(tcp, _BACKLOG, self._service.accepted, self._exhausted))
            udp = _socket(host, tcp.getsockname()[1], socket.SOCK_DGRAM)
            self._udp.append(UdpService(self, udp))
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {host} port {port}: {error.strerror}") from error


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
