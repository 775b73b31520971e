"""A served version in memory, built from RRsets, with a journal; and a zone that serves it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from heapq import merge
from operator import itemgetter

from dnssecd.core.dns.names import AFTER_ALL, key_to_wire, owner_key, text_to_wire
from dnssecd.core.dns.rrset import RRset, Rrsigs, pack, unpack
from dnssecd.core.dns.rrtypes import NSEC, NSEC3, RRSIG, SOA
from dnssecd.core.dns.tsig import TsigKey
from dnssecd.core.zone.zoneview import JournalChunk, JournalStep
from dnssecd.server.acl import ZoneAccess

ORIGIN = text_to_wire("example.")
KEY = TsigKey.make("transfer.", "hmac-sha256", b"0123456789abcdef0123456789abcdef")
OTHER_KEY = TsigKey.make("other.", "hmac-sha256", b"another secret of thirty-two oct")
KEYS = {KEY.name: KEY, OTHER_KEY.name: OTHER_KEY}


def key(text: str, origin: bytes = ORIGIN) -> bytes:
    """The owner key of an absolute name."""
    return owner_key(text_to_wire(text), origin)


def soa_rdata(serial: int, origin: bytes = ORIGIN) -> bytes:
    times = (serial, 3600, 600, 86400, 300)
    return b"\x02ns" + origin + b"\x04host" + origin + b"".join(n.to_bytes(4, "big") for n in times)


def soa(serial: int, origin: bytes = ORIGIN) -> RRset:
    return RRset(b"", SOA, 3600, pack([soa_rdata(serial, origin)]))


def small_zone(serial: int = 1, origin: bytes = ORIGIN) -> list[RRset]:
    """SOA, NS and one address."""
    return [
        soa(serial, origin),
        RRset(b"", 2, 3600, pack([b"\x02ns" + origin])),
        RRset(b"ns\x00", 1, 3600, pack([bytes([192, 0, 2, 1])])),
    ]


class _Table:
    def __init__(self, rows: Iterable[RRset | Rrsigs]) -> None:
        self.rows = sorted(rows)
        self.owners = [row[0] for row in self.rows]

    def range(self, start: bytes, stop: bytes | None) -> list:
        last = AFTER_ALL if stop is None else stop
        return self.rows[bisect_left(self.owners, start) : bisect_left(self.owners, last)]

    def at(self, owner: bytes) -> list:
        return self.range(owner, owner + b"\x00")


class FakeVersion:
    """Implements core.zoneview.ServedVersion. ``steps``: the journal, oldest first."""

    def __init__(
        self,
        rrsets: Iterable[RRset],
        rrsigs: Iterable[Rrsigs] = (),
        steps: Iterable[JournalStep] = (),
        origin: bytes = ORIGIN,
    ) -> None:
        rrsets = list(rrsets)
        self.origin = origin
        self._content = _Table(one for one in rrsets if one.rtype not in (NSEC, NSEC3))
        self._denial = _Table(one for one in rrsets if one.rtype in (NSEC, NSEC3))
        self._rrsigs = _Table(rrsigs)
        self._steps = list(steps)

    @property
    def serial(self) -> int:
        return int.from_bytes(self.rrset(b"", SOA).rdata[-20:-16], "big")

    def rrset(self, owner: bytes, rtype: int) -> RRset | None:
        return next((one for one in self._content.at(owner) if one.rtype == rtype), None)

    def rrsets_at(self, owner: bytes) -> list[RRset]:
        return self._content.at(owner)

    def scan(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[RRset]:
        return iter(self._content.range(start, stop))

    def first_owner(self, start: bytes, stop: bytes | None = None) -> bytes | None:
        found = self._content.range(start, stop)
        return found[0].owner if found else None

    def last_owner_before(self, owner: bytes) -> bytes | None:
        found = self._content.range(b"", owner)
        return found[-1].owner if found else None

    def denial(self, owner: bytes) -> RRset | None:
        return next(iter(self._denial.at(owner)), None)

    def denial_before(self, owner: bytes) -> RRset | None:
        found = self._denial.range(b"", owner)
        return found[-1] if found else None

    def denial_from(self, owner: bytes) -> RRset | None:
        found = self._denial.range(owner, None)
        return found[0] if found else None

    def denial_last(self) -> RRset | None:
        return self._denial.rows[-1] if self._denial.rows else None

    def denial_scan(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[RRset]:
        return iter(self._denial.range(start, stop))

    def rrsigs(self, owner: bytes, covered: int) -> Rrsigs | None:
        return next((one for one in self._rrsigs.at(owner) if one.covered == covered), None)

    def rrsigs_at(self, owner: bytes) -> list[Rrsigs]:
        return self._rrsigs.at(owner)

    def rrsig_scan(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[Rrsigs]:
        return iter(self._rrsigs.range(start, stop))

    def whole_scan(self) -> Iterator[tuple[bytes, int, int, bytes]]:
        signatures = ((sigs.owner, RRSIG, sigs.ttl, sigs.rdata) for sigs in self.rrsig_scan())
        return merge(self.scan(), self.denial_scan(), signatures, key=itemgetter(0))

    def _from(self, serial: int) -> list[JournalStep]:
        starts = [step.from_serial for step in self._steps]
        return self._steps[starts.index(serial) :] if serial in starts else []

    def earliest_expiration(self) -> int | None:
        ends = [int.from_bytes(one[8:12], "big") for sigs in self._rrsigs.rows for one in unpack(sigs.rdata)]
        return min(ends, default=None)

    def journal_size(self, from_serial: int) -> int | None:
        steps = self._from(from_serial)
        return sum(len(chunk.rrs) for step in steps for chunk in step.chunks) if steps else None

    def journal(self, from_serial: int) -> Iterator[JournalStep]:
        return iter(self._from(from_serial))


def wire_rrs(rrset: RRset | Rrsigs, origin: bytes = ORIGIN) -> list[bytes]:
    """The RRs of a set, uncompressed."""
    rtype = rrset.rtype if isinstance(rrset, RRset) else 46
    head = (
        key_to_wire(rrset.owner, origin)
        + rtype.to_bytes(2, "big")
        + b"\x00\x01"
        + rrset.ttl.to_bytes(4, "big")
    )
    return [head + len(one).to_bytes(2, "big") + one for one in unpack(rrset.rdata)]


def step(before: int, after: int, removed: Iterable[RRset] = (), added: Iterable[RRset] = ()) -> JournalStep:
    """A difference sequence between two serials."""
    halves = [(False, removed), (True, added)]
    chunks = [
        JournalChunk(flag, b"".join(rr for one in sets for rr in wire_rrs(one))) for flag, sets in halves
    ]
    return JournalStep(
        before, after, soa_rdata(before), 3600, soa_rdata(after), 3600, [c for c in chunks if c.rrs]
    )


class FakeZone:
    """Implements server.interfaces.ServedZone; ``version`` may be replaced or None."""

    def __init__(self, version: FakeVersion | None, access: ZoneAccess, origin: bytes = ORIGIN) -> None:
        self.version = version
        self.access = access
        self.origin = origin
        self.expires_at: float | None = None
        self.held = 0
        self.held_max = 0

    def snapshot(self):
        return None if self.version is None else self._hold(self.version)

    @contextmanager
    def _hold(self, version: FakeVersion) -> Iterator[FakeVersion]:
        self.held += 1
        self.held_max = max(self.held_max, self.held)
        try:
            yield version
        finally:
            self.held -= 1
