"""The local address that questions, NOTIFYs and transfers to a peer are sent from.

A secondary allows NOTIFY, and a primary allows transfers, from the address configured there: the address that
dnssecd listens on. So the sockets are bound to that address, unless the configuration names another
``source``.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from ipaddress import ip_address

import msgspec


class Source(msgspec.Struct, frozen=True):
    """Local IP addresses to send from. ``fixed``: configured, so no other address is used if this host lacks it."""

    addresses: tuple[str, ...] = ()
    fixed: bool = False


#: The kernel chooses, by its routes.
BY_ROUTE = Source()


def listening_source(listeners: Iterable[str], host: str) -> Source:
    """Return the source for a peer at ``host``: the addresses in ``listeners`` that can reach it.

    They have the peer's family and are not wildcards. A loopback address reaches only loopback peers, and a
    loopback peer expects a loopback address.
    """
    peer = ip_address(host)
    found = []
    for text in listeners:
        address = ip_address(text)
        like_peer = address.version == peer.version and address.is_loopback == peer.is_loopback
        if like_peer and not address.is_unspecified:
            found.append(text)
    return Source(tuple(dict.fromkeys(found)))


def local_address(source: Source, host: str, port: int) -> tuple[str, int] | None:
    """Return the address to bind a socket to before it is connected to a peer; None: the kernel chooses.

    It raises OSError if this host does not have a configured address, or has no route.
    """
    if not source.addresses:
        return None
    chosen = source.addresses[0]
    if len(source.addresses) > 1:
        by_route = _by_route(host, port)
        chosen = by_route if by_route in source.addresses else chosen
    if _is_here(chosen):
        return chosen, 0
    if source.fixed:
        raise OSError(errno.EADDRNOTAVAIL, f"this host does not have the address {chosen} (source)")
    return None


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _by_route(host: str, port: int) -> str:
    with socket.socket(_family(host), socket.SOCK_DGRAM) as sock:
        sock.connect((host, port))  # a UDP connect sends nothing
        return str(sock.getsockname()[0])


def _is_here(address: str) -> bool:
    with socket.socket(_family(address), socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((address, 0))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return False
            raise
    return True
