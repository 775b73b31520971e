"""Semantic checks of a zone's content before it is signed: data that other servers would refuse or misread.

Errors prevent publication; warnings are shown. Where the loaders of BIND and Knot agree, the rank follows
them; where they differ, a finding of the stricter one is a warning here.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from dnssecd.core.dns import rrset as packed
from dnssecd.core.dns import rrtypes as t
from dnssecd.core.dns.names import AFTER_ALL, escape_label, key_to_text, key_to_wire, labels
from dnssecd.core.dns.rdata_oddities import ODD_TYPES, oddity
from dnssecd.core.dns.rrset import SIGNED_OCTETS_MAX, RRset, signed_octets
from dnssecd.core.zone.delegationcheck import ADDRESSES, check_delegations
from dnssecd.core.zone.findings import Findings
from dnssecd.core.zone.namecheck import EIGHT_BIT, TARGET_AT, target_oddity
from dnssecd.core.zone.soacheck import soa_contact, soa_dangers, soa_oddities
from dnssecd.core.zone.wildcardcheck import check_wildcards

TTL_MAX = 2**31 - 1
_TYPES = 2**16

#: Octets an RRset may take in a message of 65,535, leaving 500 for header, question, OPT, a signature and TSIG.
_MESSAGE_ROOM = 65535 - 500

#: BIND's default limits for transfers since its fix of CVE-2024-1737: RRs in a set, and types at a name. The
#: RRSIGs of each type count as one more type, and so do the NSEC and its RRSIG.
_BIND_RECORDS_MAX, _BIND_TYPES_MAX = 100, 49

#: More types at a name make every server slow.
_TYPES_MAX = 200

#: An RRset with less RDATA cannot reach the limits on the number of records.
_COUNT_LOOK_OCTETS = 3 * _BIND_RECORDS_MAX

#: RR types that may stand beside a CNAME: SIG, KEY, NXT, RRSIG, NSEC (RFC 4034 §3 and §4, RFC 3007).
_BESIDE_CNAME = frozenset({t.CNAME, 24, 25, 30, t.RRSIG, t.NSEC})

#: Authoritative at a zone cut, or there as glue.
_AT_CUT = frozenset({t.NS, t.DS, t.A, t.AAAA, t.RRSIG, t.NSEC})
_KNOT_REFUSES = ", and Knot refuses such a zone"
_NS_BESIDE_DNAME = (
    f"a DNAME beside a delegation belongs at the child's apex (RFC 6672 §2.3); not served{_KNOT_REFUSES}"
)
_NAMED_TYPES_MAX = 5
#: Types whose RRsets are judged by more than size and TTL.
_JUDGED_TYPES = ODD_TYPES | frozenset(TARGET_AT) | t.SINGLETON_TYPES


def check(
    rrsets: Sequence[RRset], origin: bytes, limit: int = 100, *, allow_missing_glue: bool = False
) -> Findings:
    """Check a zone's unsigned content; ``rrsets`` by (owner, type), ``origin`` a lower-cased wire name.

    allow_missing_glue: a name server in the zone without address is a warning, not an error.
    """
    found = Findings(limit)
    _check_apex(rrsets, found)
    _check_sets(rrsets, origin, found)
    _check_type_numbers(rrsets, found)
    _check_names(rrsets, origin, found)
    check_delegations(rrsets, origin, found, allow_missing_glue=allow_missing_glue)
    check_wildcards(rrsets, origin, found)
    return found


def doubled_suffix(origin: bytes) -> bytes:
    """Return the prefix of the owner keys that end in ``zone.zone.``, a sign of missing final dots; root: none."""
    return b"".join([escape_label(label) + b"\x00" for label in reversed(labels(origin))])


def _doubled_text(owner: bytes, origin: bytes) -> str:
    return f"{key_to_text(owner, origin)} repeats the zone's name; is a final dot missing in the zone file?"


def _check_apex(rrsets: Sequence[RRset], found: Findings) -> None:
    apex = {rrset.rtype: rrset for rrset in _leading(rrsets)}
    soa = apex.get(t.SOA)
    if soa is None:
        found.error("no-soa", b"", t.SOA, "the apex has no SOA record")
    elif packed.count(soa.rdata) > 1:
        found.error("many-soa", b"", t.SOA, "the apex has more than one SOA record")
    if t.NS not in apex:
        found.error("no-ns", b"", t.NS, "the apex has no NS RRset")
    if t.DS in apex:
        found.warning(
            "ds-at-apex", b"", t.DS, "a DS RRset at the apex belongs in the parent zone; it is ignored"
        )


def _leading(rrsets: Sequence[RRset]) -> Iterator[RRset]:
    for rrset in rrsets:
        if rrset.owner:
            return
        yield rrset


def _check_sets(rrsets: Sequence[RRset], origin: bytes, found: Findings) -> None:
    """Check one RRset, and what it may stand beside."""
    for index, (owner, rtype, ttl, rdata) in enumerate(rrsets):
        if ttl > TTL_MAX:
            found.error("ttl", owner, rtype, f"TTL {ttl} exceeds {TTL_MAX} (RFC 2181 §8)")
        if len(rdata) > _COUNT_LOOK_OCTETS:
            _check_size(owner, rtype, rdata, origin, found)
        if rtype not in _JUDGED_TYPES:
            continue
        if rtype in ODD_TYPES and (owner or rtype != t.DS) and (odd := oddity(rtype, rdata)):
            found.warning("odd-rdata", owner, rtype, odd)
        if rtype in TARGET_AT and (odd := target_oddity(rtype, rdata, origin)):
            found.warning("odd-target", owner, rtype, odd)
        if rtype not in t.SINGLETON_TYPES:
            continue
        if rtype == t.SOA:
            if owner:
                found.error("soa-below-apex", owner, rtype, "an SOA record below the apex")
            else:
                _check_soa(rrsets[index], found)
        elif packed.count(rdata) > 1:
            found.error("singleton", owner, rtype, f"more than one {t.type_text(rtype)} record at a name")
        if rtype == t.CNAME:
            _check_cname(rrsets, index, found)


def _check_soa(soa: RRset, found: Findings) -> None:
    """Warn of timers that harm the zone; core.update.soa refuses or notes them in an update."""
    for text in (*soa_dangers(soa), *soa_oddities(soa)):
        found.warning("soa-timers", soa.owner, t.SOA, text)
    if contact := soa_contact(soa):
        found.warning("soa-contact", soa.owner, t.SOA, contact)


def _check_size(owner: bytes, rtype: int, rdata: bytes, origin: bytes, found: Findings) -> None:
    # In a message each RR takes a compressed owner, type, class and TTL (10 octets) and its length and RDATA.
    records = packed.count(rdata)
    size = len(rdata) + 10 * records
    signed = signed_octets(rdata, records, len(key_to_wire(owner, origin)), len(origin))
    if size > _MESSAGE_ROOM:
        found.error("too-large", owner, rtype, f"the RRset takes {size} octets and fits in no message")
    elif signed > SIGNED_OCTETS_MAX:
        text = (
            f"the RRset's signed form takes {signed} octets ({records} records, each with its owner name in full); "
            f"validators take {SIGNED_OCTETS_MAX} at most (RFC 4034 §3.1.8.1)"
        )
        found.error("too-large", owner, rtype, text)
    elif records > _BIND_RECORDS_MAX:
        text = f"{records} records; BIND refuses the zone unless its max-records-per-type is raised"
        found.warning("many-records", owner, rtype, text)


def _check_type_numbers(rrsets: Sequence[RRset], found: Findings) -> None:
    """Check the number of types at names; comparing only every 25th RRset finds all names with 50 types."""
    step = (_BIND_TYPES_MAX + 1) // 2
    last = None
    for index in range(0, len(rrsets) - step, step):
        owner = rrsets[index][0]
        if owner == last or rrsets[index + step][0] != owner:
            continue
        last = owner
        first = bisect_left(rrsets, (owner,))
        types = bisect_left(rrsets, (owner, _TYPES)) - first
        if types > _TYPES_MAX:
            text = f"{types} types at a name; at most {_TYPES_MAX} are accepted"
            found.error("too-many-types", owner, rrsets[first].rtype, text)
        elif types > _BIND_TYPES_MAX:
            text = f"{types} types, signed, at a name; BIND refuses the zone unless its max-types-per-name allows it"
            found.warning("many-types", owner, rrsets[first].rtype, text)


def _check_cname(rrsets: Sequence[RRset], index: int, found: Findings) -> None:
    owner = rrsets[index].owner
    first = last = index
    while first and rrsets[first - 1].owner == owner:
        first -= 1
    while last + 1 < len(rrsets) and rrsets[last + 1].owner == owner:
        last += 1
    others = {rrset.rtype for rrset in rrsets[first : last + 1]} - _BESIDE_CNAME
    if others:
        listed = " ".join(t.type_text(rtype) for rtype in sorted(others)[:_NAMED_TYPES_MAX])
        text = f"a CNAME stands beside other data: {listed}"
        found.error("cname-and-other", owner, t.CNAME, text)


def _check_names(rrsets: Sequence[RRset], origin: bytes, found: Findings) -> None:
    """Check the places of names: below a zone cut or DNAME, or below the zone's name repeated."""
    doubled = doubled_suffix(origin) or AFTER_ALL
    occluder = RRset(AFTER_ALL, 0, 0, b"")
    hidden, last = AFTER_ALL, None
    for rrset in rrsets:
        owner, rtype = rrset[0], rrset[1]
        if owner != last:
            last = owner
            if owner.startswith(doubled):
                found.warning("doubled-suffix", owner, rtype, _doubled_text(owner, origin))
            if not owner.isascii():
                found.warning("eight-bit-owner", owner, rtype, EIGHT_BIT)
        if owner.startswith(hidden):
            if rtype == t.DNAME and owner == occluder.owner and occluder.rtype == t.NS:
                found.warning("ns-beside-dname", owner, rtype, _NS_BESIDE_DNAME)
            elif _is_occluded(rrset, occluder):
                above = key_to_text(occluder.owner, origin)
                by, more = ("delegation", "") if occluder.rtype == t.NS else ("DNAME", _KNOT_REFUSES)
                found.warning("occluded", owner, rtype, f"hidden by the {by} at {above}; not served{more}")
        elif (rtype == t.NS and owner) or rtype == t.DNAME:
            occluder, hidden = rrset, owner
        elif rtype == t.DNSKEY and owner:
            found.error(
                "dnskey-below-apex", owner, rtype, "a DNSKEY record below the apex; KEY is for other uses"
            )


def _is_occluded(rrset: RRset, occluder: RRset) -> bool:
    if rrset.owner != occluder.owner:
        return occluder.rtype == t.DNAME or rrset.rtype not in ADDRESSES
    return occluder.rtype == t.NS and rrset.rtype not in _AT_CUT
