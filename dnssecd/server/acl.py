"""Who may do what with a zone: TSIG key names and address ranges.

Only the key counts for a signed request, only the address for an unsigned one. So a request signed with a key
for another zone is refused, even from an address that may send unsigned requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from msgspec import Struct

from dnssecd.core.dns.names import text_to_wire
from dnssecd.server.reasons import Refusal

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def client_address(host: str) -> Address:
    """Return the address of a peer as a socket reports it, without scope; mapped IPv4 becomes IPv4."""
    address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


class Acl(Struct, frozen=True):
    """A set of TSIG key names (lower-cased wire form) and networks."""

    keys: frozenset[bytes] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def make(cls, entries: Iterable[str]) -> Acl:
        """Return the list for configuration texts: each an address, a network (CIDR) or the name of a TSIG key."""
        return _acl(tuple(entries))

    def allows(self, key: bytes | None, address: Address) -> bool:
        """Tell whether the list covers a request with a verified signature by ``key`` (None: unsigned)."""
        if key is not None:
            return key in self.keys
        return any(address in network for network in self.networks if network.version == address.version)

    def __or__(self, other: Acl) -> Acl:
        return Acl(self.keys | other.keys, self.networks + other.networks)


#: Thousands of zones have few different lists. To read them for each took half of the time for making a zone.
@lru_cache(1024)
def _acl(entries: tuple[str, ...]) -> Acl:
    keys, networks = set(), []
    for entry in entries:
        try:
            networks.append(ip_network(entry, strict=False))
        except ValueError:
            keys.add(text_to_wire(entry))
    return Acl(frozenset(keys), tuple(networks))


def _peer_acl(peers: Iterable[tuple[str, str | None]]) -> Acl:
    """Return the list for (address, TSIG key or None): the key where there is one, else the address."""
    return Acl.make([address if tsig is None else tsig for address, tsig in peers])


#: Returns why a client's certificate (DER, None: it sent none) is refused, "" if it is accepted.
CertificateJudge = Callable[[bytes | None], str]


class Channel(Struct, frozen=True):
    """The TLS connection that a request came on; ``certificate``: the client's, DER, if it sent one."""

    certificate: bytes | None = None


class TlsOnly(Struct, frozen=True):
    """A secondary whose transfers must use TLS; ``judge``: of its certificate; None: it needs none."""

    acl: Acl
    judge: CertificateJudge | None = None


class ZoneAccess(Struct, frozen=True):
    """The access lists of a zone for each kind of request; built once per configuration.

    ``tls_only``: further clients that may transfer, over TLS only.
    """

    query: Acl = Acl()
    transfer: Acl = Acl()
    notify: Acl = Acl()
    tls_only: tuple[TlsOnly, ...] = ()

    def refuse_transfer(
        self, key: bytes | None, address: Address, channel: Channel | None
    ) -> tuple[Refusal, str] | None:
        """Return why a transfer is refused, with details, None if it is allowed; key: as in :meth:`Acl.allows`."""
        if self.transfer.allows(key, address):
            return None
        refusal = Refusal.ACCESS, ""
        for peer in self.tls_only:
            if not peer.acl.allows(key, address):
                continue
            if channel is None:
                refusal = Refusal.NOT_OVER_TLS, ""
            elif why := "" if peer.judge is None else peer.judge(channel.certificate):
                refusal = Refusal.CERTIFICATE, why
            else:
                return None
        return refusal

    @classmethod
    def make(
        cls,
        allow_query: Iterable[str] = (),
        allow_transfer: Iterable[str] = (),
        secondaries: Iterable[tuple[str, str | None]] = (),
        primaries: Iterable[tuple[str, str | None]] = (),
        update_keys: Iterable[str] = (),
        notifiers: Iterable[str] = (),
        tls_only: Iterable[TlsOnly] = (),
    ) -> ZoneAccess:
        """Return the lists for a zone.

        secondaries and primaries: (IP address without port, name of the TSIG key or None). Secondaries may
        transfer. Secondaries, primaries and the holders of an update key may also query. notifiers: further
        addresses and key names that may send NOTIFY; an unsigned NOTIFY only causes a query to the primaries.
        tls_only: secondaries that may transfer over TLS only, and query in any way.
        """
        transfer = Acl.make(allow_transfer) | _peer_acl(secondaries)
        upstream = _peer_acl(primaries)
        query = Acl.make(allow_query) | transfer | upstream | Acl.make(update_keys)
        for peer in (secure := tuple(tls_only)):
            query |= peer.acl
        return cls(query, transfer, upstream | Acl.make(notifiers), secure)
