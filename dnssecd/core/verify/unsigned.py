"""Compare the unsigned content of a version with the input (all but derived RRsets and the SOA serial)."""

from collections.abc import Iterable, Iterator
from contextlib import suppress

from dnssecd.core.dns import rrtypes
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.verify.violations import LimitReached, Report, Violation
from dnssecd.core.verify.wire import Malformed, canonical_set, name_end
from dnssecd.core.zone.zoneview import ZoneView

_DERIVED = frozenset({rrtypes.RRSIG, rrtypes.NSEC, rrtypes.NSEC3})
_APEX_DERIVED = frozenset({rrtypes.DNSKEY, rrtypes.CDS, rrtypes.CDNSKEY, rrtypes.NSEC3PARAM, rrtypes.ZONEMD})
_END = RRset(b"\xff" * 256, 0, 0, b"")


def verify_unsigned_equal(
    input_rrsets: Iterable[RRset], view: ZoneView, limit: int = 1000
) -> list[Violation]:
    """Compare RRsets of the input, ordered by (owner, type), with the version's content."""
    report = Report(view.origin, limit)
    with suppress(LimitReached):
        Comparison(report, input_rrsets).run(view)
    return report.violations


class Comparison:
    """Compares the input, ordered by (owner, type), with a version's content while another caller walks over that.

    ``done``: all of both was compared.
    """

    def __init__(self, report: Report, wanted: Iterable[RRset]) -> None:
        self._report = report
        self._wanted = wanted
        self.done = False

    def run(self, view: ZoneView) -> None:
        """Compare everything, unless that was done already."""
        if not self.done:
            for _ in self.along(view.scan()):
                pass

    def along(self, content: Iterable[RRset]) -> Iterator[RRset]:
        """Yield all content in order; report differences from the input."""
        wanted = _unsigned(self._wanted)
        want = next(wanted, _END)
        for have in content:
            yield have
            if have == want:
                want = next(wanted, _END)
                continue
            if have[1] in _DERIVED or (not have[0] and have[1] in _APEX_DERIVED):
                continue
            while want[:2] < have[:2]:
                self._missing(want)
                want = next(wanted, _END)
            if want[:2] > have[:2]:
                self._report.add("content-differs", have.owner, have.rtype, "is not in the input")
                continue
            if not _same(want, have):
                detail = "TTL or RDATA not as in the input"
                self._report.add("content-differs", want.owner, want.rtype, detail)
            want = next(wanted, _END)
        while want is not _END:
            self._missing(want)
            want = next(wanted, _END)
        self.done = True

    def _missing(self, want: RRset) -> None:
        detail = "is in the input but not in the version"
        self._report.add("content-differs", want.owner, want.rtype, detail)


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
