"""Compare a zone as another signer serves it with the zone as dnssecd signs it.

Only new signatures are expected. Anything else is a difference or, for data that each signer chooses itself
(serial, CDS, notes), a remark that gives the reason.
"""

from collections.abc import Iterator

from dnssecd.core.dns.names import APEX, key_to_text, lower
from dnssecd.core.dns.rrset import RRset, Rrsigs, count, unpack
from dnssecd.core.dns.rrtypes import CDNSKEY, CDS, DNSKEY, NSEC, NSEC3, NSEC3PARAM, SOA, ZONEMD
from dnssecd.core.zone.changeset import Change, diff
from dnssecd.core.zone.zoneview import ZoneView
from dnssecd.ingest.export import bitmap_text, rrset_lines
from dnssecd.ingest.words import type_text
from dnssecd.pipeline.adoption.differences import Comparison, Difference
from dnssecd.pipeline.adoption.served_zone import BIND_NOTES, ForeignZone
from dnssecd.pipeline.version.apex import soa_serial, with_serial

SHOWN_MAX = 200
LINES_MAX = 20
LINE_MAX = 500
_OWN_AFFAIRS = {CDS, CDNSKEY, ZONEMD}
_TEXTS = {
    CDS: "CDS according to the key states and the policy (cds); the parent may act on it",
    CDNSKEY: "CDNSKEY according to the key states and the policy (cds); the parent may act on it",
    ZONEMD: "the digest differs because the serial differs",
}


class _List:
    """Differences up to the limit, and their number."""

    def __init__(self, origin: bytes) -> None:
        self.origin, self.number = origin, 0
        self.rows: list[Difference] = []
        self.remarks: list[str] = []

    def add(self, kind: str, change: Change, detail: str) -> None:
        self.number += 1
        if len(self.rows) >= SHOWN_MAX:
            return
        owner = key_to_text(change.owner, self.origin)
        self.rows.append(
            Difference(
                kind,
                owner,
                type_text(change.rtype),
                detail,
                _lines(owner, change.old),
                _lines(owner, change.new),
            )
        )


def compare(served: ForeignZone, ours: ZoneView) -> Comparison:
    """Compare the served zone with dnssecd's version; both are signed."""
    found = _List(served.origin)
    soa = ours.rrset(APEX, SOA)
    assert soa is not None, "a version has an SOA"
    if served.notes:
        found.remarks.append(
            f"{served.notes} record(s) of type TYPE{BIND_NOTES}, BIND's own notes, are omitted"
        )
    for change in diff(served.scan(), ours.scan()):
        _judge_content(found, change)
    for change in diff(served.denial_scan(), ours.denial_scan()):
        _judge_chain(found, change)
    kept, fresh = _signatures(found, served, ours)
    return Comparison(
        serial_served=served.serial,
        serial_ours=soa_serial(soa),
        kept=kept,
        fresh=fresh,
        differing=found.number,
        remarks=tuple(found.remarks),
        differences=tuple(found.rows),
    )


def _judge_content(found: _List, change: Change) -> None:
    old, new = change.old, change.new
    if change.owner == APEX and change.rtype == SOA and old is not None and new is not None:
        if with_serial(old, 0) != with_serial(new, 0):
            found.add("content", change, "the SOA differs in more than the serial")
        return
    if change.owner == APEX and change.rtype in _OWN_AFFAIRS and (change.rtype != ZONEMD or (old and new)):
        found.remarks.append(f"{type_text(change.rtype)} {_verb(change)}: {_TEXTS[change.rtype]}")
        return
    only_ttl = old is not None and new is not None and old.rdata == new.rdata
    if only_ttl and change.rtype == NSEC3PARAM:
        found.remarks.append("NSEC3PARAM has another TTL; only servers of the zone use this record")
        return
    if only_ttl:
        assert old is not None
        assert new is not None
        remedy = f'; policy: dnskey_ttl = "{old.ttl}s"' if change.rtype == DNSKEY else ""
        found.add("ttl", change, f"TTL {old.ttl} is served, {new.ttl} here{remedy}")
        return
    kind = {DNSKEY: "keys", NSEC3PARAM: "denial"}.get(change.rtype, "content")
    found.add(kind, change, _verb(change))


def _verb(change: Change) -> str:
    if change.old is None:
        return "added"
    return "removed" if change.new is None else "changed"


def _judge_chain(found: _List, change: Change) -> None:
    """Judge a link of the chain; a difference only in types that each signer chooses itself is not reported."""
    old, new = change.old, change.new
    if old is None or new is None or not _same_link(old, new):
        found.add("denial", change, _verb(change))
    elif old.ttl != new.ttl:
        remark = f"links of the chain have TTL {new.ttl} instead of {old.ttl}, min(SOA minimum, SOA TTL) (RFC 9077)"
        if remark not in found.remarks:
            found.remarks.append(remark)


def _same_link(old: RRset, new: RRset) -> bool:
    """Tell whether two links are equal except in TTL, case, and the types that each signer chooses itself."""
    if old.rtype != new.rtype:
        return False
    (before, were), (after, are) = _split(old), _split(new)
    return before == after and were ^ are <= {"CDS", "CDNSKEY", "ZONEMD", f"TYPE{BIND_NOTES}"}


def _split(rrset: RRset) -> tuple[bytes, frozenset[str]]:
    """Return the RDATA of an NSEC or NSEC3 RR before its type bit maps, in lower case, and the types in them."""
    rdata = rrset.rdata[2:]
    at = 0
    if rrset.rtype == NSEC:
        while rdata[at]:
            at += rdata[at] + 1
        at += 1
        return lower(rdata[:at]), frozenset(bitmap_text(rdata[at:]).split())
    at = 5 + rdata[4]
    at += 1 + rdata[at]
    return rdata[:at], frozenset(bitmap_text(rdata[at:]).split())


def _signatures(found: _List, served: ForeignZone, ours: ZoneView) -> tuple[int, int]:
    """Return how many RRsets kept their RRSIGs and how many have new ones; report RRsets that are no longer signed."""
    kept = fresh = 0
    for before, after in _pairs(served.rrsig_scan(), ours.rrsig_scan()):
        if before is not None and after is not None:
            same = before.rdata == after.rdata
            kept, fresh = kept + same, fresh + (not same)
            _judge_algorithms(found, before, after)
        elif after is not None:
            fresh += 1
            if _standing(served, after):
                found.add(
                    "signatures", Change(after.owner, after.covered, None, None), "was not signed and is now"
                )
        elif before is not None and _standing(ours, before):
            found.add("signatures", Change(before.owner, before.covered, None, None), "is no longer signed")
    return kept, fresh


def _judge_algorithms(found: _List, before: Rrsigs, after: Rrsigs) -> None:
    lost = {r[2] for r in unpack(before.rdata)} - {r[2] for r in unpack(after.rdata)}
    if lost and (before.owner or before.covered not in (CDS, CDNSKEY)):
        numbers = ", ".join(map(str, sorted(lost)))
        change = Change(before.owner, before.covered, None, None)
        found.add("signatures", change, f"is no longer signed with algorithm {numbers}")


def _standing(view: ZoneView, sigs: Rrsigs) -> bool:
    if sigs.covered in (NSEC, NSEC3):
        return view.denial(sigs.owner) is not None
    return view.rrset(sigs.owner, sigs.covered) is not None


def _pairs(served: Iterator[Rrsigs], ours: Iterator[Rrsigs]) -> Iterator[tuple[Rrsigs | None, Rrsigs | None]]:
    before, after = next(served, None), next(ours, None)
    while before is not None or after is not None:
        if after is None or (before is not None and before[:2] < after[:2]):
            yield before, None
            before = next(served, None)
        elif before is None or after[:2] < before[:2]:
            yield None, after
            after = next(ours, None)
        else:
            yield before, after
            before, after = next(served, None), next(ours, None)


def _lines(owner: str, rrset: RRset | None) -> tuple[str, ...]:
    if rrset is None:
        return ()
    lines = [line[:LINE_MAX] for line in rrset_lines(owner, rrset.rtype, rrset.ttl, rrset.rdata).splitlines()]
    if len(lines) > LINES_MAX:
        lines[LINES_MAX:] = [f"… {count(rrset.rdata)} records in all"]
    return tuple(lines)
