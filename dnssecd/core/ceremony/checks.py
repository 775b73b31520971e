"""What a ceremony checks before it signs: the request against limits, and against the ceremony before.

A finding is a refusal, a point that a person has to confirm, or a check that passed; the report has all of them.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from enum import StrEnum
from itertools import pairwise

from msgspec import Struct

from dnssecd.core.ceremony.proof import proof_message
from dnssecd.core.ceremony.request import Request, Slot, ZskProof
from dnssecd.core.dns.names import wire_to_text
from dnssecd.core.keys.keyset import REVOKE, ZONE, key_tag
from dnssecd.core.utc import moment
from dnssecd.core.verify.keys import ZoneKey

DAY_S = 86_400


class Level(StrEnum):
    """How a check ended."""

    REFUSED = "refused"
    ATTENTION = "attention"
    GOOD = "good"


class Finding(Struct, frozen=True):
    """One check."""

    level: Level
    text: str


class Limits(Struct, frozen=True):
    """What a request may ask for (durations in seconds)."""

    validity_s_max: int = 60 * DAY_S
    period_s_max: int = 400 * DAY_S
    ahead_s_max: int = 120 * DAY_S
    overlap_s_min: int = 0
    ttl_s_max: int = 2 * DAY_S
    slots_max: int = 400
    sets_max: int = 16
    zsks_max: int = 32
    algorithms: frozenset[int] = frozenset({8, 10, 13, 14, 15, 16})


class Previous(Struct, frozen=True):
    """The ceremony before: number and hash of its request, hash of its response, its ZSKs, and its end (epoch s)."""

    zone: bytes
    number: int
    request: str
    response: str
    zsks: frozenset[bytes]
    until: int


Check = Callable[[Request, Limits, Previous | None, int], Iterator[Finding]]


def check_request(
    request: Request, limits: Limits, previous: Previous | None, now: int
) -> tuple[Finding, ...]:
    """Return the findings of all checks, in the order of the report."""
    return tuple(finding for check in CHECKS for finding in check(request, limits, previous, now))


def is_refused(findings: tuple[Finding, ...]) -> bool:
    """Return whether one of the findings forbids to sign."""
    return any(finding.level is Level.REFUSED for finding in findings)


def _no(text: str) -> Finding:
    return Finding(Level.REFUSED, text)


def _look(text: str) -> Finding:
    return Finding(Level.ATTENTION, text)


def _yes(text: str) -> Finding:
    return Finding(Level.GOOD, text)


def _follows(request: Request, _limits: Limits, previous: Previous | None, _now: int) -> Iterator[Finding]:
    """Check that the request continues where the ceremony before ended."""
    if previous is None:
        yield _look(
            "this is the first request of the zone here: compare its hash with the signer's, by voice"
        )
        return
    if request.zone != previous.zone:
        yield _no(f"the ceremony before was for {wire_to_text(previous.zone)}")
        return
    if request.digest.hex() == previous.request:
        yield _yes("it is the request that was signed last")
        return
    if not request.number:
        yield _look(
            "the format of the request has no number: whether it follows the one before cannot be seen"
        )
    elif request.number <= previous.number:
        yield _no(f"request {request.number} is not after request {previous.number}, which was signed here")
    if request.number and request.previous != previous.response and previous.response:
        yield _look("the signer has not imported the last response of this place")
    elif request.number:
        yield _yes(f"it follows request {previous.number}, whose response the signer has imported")
    if request.start > previous.until:
        yield _look(f"there is a gap: the signatures made before end {moment(previous.until)}")


def _known_zsks(request: Request, _limits: Limits, previous: Previous | None, _now: int) -> Iterator[Finding]:
    """Check that the first slot has a set of keys that were signed for before: not all keys change at once."""
    if previous is None or not request.slots:
        return
    new = sorted(key_tag(rdata) for rdata in request.zsks if rdata not in previous.zsks)
    if not any(set(zsks) <= previous.zsks for zsks in request.slots[0].sets):
        yield _no("no set of the first slot has only ZSKs of the ceremony before: the keys do not continue")
    else:
        yield _yes("the first slot continues with ZSKs of the ceremony before")
    if new:
        yield _yes(f"new ZSKs: key tags {', '.join(map(str, new))}")


def _keys(request: Request, limits: Limits, _previous: Previous | None, _now: int) -> Iterator[Finding]:
    if not 0 < len(request.zsks) <= limits.zsks_max:
        yield _no(f"{len(request.zsks)} ZSKs; at least 1 and at most {limits.zsks_max} are allowed")
    tags = [(rdata[3], key_tag(rdata)) for rdata in request.zsks]
    if len(set(tags)) < len(tags):
        yield _no("two ZSKs have the same key tag")
    for rdata in request.zsks:
        key = ZoneKey(rdata)
        if key.problem or not key.is_zone_key or int.from_bytes(rdata[:2]) & REVOKE or key.is_sep:
            why = key.problem or f"its flags are {int.from_bytes(rdata[:2])}, not {ZONE}"
            yield _no(f"ZSK {key.tag}: {why}")
        elif rdata[3] not in limits.algorithms:
            yield _no(f"ZSK {key.tag} has algorithm {rdata[3]}, which the limits do not allow")


def _online_ksks(
    request: Request, _limits: Limits, _previous: Previous | None, _now: int
) -> Iterator[Finding]:
    """Report KSKs that the signer holds itself: with a signature over them the signer can sign any DNSKEY RRset."""
    tags = ", ".join(str(key_tag(ksk.rdata)) for ksk in request.ksks if ksk.online)
    if tags:
        yield _look(f"the signer itself holds KSKs, which are signed for as well: key tags {tags}")


def check_cds(request: Request, limits: Limits, ksks: Collection[bytes]) -> Iterator[Finding]:
    """Check the CDS RRsets that the signer says it will publish; ``ksks``: DNSKEY RDATA of the keys that sign here."""
    if len(request.cds_sets) > limits.sets_max:
        yield _no(f"{len(request.cds_sets)} CDS sets; at most {limits.sets_max} are allowed")
        return
    for each in request.cds_sets:
        unknown = sorted(key_tag(rdata) for rdata in unknown_in_cds(request, each, ksks))
        if unknown:
            yield _look(
                f"the CDS RRset of KSKs {', '.join(str(key_tag(rdata)) for rdata in each)} is not signed: key tags "
                f"{', '.join(map(str, unknown))} sign neither here nor at the signer"
            )


def unknown_in_cds(request: Request, rdatas: Iterable[bytes], ksks: Collection[bytes]) -> set[bytes]:
    """Return the keys of a CDS set that neither a ceremony with ``ksks`` nor the signer holds: not to be signed."""
    return set(rdatas) - set(ksks) - {ksk.rdata for ksk in request.ksks if ksk.online}


def _period(request: Request, limits: Limits, _previous: Previous | None, now: int) -> Iterator[Finding]:
    slots = request.slots
    if not 0 < len(slots) <= limits.slots_max:
        yield _no(f"{len(slots)} slots; at least 1 and at most {limits.slots_max} are allowed")
        return
    if request.ttl > limits.ttl_s_max:
        yield _no(f"the TTL is {request.ttl} s; at most {limits.ttl_s_max} s are allowed")
    period = slots[-1].expiration - slots[0].inception
    if period > limits.period_s_max:
        yield _no(f"the period is {period} s; at most {limits.period_s_max} s are allowed")
    if slots[0].inception > now + limits.ahead_s_max:
        yield _no(f"it begins {moment(slots[0].inception)}, which is too far ahead")
    if slots[-1].expiration <= now:
        yield _no(f"it ended {moment(slots[-1].expiration)}")
    elif slots[0].expiration <= now:
        yield _look(f"its first slot expired {moment(slots[0].expiration)}")


def _slots(request: Request, limits: Limits, _previous: Previous | None, _now: int) -> Iterator[Finding]:
    for number, slot in enumerate(request.slots, 1):
        validity = slot.expiration - slot.inception
        if not 0 < validity <= limits.validity_s_max:
            yield _no(
                f"slot {number} is valid for {validity} s; at most {limits.validity_s_max} s are allowed"
            )
        if not 0 < len(slot.sets) <= limits.sets_max or not all(slot.sets):
            yield _no(
                f"slot {number} has {len(slot.sets)} sets; 1 to {limits.sets_max}, none empty, are allowed"
            )
    for number, (before, after) in enumerate(pairwise(request.slots), 2):
        if not _joins(before, after, limits.overlap_s_min):
            yield _no(
                f"slot {number} does not begin {limits.overlap_s_min} s or more before the one before it expires"
            )


def _joins(before: Slot, after: Slot, overlap_s: int) -> bool:
    return before.inception <= after.inception <= before.expiration - overlap_s


def _proofs(request: Request, _limits: Limits, previous: Previous | None, _now: int) -> Iterator[Finding]:
    """Check that each ZSK signed the request's hash; a known one among them shows who asks."""
    if not request.proofs:
        yield _look("the request is not signed: compare its hash with the signer's, by voice")
        return
    good = {
        rdata for rdata in request.zsks if any(_proves(request, rdata, proof) for proof in request.proofs)
    }
    missing = sorted(key_tag(rdata) for rdata in request.zsks if rdata not in good)
    if missing:
        yield _no(f"ZSKs without a good signature over the request: key tags {', '.join(map(str, missing))}")
    elif previous is not None and not good & previous.zsks:
        yield _no("no ZSK of the ceremony before signed the request: it is not clear who asks")
    else:
        yield _yes(f"all {len(good)} ZSKs signed the request")


def _proves(request: Request, rdata: bytes, proof: ZskProof) -> bool:
    key = ZoneKey(rdata)
    if (proof.algorithm, proof.tag) != (key.algorithm, key.tag) or key.verify is None:
        return False
    return key.verify(proof.signature, proof_message(request.zone, key.algorithm, key.tag, request.digest))


CHECKS: tuple[Check, ...] = (_follows, _proofs, _known_zsks, _keys, _online_ksks, _period, _slots)
