"""What counts as one client, and as one network, when places and answers are shared out."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_network

from dnssecd.server.acl import Address


def client(address: Address) -> str:
    """Return the client of an address: an IPv4 address, an IPv6 /64."""
    if isinstance(address, IPv6Address) and not address.is_loopback:
        return str(ip_network((address, 64), strict=False))
    return str(address)


def network(address: Address) -> str:
    """Return the network of an address: an IPv4 /24, an IPv6 /48. One site has that much of its own."""
    return str(ip_network((address, 48 if isinstance(address, IPv6Address) else 24), strict=False))


def transfer_client(key: bytes | None, address: Address) -> str:
    """Return who a transfer is for: the TSIG key with the IPv4 address or the IPv6 /48.

    Several secondaries may share a key, and one secondary may have many addresses of a network.
    """
    place = network(address) if isinstance(address, IPv6Address) else str(address)
    return f"{'' if key is None else key.hex()} {place}"
