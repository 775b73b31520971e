"""Answers from a served version to QUERY: exact matches, NODATA and NXDOMAIN, with RRSIGs when DO is set."""

from dnssecd.core.names import APEX, key_to_wire, owner_key, subtree_end
from dnssecd.core.rrtypes import NSEC, NSEC3, RRSIG, SOA
from dnssecd.core.zoneview import ServedVersion
from dnssecd.server.message import NOERROR, NXDOMAIN, TYPE_ANY, Message
from dnssecd.server.reply import Reply

ANSWER, AUTHORITY, ADDITIONAL = range(3)


def answer(version: ServedVersion, request: Message, reply: Reply) -> int:
    """Fill ``reply`` for the request, whose name lies in the zone; return the RCODE."""
    owner = owner_key(request.qname, version.origin)
    dnssec_ok = request.edns is not None and request.edns.dnssec_ok
    if _positive(version, owner, request.qtype, reply, dnssec_ok):
        return NOERROR
    _add(version, reply, AUTHORITY, APEX, SOA, dnssec_ok)
    return NOERROR if _exists(version, owner) else NXDOMAIN


def _positive(version: ServedVersion, owner: bytes, qtype: int, reply: Reply, dnssec_ok: bool) -> bool:
    wire = key_to_wire(owner, version.origin)
    if qtype == RRSIG:
        for sigs in version.rrsigs_at(owner):
            reply.add(ANSWER, wire, RRSIG, sigs.ttl, sigs.rdata)
        return bool(version.rrsigs_at(owner))
    if qtype == TYPE_ANY:
        found = [_add(version, reply, ANSWER, owner, one.rtype, dnssec_ok) for one in version.rrsets_at(owner)]
        return any(found)
    return _add(version, reply, ANSWER, owner, qtype, dnssec_ok)


def _add(
    version: ServedVersion, reply: Reply, section: int, owner: bytes, rtype: int, dnssec_ok: bool
) -> bool:
    """Add one RRset and, if wanted, its RRSIGs; tell whether it exists."""
    rrset = version.denial(owner) if rtype in (NSEC, NSEC3) else version.rrset(owner, rtype)
    if rrset is None or rrset.rtype != rtype:
        return False
    wire = key_to_wire(owner, version.origin)
    reply.add(section, wire, rtype, rrset.ttl, rrset.rdata)
    if dnssec_ok and (sigs := version.rrsigs(owner, rtype)) is not None:
        reply.add(section, wire, RRSIG, sigs.ttl, sigs.rdata)
    return True


def _exists(version: ServedVersion, owner: bytes) -> bool:
    """Tell whether the name owns data or is an empty non-terminal (RFC 8020)."""
    return version.first_owner(owner, subtree_end(owner)) is not None
