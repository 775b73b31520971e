"""Judging the RRSIGs over one RRset: fields here, cryptography by batches (RFC 4034 §3, RFC 4035 §2.2 and §5.3)."""

from collections.abc import Callable
from itertools import pairwise
from struct import Struct
from typing import NamedTuple

from dnssecd.core.dns import rrtypes
from dnssecd.core.dns.names import lower
from dnssecd.core.dns.rrset import RRset, Rrsigs
from dnssecd.core.verify.checker import BatchQueue, SignatureChecker, SignatureJob
from dnssecd.core.verify.keys import KeyRing, Verify, ZoneKey
from dnssecd.core.verify.violations import Rank, Report
from dnssecd.core.verify.wire import NAME_TYPES, canonical_set, split

_FIXED = Struct(">HBBIIIH")
_RR_HEAD = Struct(">HHI")
_HALF = 1 << 31
_MASK = (1 << 32) - 1
_RIGHT_MAX = 4096
#: Unbound, Knot and ldns copy the signed octets to a buffer of this size.
_SIGNED_OCTETS_MAX = 65_535

#: A parent's DS or a parent that reads CDS needs to know which key made the RRSIGs over these, not only its tag.
_BY_KEY = frozenset({rrtypes.DNSKEY, rrtypes.CDS, rrtypes.CDNSKEY})

#: Validators ignore RRSIGs with these faults if there is a good one beside them (RFC 4035 §5.3.3).
_OVERLOOKED = frozenset({
    "rrsig-unknown-key", "rrsig-key-unusable", "rrsig-expired", "rrsig-not-yet-valid", "rrsig-period", "rrsig-signer",
})  # fmt: skip

#: Tells whether the signatures over a set were verified before, as the same octets, and need no cryptography.
Known = Callable[[RRset, Rrsigs], bool]


class _Candidates(NamedTuple):
    """The keys that may have made an RRSIG, and the checking functions of the usable ones."""

    keys: tuple[ZoneKey, ...]
    verifies: tuple[Verify, ...]
    rdatas: tuple[bytes, ...]


class SignatureJudge:
    """Checks the signatures of one zone at one time."""

    def __init__(
        self,
        report: Report,
        ring: KeyRing,
        algorithms: frozenset[int],
        now: int,
        min_validity: int,
        checker: SignatureChecker,
    ) -> None:
        self._report = report
        self._origin = report.origin
        self._signer_end = 18 + len(report.origin)
        self._body_max = _SIGNED_OCTETS_MAX - self._signer_end
        self._origin_labels = _count_labels(report.origin)
        self._ring = ring
        self._algorithms = algorithms
        self._dnskey_algorithms = ring.algorithms
        self._now = now & _MASK
        self._min_validity = min_validity
        self._queue = BatchQueue(checker, self._bad)
        self._by_tag: dict[tuple[int, int], _Candidates] = {}
        #: Faults of the RRSIGs of the set being judged: code, owner, type, detail.
        self._faults: list[tuple[str, bytes, int, str]] = []
        #: By type, TTL and labels of a set and all RRSIG fields but expiration: the candidate keys if all are
        #: right.
        self._right: dict[tuple[int, int, int, bytes, bytes], _Candidates] = {}
        self.known: Known | None = None
        self.trusted_keys: frozenset[bytes] = frozenset()

    def finish(self) -> None:
        """Wait for all signatures and report the bad ones."""
        self._queue.finish()

    def _bad(self, context: tuple[bytes, int, ZoneKey]) -> None:
        owner, rtype, key = context
        self._report.add("rrsig-bad", owner, rtype, f"the signature by {key.text} does not verify")

    def check(self, rrset: RRset, owner_wire: bytes, sigs: Rrsigs | None) -> list[ZoneKey]:
        """Judge the RRSIGs over an authoritative set; returns the keys with an RRSIG right in every field.

        Whether those signatures are cryptographically good is known after :meth:`finish` only.
        """
        owner, rtype, ttl, packed = rrset
        if sigs is None:
            self._report.add("rrset-unsigned", owner, rtype, "has no RRSIG")
            return []
        if sigs.ttl != ttl:
            self._report.add("rrsig-ttl", owner, rtype, f"RRSIG has TTL {sigs.ttl}, the set {ttl}")
        body = _signed_body(rtype, owner_wire, ttl, packed)
        if len(body) > self._body_max:
            detail = f"{len(body) + self._signer_end} octets are signed, at most {_SIGNED_OCTETS_MAX} can be validated"
            self._report.add("rrset-too-large", owner, rtype, detail)
        labels = self._origin_labels + owner.count(b"\0")
        if owner_wire.startswith(b"\x01*"):
            labels -= 1
        crypto = self.known is None or not self.known(rrset, sigs)
        least = self._min_validity if crypto else 0
        good: list[ZoneKey] = []
        seen = set()
        rdatas = split(sigs.rdata)
        if len(rdatas) > 1 and any(a >= b for a, b in pairwise(rdatas)):
            self._report.add("rrset-order", owner, rtype, "RRSIGs not in canonical order, or repeated")
        for rdata in rdatas:
            if len(rdata) < 20:
                self._report.add("rrsig-malformed", owner, rtype, "RRSIG is cut short")
                continue
            found = self._fields(owner, rtype, ttl, labels, rdata, least)
            if found is None or not found.keys[0].is_revoked:
                seen.add(rdata[2])
            if found is not None:
                good += _makers(found.keys, self._origin, rdata, body) if rtype in _BY_KEY else found.keys
                if crypto or any(key.rdata not in self.trusted_keys for key in found.keys):
                    self._enqueue(owner, rtype, found, rdata, body)
        wanted = self._algorithms if rtype != rrtypes.DNSKEY else self._dnskey_algorithms
        if not wanted <= seen:
            for algorithm in sorted(wanted - seen):
                self._report.add("algorithm-missing", owner, rtype, f"no RRSIG of algorithm {algorithm}")
        if self._faults:
            self._report_faults(rtype, {key.algorithm for key in good}, wanted)
        return good

    def _report_faults(self, rtype: int, right: set[int], wanted: frozenset[int]) -> None:
        """Report faults of the RRSIGs of a set: advice if there is a good RRSIG of each algorithm beside them.

        Not so for the DNSKEY RRset, where it matters which key signs.
        """
        spare = rtype != rrtypes.DNSKEY and bool(right) and wanted <= right
        for code, owner, found_type, detail in self._faults:
            rank = Rank.ADVICE if spare and code in _OVERLOOKED else None
            self._report.add(code, owner, found_type, detail, rank)
        self._faults.clear()

    def _enqueue(self, owner: bytes, rtype: int, found: _Candidates, rdata: bytes, body: bytes) -> None:
        keys, verifies, rdatas = found
        if verifies:
            message = rdata[:18] + self._origin + body
            job = SignatureJob(verifies, rdata[self._signer_end :], message, rdatas)
            self._queue.add(job, (owner, rtype, keys[0]))

    def _fields(
        self, owner: bytes, rtype: int, ttl: int, labels: int, rdata: bytes, least: int
    ) -> _Candidates | None:
        """Check all fields but the signature; returns the candidate keys, None after reporting."""
        place = (rtype, ttl, labels, rdata[:8], rdata[12 : self._signer_end])
        found = self._right.get(place)
        if found is not None and least <= (int.from_bytes(rdata[8:12], "big") - self._now) & _MASK < _HALF:
            return found
        found = self._each_field(owner, rtype, ttl, labels, rdata, least)
        if found is not None:
            if len(self._right) >= _RIGHT_MAX:
                self._right.clear()
            self._right[place] = found
        return found

    def _each_field(
        self, owner: bytes, rtype: int, ttl: int, labels: int, rdata: bytes, least: int
    ) -> _Candidates | None:
        covered, algorithm, labels_field, original_ttl, expiration, inception, tag = _FIXED.unpack_from(rdata)
        signer = rdata[18 : self._signer_end]
        if signer != self._origin and lower(signer) != self._origin:
            return self._wrong(owner, rtype, "rrsig-signer", "the signer name is not the zone")
        if covered != rtype:
            return self._wrong(owner, rtype, "rrsig-malformed", f"covers type {covered}")
        if labels_field != labels:
            return self._wrong(owner, rtype, "rrsig-labels", f"labels is {labels_field}, not {labels}")
        if original_ttl != ttl:
            detail = f"original TTL {original_ttl}, the set has {ttl}"
            return self._wrong(owner, rtype, "rrsig-original-ttl", detail)
        found = self._by_tag.get((algorithm, tag)) or self._candidates(owner, rtype, algorithm, tag)
        if found is None:
            return None
        key = found.keys[0]
        if key.is_revoked and rtype != rrtypes.DNSKEY:
            return self._wrong(owner, rtype, "rrsig-key-unusable", f"{key.text} is revoked")
        return found if self._in_time(owner, rtype, inception, expiration, key, least) else None

    def _in_time(
        self, owner: bytes, rtype: int, inception: int, expiration: int, key: ZoneKey, least: int
    ) -> bool:
        left = (expiration - self._now) & _MASK
        if left < _HALF and left >= least and (self._now - inception) & _MASK < _HALF:
            return True
        if (expiration - inception) & _MASK >= _HALF:
            self._wrong(owner, rtype, "rrsig-period", f"expires before its inception, by {key.text}")
        elif left >= _HALF:
            self._wrong(owner, rtype, "rrsig-expired", f"expired {_MASK + 1 - left} s ago, by {key.text}")
        elif left < least:
            detail = f"valid for {left} s more, {least} s demanded, by {key.text}"
            self._wrong(owner, rtype, "rrsig-validity-short", detail)
        else:
            ahead = (inception - self._now) & _MASK
            self._wrong(owner, rtype, "rrsig-not-yet-valid", f"valid in {ahead} s only, by {key.text}")
        return False

    def _candidates(self, owner: bytes, rtype: int, algorithm: int, tag: int) -> _Candidates | None:
        keys = self._ring.find(algorithm, tag)
        if not keys:
            detail = f"no DNSKEY with tag {tag} and algorithm {algorithm}"
            return self._wrong(owner, rtype, "rrsig-unknown-key", detail)
        usable = tuple(sorted((key for key in keys if key.is_zone_key), key=lambda key: key.is_revoked))
        if not usable:
            return self._wrong(owner, rtype, "rrsig-key-unusable", f"{keys[0].text} is not a zone key")
        checks = [(key.verify, key.rdata) for key in usable if key.verify is not None]
        found = _Candidates(usable, tuple(check for check, _ in checks), tuple(rdata for _, rdata in checks))
        self._by_tag[algorithm, tag] = found
        return found

    def _wrong(self, owner: bytes, rtype: int, code: str, detail: str) -> _Candidates | None:
        self._faults.append((code, owner, rtype, detail))
        return None


def dnskey_makers(ring: KeyRing, rrset: RRset, origin: bytes, rdata: bytes) -> tuple[ZoneKey, ...]:
    """Return the keys that made an RRSIG (RDATA) over the DNSKEY RRset, as far as its tag and signature tell."""
    keys = tuple(ring.find(rdata[2], rdata[16] << 8 | rdata[17]))
    return _makers(keys, origin, rdata, _signed_body(rrset.rtype, origin, rrset.ttl, rrset.rdata))


def _makers(keys: tuple[ZoneKey, ...], origin: bytes, rdata: bytes, body: bytes) -> tuple[ZoneKey, ...]:
    """Return those of the keys with an RRSIG's tag that made it; all of them if none did: that is reported elsewhere.

    A tag does not identify a key: an attacker who makes 65,536 keys has one with any tag.
    """
    if len(keys) < 2:
        return keys
    signature, message = rdata[18 + len(origin) :], rdata[:18] + origin + body
    return tuple(key for key in keys if key.verify is not None and key.verify(signature, message)) or keys


def _count_labels(wire: bytes) -> int:
    count = position = 0
    while length := wire[position]:
        count += 1
        position += length + 1
    return count


def _signed_body(rtype: int, owner_wire: bytes, ttl: int, packed: bytes) -> bytes:
    """Return what follows the RRSIG RDATA in the signed octets: the set in canonical form (RFC 4034 §3.1.8.1)."""
    head = owner_wire + _RR_HEAD.pack(rtype, rrtypes.CLASS_IN, ttl)
    if rtype not in NAME_TYPES and len(packed) == 2 + (packed[0] << 8 | packed[1]):
        return head + packed
    out = b""
    for rdata in canonical_set(rtype, packed):
        out += head + len(rdata).to_bytes(2, "big") + rdata
    return out
