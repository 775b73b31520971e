"""Authoritative answers from a served version (RFC 1034 §4.3.2, RFC 4592, RFC 6672), with RRSIGs and proofs.

One lookup per name: referral at a zone cut, DNAME substitution, exact match, CNAME, wildcard, NODATA,
NXDOMAIN. CNAME and DNAME are followed while they stay in the zone. If DO is set, every answer has the RRSIGs
and proofs of RFC 4035 §3.1 and RFC 5155 §7.2.
"""

from __future__ import annotations

from collections.abc import Iterable

from dnssecd.core.dns.message import NOERROR, NXDOMAIN, SERVFAIL, TYPE_ANY, YXDOMAIN, Message
from dnssecd.core.dns.names import (
    APEX,
    BadName,
    is_subdomain,
    key_to_wire,
    lower,
    owner_key,
    parent_key,
    wildcard_key,
)
from dnssecd.core.dns.rrset import RRset, unpack
from dnssecd.core.dns.rrtypes import AAAA, CNAME, DNAME, DS, NS, NSEC, RRSIG, SOA, A
from dnssecd.core.zone.zonecut import cut_above
from dnssecd.core.zone.zoneview import ServedVersion
from dnssecd.server.denial import Proofs, closest_encloser, exists, next_closer, proofs_of
from dnssecd.server.reply import Reply

ANSWER, AUTHORITY, ADDITIONAL = range(3)
#: Names visited for one question, the first one included.
CHAIN_MAX = 9
#: Addresses are looked up for at most this many servers of a delegation. A datagram has no room for more; an
#: answer over TCP omits the addresses of the others.
GLUE_SERVERS_MAX = 100
#: Types that may stand beside a CNAME; a query for them does not follow the CNAME (RFC 4035 §2.5).
_BESIDE_CNAME = frozenset({NSEC, RRSIG})


def answer(version: ServedVersion, request: Message, reply: Reply) -> tuple[int, bool]:
    """Fill ``reply`` for the request, whose name lies in the zone; return the RCODE and whether AA is set."""
    soa = version.rrset(APEX, SOA)
    if soa is None:
        return SERVFAIL, False
    if request.qtype == SOA and request.qname == version.origin and not _is_signed(request):
        # What every secondary asks for after each NOTIFY.
        reply.add(ANSWER, version.origin, SOA, soa.ttl, soa.rdata)
        return NOERROR, True
    return _Lookup(version, request, reply).run()


def _is_signed(request: Message) -> bool:
    return request.edns is not None and request.edns.dnssec_ok


class _Lookup:
    """The answer to one question."""

    def __init__(self, version: ServedVersion, request: Message, reply: Reply) -> None:
        self._version = version
        self._origin = version.origin
        self._name = request.qname
        self._qtype = request.qtype
        self._reply = reply
        self._signed = _is_signed(request)
        self._proofs = proofs_of(version) if self._signed else Proofs(version)

    def run(self) -> tuple[int, bool]:
        """Look up the query name, then the targets it leads to while they are in the zone."""
        authoritative = True
        visited: set[bytes] = set()
        name: bytes | None = self._name
        rcode = NOERROR
        while name is not None and name not in visited and len(visited) < CHAIN_MAX:
            visited.add(name)
            rcode, name, referred = self._look_up(name)
            authoritative = authoritative and not (referred and len(visited) == 1)
        return rcode, authoritative

    def _look_up(self, name: bytes) -> tuple[int, bytes | None, bool]:
        """Return (RCODE, next name to look up or None, whether it was a referral)."""
        try:
            owner = owner_key(name, self._origin)
        except BadName:
            return NOERROR, None, False
        rrsets = self._version.rrsets_at(owner)
        encloser = None
        if not rrsets and not exists(self._version, owner):
            encloser = closest_encloser(self._version, owner)
        # A name that does not exist has no zone cut: only existing ancestors of a long name are looked up.
        cut = cut_above(self._version, owner if encloser is None else next_closer(owner, encloser))
        if cut is not None:
            if cut and self._version.rrset(cut, NS) is not None:
                return self._refer(cut)
            return *self._substitute(cut, name), False
        if encloser is not None:
            return *self._wildcard(owner, encloser), False
        if owner and any(one.rtype == NS for one in rrsets) and not self._is_parents(owner):
            return self._refer(owner)
        return NOERROR, self._match(owner, owner, rrsets), False

    def _is_parents(self, cut: bytes) -> bool:
        """Tell whether the query type belongs to the parent's side of a zone cut (RFC 4035 §3.1.4.1)."""
        if self._qtype == NSEC:
            denial = self._version.denial(cut)
            return denial is not None and denial.rtype == NSEC
        return self._qtype == DS

    def _match(self, owner: bytes, source: bytes, rrsets: Iterable[RRset]) -> bytes | None:
        """Answer with the data of ``source`` under the name ``owner``; return the target of a CNAME."""
        by_type = {one.rtype: one for one in rrsets}
        types = sorted(by_type) if self._qtype == TYPE_ANY else [self._qtype]
        found = [by_type[rtype] for rtype in types if rtype in by_type]
        if self._qtype == NSEC and (denial := self._version.denial(source)) is not None:
            found = [denial] if denial.rtype == NSEC else []
        if self._qtype == RRSIG and self._add_signatures(owner, source):
            if source != owner:
                self._prove(self._proofs.expanded(owner, parent_key(source)))
            return None
        alias = None if found or self._qtype in _BESIDE_CNAME else by_type.get(CNAME)
        for one in [alias] if alias is not None else found:
            self._add(ANSWER, one, owner)
        if source != owner and (found or alias):
            self._prove(self._proofs.expanded(owner, parent_key(source)))
        if alias is not None:
            return lower(unpack(alias.rdata)[0])
        if not found:
            self._negative()
            self._prove(
                self._proofs.no_type(owner)
                if source == owner
                else self._proofs.no_wildcard_type(owner, parent_key(source))
            )
        return None

    def _wildcard(self, owner: bytes, encloser: bytes) -> tuple[int, bytes | None]:
        """Answer for a name that does not exist: from a wildcard, or NXDOMAIN."""
        source = wildcard_key(encloser)
        if exists(self._version, source):
            return NOERROR, self._match(owner, source, self._version.rrsets_at(source))
        self._negative()
        self._prove(self._proofs.no_name(owner, encloser))
        return NXDOMAIN, None

    def _refer(self, cut: bytes) -> tuple[int, None, bool]:
        """Refer to the servers of a delegation, with glue and its DS RRset or the proof that it has none."""
        servers = self._version.rrset(cut, NS)
        assert servers is not None
        self._reply.add(AUTHORITY, self._wire(cut), NS, servers.ttl, servers.rdata)
        secure = self._version.rrset(cut, DS)
        if self._signed and secure is not None:
            self._add(AUTHORITY, secure, cut)
        elif self._signed:
            self._prove(self._proofs.no_type(cut))
        if not self._reply.is_full(ADDITIONAL):
            for target in unpack(servers.rdata)[:GLUE_SERVERS_MAX]:
                self._glue(lower(target), cut)
        return NOERROR, None, True

    def _glue(self, target: bytes, cut: bytes) -> None:
        """Add the addresses of a server that lies at or below a cut of this zone, ``cut`` or another (RFC 9471)."""
        if self._reply.is_full(ADDITIONAL) or not is_subdomain(target, self._origin):
            return
        owner = owner_key(target, self._origin)
        found = [one for rtype in (A, AAAA) if (one := self._version.rrset(owner, rtype)) is not None]
        if found and (owner.startswith(cut) or self._is_cut_off(owner)):
            for one in found:
                self._reply.add(ADDITIONAL, target, one.rtype, one.ttl, one.rdata)

    def _is_cut_off(self, owner: bytes) -> bool:
        """Tell whether a name lies at or below a zone cut, or below a DNAME."""
        return cut_above(self._version, owner) is not None or bool(
            owner and self._version.rrset(owner, NS) is not None
        )

    def _substitute(self, cut: bytes, name: bytes) -> tuple[int, bytes | None]:
        """Answer with a DNAME above the name and the CNAME it makes (RFC 6672 §3.1)."""
        redirect = self._version.rrset(cut, DNAME)
        assert redirect is not None
        self._add(ANSWER, redirect, cut)
        target = lower(unpack(redirect.rdata)[0])
        made = lower(name)[: len(name) - len(self._wire(cut))] + target
        if len(made) > 255:
            return YXDOMAIN, None
        self._reply.add(ANSWER, lower(name), CNAME, redirect.ttl, len(made).to_bytes(2, "big") + made)
        return NOERROR, None if self._qtype in (CNAME, TYPE_ANY) else made

    def _negative(self) -> None:
        """Add the SOA with the TTL of a negative answer (RFC 2308 §3)."""
        soa = self._version.rrset(APEX, SOA)
        assert soa is not None
        self._add(AUTHORITY, soa._replace(ttl=min(soa.ttl, int.from_bytes(soa.rdata[-4:], "big"))), APEX)

    def _prove(self, owners: Iterable[bytes]) -> None:
        if not self._signed:
            return
        for owner in owners:
            denial = self._version.denial(owner)
            if denial is not None:
                self._add(AUTHORITY, denial, owner)

    def _add(self, section: int, rrset: RRset, owner: bytes) -> None:
        """Add an RRset under the name ``owner``, with its RRSIGs if the request has DO set."""
        if self._reply.is_full(section):
            return
        wire = self._wire(owner)
        self._reply.add(section, wire, rrset.rtype, rrset.ttl, rrset.rdata)
        if self._signed and (sigs := self._version.rrsigs(rrset.owner, rrset.rtype)) is not None:
            self._reply.add(section, wire, RRSIG, rrset.ttl, sigs.rdata)

    def _add_signatures(self, owner: bytes, source: bytes) -> bool:
        found = self._version.rrsigs_at(source)
        for sigs in found:
            self._reply.add(ANSWER, self._wire(owner), RRSIG, sigs.ttl, sigs.rdata)
        return bool(found)

    def _wire(self, owner: bytes) -> bytes:
        return key_to_wire(owner, self._origin)
