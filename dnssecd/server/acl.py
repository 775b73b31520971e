"""Who may do what with a zone: TSIG key names and address ranges.

A signed request is judged by its key alone, an unsigned one by its address alone: a key that is good for another
zone opens nothing here, even from an address that may ask without one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from dnssecd.core.dns.names import text_to_wire

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def client_address(host: str) -> Address:
    """Return the address of a peer as sockets name it: without scope, mapped IPv4 as IPv4."""
    address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@dataclass(frozen=True, slots=True)
class Acl:
    """A set of TSIG key names (lower-cased wire form) and networks."""

    keys: frozenset[bytes] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def make(cls, entries: Iterable[str]) -> Acl:
        """Return the list for configuration texts: an address or CIDR, else the name of a TSIG key."""
        keys, networks = set(), []
        for entry in entries:
            try:
                networks.append(ip_network(entry, strict=False))
            except ValueError:
                keys.add(text_to_wire(entry))
        return cls(frozenset(keys), tuple(networks))

    def allows(self, key: bytes | None, address: Address) -> bool:
        """Tell whether a request proven to be signed with ``key`` (None: unsigned) is covered."""
        if key is not None:
            return key in self.keys
        return any(address in network for network in self.networks if network.version == address.version)

    def __or__(self, other: Acl) -> Acl:
        return Acl(self.keys | other.keys, self.networks + other.networks)


def _peer_acl(peers: Iterable[tuple[str, str | None]]) -> Acl:
    """Return the list for (address, TSIG key or None): the key where there is one, else the address."""
    return Acl.make([address if tsig is None else tsig for address, tsig in peers])


@dataclass(frozen=True, slots=True)
class ZoneAccess:
    """What each kind of request needs; built once per configuration."""

    query: Acl = Acl()
    transfer: Acl = Acl()
    notify: Acl = Acl()

    @classmethod
    def make(
        cls,
        allow_query: Iterable[str] = (),
        allow_transfer: Iterable[str] = (),
        secondaries: Iterable[tuple[str, str | None]] = (),
        primaries: Iterable[tuple[str, str | None]] = (),
        update_keys: Iterable[str] = (),
        notifiers: Iterable[str] = (),
    ) -> ZoneAccess:
        """Return the lists for a zone.

        secondaries and primaries: (IP address without port, name of the TSIG key or None). Secondaries may
        transfer. Secondaries, primaries and the holders of an update key may also query. notifiers: addresses and
        key names that may send NOTIFY besides; an unsigned NOTIFY can do no more than have the primaries asked.
        """
        transfer = Acl.make(allow_transfer) | _peer_acl(secondaries)
        upstream = _peer_acl(primaries)
        query = Acl.make(allow_query) | transfer | upstream | Acl.make(update_keys)
        return cls(query, transfer, upstream | Acl.make(notifiers))
