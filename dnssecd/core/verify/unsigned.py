"""Whether the unsigned content of a version is the input (all but derived RRsets and the SOA serial)."""

from collections.abc import Iterable, Iterator
from contextlib import suppress

from dnssecd.core import rrtypes
from dnssecd.core.rrset import RRset
from dnssecd.core.verify.violations import LimitReached, Report, Violation
from dnssecd.core.verify.wire import Malformed, canonical_set, name_end
from dnssecd.core.zoneview import ZoneView

_DERIVED = frozenset({rrtypes.RRSIG, rrtypes.NSEC, rrtypes.NSEC3})
_APEX_DERIVED = frozenset({rrtypes.DNSKEY, rrtypes.CDS, rrtypes.CDNSKEY, rrtypes.NSEC3PARAM, rrtypes.ZONEMD})
_END = RRset(b"\xff" * 256, 0, 0, b"")


def verify_unsigned_equal(
    input_rrsets: Iterable[RRset], view: ZoneView, limit: int = 1000
) -> list[Violation]:
    """Compare RRsets of the input, ordered by (owner, type), with the version's content."""
    report = Report(view.origin, limit)
    with suppress(LimitReached):
        _compare(report, _unsigned(input_rrsets), _unsigned(view.scan()))
    return report.violations


def _compare(report: Report, wanted: Iterator[RRset], found: Iterator[RRset]) -> None:
    want, have = next(wanted, _END), next(found, _END)
    while want is not _END or have is not _END:
        if want[:2] == have[:2]:
            if want != have and not _same(want, have):
                report.add("content-differs", want.owner, want.rtype, "TTL or RDATA not as in the input")
            want, have = next(wanted, _END), next(found, _END)
        elif want[:2] < have[:2]:
            report.add("content-differs", want.owner, want.rtype, "is in the input but not in the version")
            want = next(wanted, _END)
        else:
            report.add("content-differs", have.owner, have.rtype, "is not in the input")
            have = next(found, _END)


def _unsigned(rrsets: Iterable[RRset]) -> Iterator[RRset]:
    for rrset in rrsets:
        rtype = rrset[1]
        if rtype not in _DERIVED and (rrset[0] or rtype not in _APEX_DERIVED):
            yield rrset


def _same(want: RRset, have: RRset) -> bool:
    """Tell whether two sets of one owner and type agree in canonical form, SOA serial apart."""
    try:
        wanted = canonical_set(want.rtype, want.rdata)
        found = canonical_set(have.rtype, have.rdata)
        if want.rtype == rrtypes.SOA and not want.owner:
            wanted, found = [_without_serial(r) for r in wanted], [_without_serial(r) for r in found]
    except Malformed:
        return False
    return want.ttl == have.ttl and wanted == found


def _without_serial(rdata: bytes) -> bytes:
    at = name_end(rdata, name_end(rdata, 0))
    return rdata[:at] + bytes(4) + rdata[at + 4 :]
