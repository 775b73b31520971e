"""The definition of one client and of one network, by which places and answers are shared out."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_network

from dnssecd.server.acl import Address

#: Addresses whose texts are remembered: those of peers, while strangers come and go.
_REMEMBERED = 4096


@lru_cache(maxsize=_REMEMBERED)
def client(address: Address) -> str:
    """Return the client of an address: an IPv4 address, an IPv6 /64."""
    if isinstance(address, IPv6Address) and not address.is_loopback:
        return str(ip_network((address, 64), strict=False))
    return str(address)


@lru_cache(maxsize=_REMEMBERED)
def network(address: Address) -> str:
    """Return the network of an address: an IPv4 /24 or an IPv6 /48, as one site has it."""
    return str(ip_network((address, 48 if isinstance(address, IPv6Address) else 24), strict=False))


def transfer_client(key: bytes | None, address: Address) -> str:
    """Return the client of a transfer: the TSIG key with the IPv4 address or the IPv6 /48.

    Several secondaries may share a key, and one secondary may have many addresses of a network.
    """
    place = network(address) if isinstance(address, IPv6Address) else str(address)
    return f"{'' if key is None else key.hex()} {place}"
