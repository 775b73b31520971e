"""The NSEC3 chain (RFC 5155), checked against the hashes of all names of the zone.

Names come in canonical order, NSEC3 RRs in hash order. To compare them in bounded memory each name is kept as 24
octets (hash, number of its type bit maps, whether opt-out may leave it out) in 256 buckets by first octet; buckets
are sorted one at a time while the chain is read.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import sha1

from dnssecd.core.dns import rrtypes
from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.verify.chains import Chains
from dnssecd.core.verify.expectation import DenialExpectation
from dnssecd.core.verify.nsec import bitmap_difference
from dnssecd.core.verify.violations import Report
from dnssecd.core.verify.wire import Malformed, Nsec3, bitmap, bitmap_types, split
from dnssecd.core.zone.zoneview import ZoneView

OPT_OUT = 1
#: Flags stored with the number of the type bit maps: opt-out may leave the name out; it is an empty
#: non-terminal.
_OPTIONAL = 1 << 31
_EMPTY = 1 << 30
_NUMBER = _EMPTY - 1
_NUMBERS_MAX = 10_000
_HASH_CHARS = b"0123456789abcdefghijklmnopqrstuv"
HASH_SIZE = 20


def name_hash(wire: bytes, iterations: int, salt: bytes) -> bytes:
    """Return the SHA-1 hash of a lower-cased wire name (RFC 5155 §5)."""
    digest = sha1(wire + salt, usedforsecurity=False).digest()
    for _ in range(iterations):
        digest = sha1(digest + salt, usedforsecurity=False).digest()
    return digest


def hash_of_owner(owner: bytes) -> bytes | None:
    """Return the hash an NSEC3 owner key encodes in base32hex, or None if it does not."""
    if len(owner) != 33 or owner[32] or owner[:32].translate(None, _HASH_CHARS):
        return None
    return int(owner[:32], 32).to_bytes(HASH_SIZE, "big")


def owner_of_hash(digest: bytes) -> bytes:
    """Return the owner key of the NSEC3 RR for a hash (RFC 5155 §3)."""
    number = int.from_bytes(digest, "big")
    return bytes([_HASH_CHARS[number >> shift & 31] for shift in range(155, -1, -5)]) + b"\0"


def _counted(salt: bytes) -> bytes:
    return bytes((len(salt),)) + salt


class Nsec3Chain:
    """Collects the names of the zone, then judges the NSEC3 RRs with these parameters.

    chains: all chains of the zone; in a foreign zone NSEC3 RRs with other parameters belong to another chain.
    """

    def __init__(self, report: Report, parameters: DenialExpectation, chains: Chains) -> None:
        self._report = report
        self.parameters = parameters
        #: Iterations and salt as they stand in RDATA, four octets into a packed RRset.
        self._parameter_octets = parameters.iterations.to_bytes(2, "big") + _counted(parameters.salt)
        self._foreign, self._mixed = chains.foreign, chains.mixed
        self._buckets = [bytearray() for _ in range(256)]
        self._iterations, self._salt = parameters.iterations, parameters.salt
        self._numbers: dict[tuple[int, ...], int] = {}
        self._bitmap_numbers: dict[bytes, int] = {}
        self._bitmap_list: list[bytes] = []
        self._covered_by: Nsec3 | None = None
        self._left_out_empty = self._has_optional = False
        #: Whether there are NSEC3 RRs of another chain.
        self.has_others = False
        #: Hashes of names without NSEC3 RR, with the code of the violation; names are found by a second walk.
        self.missing: dict[bytes, str] = {}

    def visit(self, owner_wire: bytes, types: tuple[int, ...], optional: bool) -> None:
        """Take a name that has an NSEC3 RR listing ``types``; optional: opt-out may leave it out."""
        digest = name_hash(owner_wire, self._iterations, self._salt)
        number = self._numbers.get(types)
        if number is None:
            number = self._number(types)
        mark = number | _OPTIONAL if optional else number
        self._buckets[digest[0]] += digest + mark.to_bytes(4, "big")

    def visit_empty(self, owner_wire: bytes, optional: bool) -> None:
        """Take an empty non-terminal; optional: nothing below it is more than an insecure delegation."""
        digest = name_hash(owner_wire, self._iterations, self._salt)
        mark = self._number(()) | _EMPTY | (_OPTIONAL if optional else 0)
        self._buckets[digest[0]] += digest + mark.to_bytes(4, "big")

    @property
    def may_lack_empty(self) -> bool:
        """Tell whether opt-out left out some empty non-terminal, but not every insecure delegation."""
        return self._left_out_empty and self._has_optional

    def _number(self, types: tuple[int, ...]) -> int:
        """Return the number of the bitmap of these types, and remember it while they are few."""
        field = bitmap(types)
        number = self._bitmap_numbers.get(field)
        if number is None:
            number = self._bitmap_numbers[field] = len(self._bitmap_list)
            self._bitmap_list.append(field)
        if len(self._numbers) < _NUMBERS_MAX:
            self._numbers[types] = number
        return number

    def _expected(self) -> Iterator[bytes]:
        for bucket in filter(None, self._buckets):
            data = bytes(bucket)
            bucket.clear()
            yield from sorted([data[at : at + 24] for at in range(0, len(data), 24)])

    def finish(self, view: ZoneView) -> None:
        """Compare with the NSEC3 RRs of the zone."""
        chain = (rrset for rrset in view.denial_scan() if rrset.rtype == rrtypes.NSEC3)
        self._covered_by = self._last(view)
        expected = self._expected()
        want = next(expected, None)
        previous: tuple[bytes, bytes] | None = None
        first = b""
        for rrset in chain:
            decoded = self._decode(rrset)
            if decoded is None:
                continue
            digest, nsec3 = decoded
            if previous is None:
                first = digest
            elif previous[1] != digest:
                self._broken(previous[0])
            previous = (rrset.owner, nsec3.next_hash)
            while want is not None and want[:20] < digest:
                self._absent(want)
                want = next(expected, None)
            if want is not None and want[:20] == digest:
                self._present(rrset.owner, nsec3, want)
                want = next(expected, None)
            else:
                self._report.add("nsec3-extra", rrset.owner, rrtypes.NSEC3, "belongs to no name of the zone")
            self._covered_by = nsec3
        while want is not None:
            self._absent(want)
            want = next(expected, None)
        if previous is not None and previous[1] != first:
            self._broken(previous[0])

    def _broken(self, owner: bytes) -> None:
        detail = "next hashed owner is not that of the next NSEC3 RR"
        self._report.add("nsec3-next", owner, rrtypes.NSEC3, detail)

    def _last(self, view: ZoneView) -> Nsec3 | None:
        """Return the last RR of the chain, which closes it."""
        last = view.denial_last()
        while last is not None:
            found = _nsec3_of(last)
            if found is not None and not (self._foreign and self._is_other(found)):
                return found
            last = view.denial_before(last.owner) if self._foreign else None
        return None

    def _is_other(self, found: Nsec3) -> bool:
        return found.iterations != self._iterations or found.salt != self._salt or found.algorithm != 1

    def _decode(self, rrset: RRset) -> tuple[bytes, Nsec3] | None:
        if self._foreign and rrset.rdata[4 : 4 + len(self._parameter_octets)] != self._parameter_octets:
            found = _nsec3_of(rrset)
            if found is not None and self._is_other(found):
                self.has_others = True
                return None
        digest = hash_of_owner(rrset.owner)
        if digest is None:
            detail = "owner is not a base32hex hash directly below the apex"
            self._report.add("nsec3-owner", rrset.owner, rrtypes.NSEC3, detail)
            return None
        nsec3 = decode_nsec3(self._report, rrset, self.parameters)
        return None if nsec3 is None else (digest, nsec3)

    def _present(self, owner: bytes, nsec3: Nsec3, want: bytes) -> None:
        mark = int.from_bytes(want[20:], "big")
        if mark & (_OPTIONAL | _EMPTY) == _OPTIONAL:
            self._has_optional = True
        field = self._bitmap_list[mark & _NUMBER]
        if nsec3.bitmap != field and not (self._mixed and _without_nsec(nsec3.bitmap) == field):
            self._report.add("bitmap-wrong", owner, rrtypes.NSEC3, bitmap_difference(nsec3.bitmap, field))

    def _absent(self, want: bytes) -> None:
        optional = want[20] & 128
        covered = self._covered_by is not None and self._covered_by.flags & OPT_OUT
        if optional and covered:
            if want[20] & 64:
                self._left_out_empty = True
            return
        if len(self.missing) <= self._report.limit:
            allowed = self._covered_by is not None and optional and self.parameters.opt_out is not False
            self.missing[want[:20]] = "nsec3-opt-out" if allowed else "nsec3-missing"


def _nsec3_of(rrset: RRset) -> Nsec3 | None:
    """Return the decoded NSEC3 RR of an RRset, None if there is none that decodes."""
    if rrset.rtype != rrtypes.NSEC3:
        return None
    try:
        return Nsec3(split(rrset.rdata)[0])
    except Malformed:
        return None


def _without_nsec(field: bytes) -> bytes:
    """Return type bit maps without NSEC, which a zone with both may list or leave out (RFC 5155 §7.1 is silent)."""
    try:
        return bitmap(tuple(rtype for rtype in bitmap_types(field) if rtype != rrtypes.NSEC))
    except Malformed:
        return field


def judge_unused(report: Report, view: ZoneView, judged: Iterable[DenialExpectation]) -> None:
    """Report NSEC3 RRs that belong to no NSEC3PARAM RR, once for each set of parameters."""
    known = {(1, chain.iterations, chain.salt) for chain in judged if chain.kind == "nsec3"}
    unused: Counter[tuple[int, int, bytes]] = Counter()
    for rrset in view.denial_scan():
        found = _nsec3_of(rrset)
        if found is None:
            continue
        place = (found.algorithm, found.iterations, found.salt)
        if place not in known and (place in unused or len(unused) < UNUSED_MAX):
            unused[place] += 1
    for (algorithm, iterations, salt), count in sorted(unused.items()):
        detail = f"{count} with algorithm {algorithm}, {iterations} iterations, salt {salt.hex() or '-'}"
        report.add("nsec3-chain-unused", APEX, rrtypes.NSEC3, detail)


#: At most this many unused chains are reported separately.
UNUSED_MAX = 16


def decode_nsec3(report: Report, rrset: RRset, parameters: DenialExpectation) -> Nsec3 | None:
    """Decode one NSEC3 RRset and check its parameters and flags; None after reporting it unusable."""
    owner = rrset.owner
    try:
        rdatas = split(rrset.rdata)
        nsec3 = Nsec3(rdatas[0])
    except Malformed as error:
        report.add("rdata-malformed", owner, rrtypes.NSEC3, str(error))
        return None
    if len(rdatas) > 1:
        report.add("rrset-multiple", owner, rrtypes.NSEC3, f"{len(rdatas)} NSEC3 RRs")
    if (nsec3.algorithm, nsec3.iterations, nsec3.salt) != (1, parameters.iterations, parameters.salt):
        detail = (
            f"algorithm {nsec3.algorithm}, {nsec3.iterations} iterations, salt {nsec3.salt.hex() or '-'};"
            f" the zone's are 1, {parameters.iterations}, {parameters.salt.hex() or '-'}"
        )
        report.add("nsec3-parameters", owner, rrtypes.NSEC3, detail)
    opt_out = parameters.opt_out
    if nsec3.flags & ~OPT_OUT or (opt_out is not None and bool(nsec3.flags & OPT_OUT) != opt_out):
        report.add("nsec3-flags", owner, rrtypes.NSEC3, f"flags are {nsec3.flags}")
    return nsec3
