"""The NSEC chain (RFC 4034 §4, RFC 4035 §2.3), checked while the zone is walked in order."""

from dnssecd.core.dns import rrtypes
from dnssecd.core.dns.names import lower, wire_to_text
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.dns.rrtypes import type_text
from dnssecd.core.verify.violations import Report
from dnssecd.core.verify.wire import Malformed, bitmap, bitmap_types, name_end, split


class Bitmaps:
    """Type bit maps by the tuple of types, encoded once each."""

    def __init__(self) -> None:
        self._cache: dict[tuple[int, ...], bytes] = {}

    def of(self, types: tuple[int, ...]) -> bytes:
        """Return the field for ``types``."""
        found = self._cache.get(types)
        if found is None:
            if len(self._cache) > 10_000:
                self._cache.clear()
            found = self._cache[types] = bitmap(types)
        return found


class NsecChain:
    """Judges NSEC RRs: each must name the next owner, known when the walk comes to it."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._bitmaps = Bitmaps()
        self._owner = b""
        self._rdata: bytes | None = None
        self._tail = b""

    def visit(self, owner: bytes, owner_wire: bytes, types: tuple[int, ...], nsec: RRset | None) -> None:
        """Take the next name that must have an NSEC RR, listing ``types``."""
        self._complete(owner_wire)
        self._rdata = None
        if nsec is None:
            self._report.add("nsec-missing", owner, rrtypes.NSEC, "has no NSEC RR")
            return
        try:
            rdatas = split(nsec.rdata)
        except Malformed as error:
            self._report.add("rdata-malformed", owner, rrtypes.NSEC, str(error))
            return
        if len(rdatas) > 1:
            self._report.add("rrset-multiple", owner, rrtypes.NSEC, f"{len(rdatas)} NSEC RRs")
        self._owner, self._rdata, self._tail = owner, rdatas[0], self._bitmaps.of(types)

    def finish(self) -> None:
        """Check that the last NSEC RR points to the apex."""
        self._complete(self._report.origin)
        self._rdata = None

    def _complete(self, next_wire: bytes) -> None:
        if self._rdata is not None and self._rdata != next_wire + self._tail:
            judge_nsec(self._report, self._owner, self._rdata, next_wire, self._tail)


def judge_nsec(report: Report, owner: bytes, rdata: bytes, next_wire: bytes, expected: bytes) -> None:
    """Report faults of one NSEC RDATA; ``expected`` is its type bit maps field."""
    try:
        end = name_end(rdata, 0)
    except Malformed as error:
        report.add("rdata-malformed", owner, rrtypes.NSEC, f"next domain name: {error}")
        return
    if lower(rdata[:end]) != next_wire:
        detail = f"points to {wire_to_text(rdata[:end])}, not {wire_to_text(next_wire)}"
        report.add("nsec-next", owner, rrtypes.NSEC, detail)
    if rdata[end:] != expected:
        report.add("bitmap-wrong", owner, rrtypes.NSEC, bitmap_difference(rdata[end:], expected))


def bitmap_difference(found: bytes, expected: bytes) -> str:
    """Describe how two type bit maps fields differ."""
    try:
        listed = set(bitmap_types(found))
    except Malformed as error:
        return str(error)
    wanted = set(bitmap_types(expected))
    parts = []
    if wanted - listed:
        parts.append("lacks " + " ".join(type_text(rtype) for rtype in sorted(wanted - listed)))
    if listed - wanted:
        parts.append("wrongly lists " + " ".join(type_text(rtype) for rtype in sorted(listed - wanted)))
    return "; ".join(parts) or "is not encoded canonically"
