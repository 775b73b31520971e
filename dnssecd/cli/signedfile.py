"""Read signed zone files for the verifier; faults that merging would hide become findings.

A zone file may repeat a record, or give the records of an RRset different TTLs. The zone in memory has each record
once and one TTL for each RRset (the lowest, RFC 2181 §5.2). Both faults, and records outside the zone, are listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from dnssecd.core.dns.names import key_to_text
from dnssecd.core.dns.rrset import RRset, Rrsigs
from dnssecd.core.dns.rrtypes import NSEC, NSEC3, RRSIG, SOA, type_text
from dnssecd.core.verify import MemoryZoneView, Violation, violation
from dnssecd.ingest.collect import Row
from dnssecd.ingest.limits import Limits
from dnssecd.ingest.reader import Reader

#: Original TTL by (owner key, type, RDATA) of each RR in a set with unequal TTLs.
MixedTtl = tuple[bytes, int, bytes, int]

_LIMITS = Limits(warnings=1_000_000)
_PLACE = itemgetter(0, 1)


@dataclass(frozen=True, slots=True)
class SignedFile:
    """A signed zone in memory, and findings about its file."""

    view: MemoryZoneView
    findings: list[Violation]
    mixed_ttls: tuple[MixedTtl, ...]


def read_signed_file(path: Path, origin: bytes) -> SignedFile:
    """Read the signed zone file of ``origin`` (lower-case wire name). Raise ZoneFileErrors."""
    reader = Reader(origin, _LIMITS, strip=False)
    reader.read(path)
    gathered = _Gathered(origin)
    for warning in reader.warnings:
        if warning.outside:
            detail = f"{path}:{warning.line}: is outside the zone: ignored"
            gathered.findings.append(violation("out-of-zone", warning.outside, "-", detail))
    gathered.add(reader.rows)
    view = MemoryZoneView(origin, gathered.content, gathered.denial, gathered.rrsigs)
    return SignedFile(view, gathered.findings, tuple(gathered.mixed_ttls))


class _Gathered:
    """Rows grouped into RRsets."""

    def __init__(self, origin: bytes) -> None:
        self.origin = origin
        self.content: list[RRset] = []
        self.denial: list[RRset] = []
        self.rrsigs: list[Rrsigs] = []
        self.findings: list[Violation] = []
        self.mixed_ttls: list[MixedTtl] = []

    def add(self, rows: list[Row]) -> None:
        """Sort rows by (owner, type, RDATA), RRSIGs also by type covered, and group them into RRsets."""
        rows.sort(key=_PLACE)
        start, end = 0, len(rows)
        while start < end:
            owner, rtype = rows[start][0], rows[start][1]
            stop = start + 1
            while stop < end and rows[stop][1] == rtype and rows[stop][0] == owner:
                stop += 1
            if rtype == RRSIG:
                self._rrsigs(rows[start:stop])
            elif stop == start + 1:
                self._set(rows[start])
            else:
                self._set(self._merge(rows[start:stop], rtype))
            start = stop

    def _set(self, row: Row) -> None:
        rrset = RRset(*row)
        if rrset.rtype in (NSEC, NSEC3):
            self.denial.append(rrset)
        else:
            self.content.append(rrset)

    def _rrsigs(self, rows: list[Row]) -> None:
        by_covered: dict[int, list[Row]] = {}
        for row in rows:
            by_covered.setdefault(int.from_bytes(row[3][2:4], "big"), []).append(row)
        for covered in sorted(by_covered):
            owner, _, ttl, packed = self._merge(by_covered[covered], covered)
            self.rrsigs.append(Rrsigs(owner, covered, ttl, packed))

    def _merge(self, rows: list[Row], shown: int) -> Row:
        """Return the rows of one RRset as one; ``shown`` is the type named in findings."""
        owner, rtype, ttl, packed = rows[0]
        if len(rows) == 1:
            return rows[0]
        rdatas = {row[3][2:] for row in rows}
        # A zone transfer saved to a file ends with the same SOA as it begins with.
        if len(rdatas) < len(rows) and rtype != SOA:
            self._find("duplicate-rr", owner, shown, f"{len(rows) - len(rdatas)} RR(s) repeated")
        ttls = {row[2] for row in rows}
        if len(ttls) > 1:
            ttl = min(ttls)
            self._find("rrset-ttl-unequal", owner, shown, "TTLs " + " ".join(map(str, sorted(ttls))))
            self.mixed_ttls += [(owner, rtype, row[3][2:], row[2]) for row in rows]
        packed = b"".join([len(rdata).to_bytes(2, "big") + rdata for rdata in sorted(rdatas)])
        return owner, rtype, ttl, packed

    def _find(self, code: str, owner: bytes, rtype: int, detail: str) -> None:
        self.findings.append(violation(code, key_to_text(owner, self.origin), type_text(rtype), detail))
