"""DNS over UDP: each answer leaves from the address that received the request; nothing is queued.

asyncio's datagram transport cannot report the destination address of a datagram. On a wildcard socket of a
host with several addresses, the answer would then leave from the wrong one. So this module reads the socket
itself, with IP_PKTINFO.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Coroutine
from ipaddress import ip_address
from struct import Struct
from typing import TYPE_CHECKING, Any

from dnssecd.core.dns.message import UDP_REQUEST_MAX
from dnssecd.server.acl import client_address
from dnssecd.server.reasons import Drop
from dnssecd.server.transfer import TransferJob

if TYPE_CHECKING:
    from dnssecd.server.listener import DnsServer

#: How long datagrams are answered before other tasks run, seconds. A count would not be a bound: one datagram
#: may take a hundred times as long as another.
_TURN_S = 0.001
_BUFFER = 1024 * 1024
_ANCILLARY = 128
#: One octet more than a request may have, so that a longer one is recognized.
_DATAGRAM_MAX = UDP_REQUEST_MAX + 1
#: ip(7): not in the socket module before Python 3.14.
_IP_PKTINFO = 8
_PKTINFO4 = Struct("=I4s4s")

Ancillary = list[tuple[int, int, bytes]]


class UdpService:
    """Serves one bound UDP socket."""

    def __init__(self, server: DnsServer, sock: socket.socket) -> None:
        self._server = server
        self._socket = sock
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        if ip_address(sock.getsockname()[0]).is_unspecified:
            if sock.family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            else:
                sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        asyncio.get_running_loop().add_reader(sock, self._readable)

    def stop(self) -> None:
        """Read no further requests; answers that are being made are still sent."""
        if self._socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._socket)

    def close(self) -> None:
        """Stop serving and close the socket."""
        self.stop()
        self._socket.close()

    def _readable(self) -> None:
        ends_at = time.monotonic() + _TURN_S
        while True:
            try:
                wire, ancillary, _, peer = self._socket.recvmsg(_DATAGRAM_MAX, _ANCILLARY)
            except BlockingIOError:
                return
            except OSError:
                self._server.hooks.dropped(Drop.RECEIVE_ERROR)
                return
            self._received(wire, peer, _reply_from(ancillary))
            if time.monotonic() >= ends_at:
                return

    def _received(self, wire: bytes, peer: tuple[Any, ...], source: Ancillary) -> None:
        if not peer[1]:
            self._server.hooks.dropped(Drop.SOURCE_PORT)
            return
        outcome = self._server.dispatcher.handle(wire, client_address(peer[0]), "udp")
        if outcome is None:
            return
        if isinstance(outcome, bytes):
            self._send(outcome, peer, source)
            return
        assert not isinstance(outcome, TransferJob)
        if not self._server.places.take(outcome.share):
            outcome.close()
            self._server.hooks.dropped(Drop.REQUESTS)
            return
        self._server.spawn(outcome.share, self._later(outcome.work, peer, source))

    async def _later(
        self, work: Coroutine[Any, Any, bytes], peer: tuple[Any, ...], source: Ancillary
    ) -> None:
        self._send(await work, peer, source)

    def _send(self, wire: bytes, peer: tuple[Any, ...], source: Ancillary) -> None:
        try:
            self._socket.sendmsg([wire], source, 0, peer)
        except BlockingIOError:
            self._server.hooks.dropped(Drop.SEND_BUFFER)
        except OSError:
            self._server.hooks.dropped(Drop.SEND_ERROR)


def _reply_from(ancillary: Ancillary) -> Ancillary:
    """Return the ancillary data that makes the answer leave from where the datagram was sent to."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            local = _PKTINFO4.unpack(data[: _PKTINFO4.size])[1]
            return [(level, kind, _PKTINFO4.pack(0, local, bytes(4)))]
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            return [(level, kind, data)]
    return []
