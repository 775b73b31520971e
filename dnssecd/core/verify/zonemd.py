"""ZONEMD: digest over the whole zone (RFC 8976), computed in one ordered walk."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Protocol

from dnssecd.core.dns import rrtypes
from dnssecd.core.dns.names import APEX, key_to_wire
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.verify.expectation import Expectation
from dnssecd.core.verify.violations import Report, Violation
from dnssecd.core.verify.walk import NameGroup, groups, rdatas_at
from dnssecd.core.verify.wire import Malformed, Soa, canonical_set
from dnssecd.core.zone.zoneview import ZoneView

SCHEME_SIMPLE = 1
_ALGORITHMS = {1: "sha384", 2: "sha512"}
_SIZES = {1: 48, 2: 64}
_CHUNK = 1 << 16

#: Original TTLs of RRs in sets whose TTLs are unequal, by (owner key, type, RDATA).
MixedTtls = Mapping[tuple[bytes, int, bytes], int]


class Digest(Protocol):
    """A running hash."""

    def update(self, data: bytes, /) -> None:
        """Append octets to the digested data."""

    def digest(self) -> bytes:
        """Return the digest of the data so far."""


def zone_digest(view: ZoneView, algorithms: set[int], mixed_ttls: MixedTtls) -> dict[int, bytes]:
    """Return the digest (scheme SIMPLE) by hash algorithm: 1 is SHA-384, 2 is SHA-512 (RFC 8976 §3.3)."""
    running: dict[int, Digest] = {number: hashlib.new(_ALGORITHMS[number]) for number in algorithms}
    buffer = bytearray()
    for group in groups(view):
        wire = key_to_wire(group.owner, view.origin)
        for rrset in _ordered(group):
            _append(buffer, wire, rrset, mixed_ttls)
        if len(buffer) >= _CHUNK:
            for digest in running.values():
                digest.update(bytes(buffer))
            buffer.clear()
    for digest in running.values():
        digest.update(bytes(buffer))
    return {number: digest.digest() for number, digest in running.items()}


def _ordered(group: NameGroup) -> Iterator[RRset]:
    """Yield the sets at a name that are digested, by type, including RRSIGs (RFC 8976 §3.3.3)."""
    owner, content, denial, rrsigs = group
    sets = [*content, *denial]
    sets += [RRset(owner, rrtypes.RRSIG, sigs.ttl, sigs.rdata) for sigs in rrsigs]
    if not owner:
        sets = [rrset for rrset in sets if not _excluded(rrset)]
    sets.sort(key=_type_of)
    return iter(sets)


def _type_of(rrset: RRset) -> int:
    return rrset.rtype


def _excluded(rrset: RRset) -> bool:
    if rrset.rtype == rrtypes.ZONEMD:
        return True
    return rrset.rtype == rrtypes.RRSIG and rrset.rdata[2:4] == rrtypes.ZONEMD.to_bytes(2, "big")


def _append(buffer: bytearray, wire: bytes, rrset: RRset, mixed_ttls: MixedTtls) -> None:
    owner, rtype, ttl, packed = rrset
    head = wire + rtype.to_bytes(2, "big") + b"\0\1"
    for rdata in canonical_set(rtype, packed):
        own_ttl = mixed_ttls.get((owner, rtype, rdata), ttl) if mixed_ttls else ttl
        buffer += head + own_ttl.to_bytes(4, "big") + len(rdata).to_bytes(2, "big") + rdata


def judge_zonemd(report: Report, view: ZoneView, expectation: Expectation) -> None:
    """Check the apex ZONEMD RRset (RFC 8976 §4): one RR must verify."""
    if expectation.zonemd is False:
        return
    rdatas = rdatas_at(view, rrtypes.ZONEMD)
    usable = _usable(report, view, rdatas)
    if usable:
        try:
            mixed = {(owner, rtype, rdata): ttl for owner, rtype, rdata, ttl in expectation.mixed_ttls}
            digests = zone_digest(view, set(usable), mixed)
        except Malformed as error:
            report.add("zonemd-mismatch", APEX, rrtypes.ZONEMD, f"the zone cannot be digested: {error}")
            return
        if not any(digests[number] == digest for number, digest in usable.items()):
            found = ", ".join(f"{_ALGORITHMS[number]} {digests[number].hex()}" for number in sorted(digests))
            report.add("zonemd-mismatch", APEX, rrtypes.ZONEMD, f"the digest of the zone is {found}")
    elif expectation.zonemd:
        detail = "no ZONEMD RR that can be checked" if rdatas else "no ZONEMD RRset at the apex"
        report.add("zonemd-missing", APEX, rrtypes.ZONEMD, detail)


def verify_zonemd(view: ZoneView, limit: int) -> list[Violation]:
    """Return what is wrong with the apex ZONEMD RRset of a zone, [] if it verifies or there is none."""
    report = Report(view.origin, limit)
    judge_zonemd(report, view, Expectation(view.origin, 0))
    return report.violations


def _usable(report: Report, view: ZoneView, rdatas: list[bytes]) -> dict[int, bytes]:
    """Return the digests to check by hash algorithm; report faults of the others."""
    serial = _serial(view)
    usable: dict[int, bytes] = {}
    pairs = [rdata[4:6] for rdata in rdatas]
    problems: list[tuple[str, str]] = []
    for rdata in rdatas:
        if len(rdata) < 6 + 12:
            problems.append(("rdata-malformed", "digest shorter than 12 octets (RFC 8976 §2.2.4)"))
        elif pairs.count(rdata[4:6]) > 1:
            problems.append(("zonemd-repeated", f"scheme {rdata[4]}, hash algorithm {rdata[5]} twice"))
        elif int.from_bytes(rdata[:4], "big") != serial:
            number = int.from_bytes(rdata[:4], "big")
            problems.append(("zonemd-serial", f"serial {number}, the SOA has {serial}"))
        elif rdata[4] != SCHEME_SIMPLE or rdata[5] not in _ALGORITHMS:
            problems.append(("zonemd-missing", f"scheme {rdata[4]}, hash algorithm {rdata[5]} not known"))
        elif len(rdata) != 6 + _SIZES[rdata[5]]:
            problems.append(("rdata-malformed", "digest has the wrong length for its hash algorithm"))
        else:
            usable[rdata[5]] = rdata[6:]
    if not usable:
        for code, detail in problems:
            report.add(code, APEX, rrtypes.ZONEMD, detail)
    return usable


def _serial(view: ZoneView) -> int | None:
    soa = rdatas_at(view, rrtypes.SOA)
    try:
        return Soa(soa[0]).serial if soa else None
    except Malformed:
        return None
