"""Verify a replayed record before it is committed: as a version, as a step from the previous one, as our own zone's.

The octets come from the database of the cluster, written by another node. A disk or a program that failed there, or
a person who can write to that database, must not reach the secondaries through this node. So a record is verified as of
its publication, and it must follow: the serial rises, the journal is the difference, the keys are signed for by keys
that the zone had before.
"""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import zip_longest
from typing import Protocol

from msgspec import structs

from dnssecd.core.dns.names import APEX, key_to_text
from dnssecd.core.dns.rrset import pack_one, unpack
from dnssecd.core.dns.rrtypes import APEX_DERIVED_TYPES, CDS, DNSKEY, SOA
from dnssecd.core.dns.serial import is_after
from dnssecd.core.keys.keyset import DELETE_CDS, key_tag, signing_view
from dnssecd.core.signing.lifetimes import full_time
from dnssecd.core.verify import (
    Expectation,
    SignatureChecker,
    VerificationFailed,
    VerifiedVersion,
    verify_version,
)
from dnssecd.core.zone.journal_check import NoRRs, StepsBack, judge_difference, split_rrs
from dnssecd.core.zone.zoneview import JournalChunk, ZoneView
from dnssecd.pipeline.follow.documents import document_faults, keyset_faults
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.held_denial import denial_of
from dnssecd.pipeline.version.verification import published_expectation
from dnssecd.replacing import replace
from dnssecd.store.interface import JournalRow, ReplayedVersion

#: Offset of the key tag in an RRSIG's RDATA, of the algorithm, and of the expiration (RFC 4034 §3.1).
_ALGORITHM, _EXPIRATION, _KEY_TAG = 2, slice(8, 12), slice(16, 18)
#: Seconds that the clocks of two nodes can differ: twice the largest ``clock_tolerance``.
CLOCKS_S = 7200


class Unfit(Exception):
    """The record does not verify; ``faults``: why, the first one in the message."""

    def __init__(self, *faults: str) -> None:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        super().__init__(f"{faults[0]}{more}")
        self.faults = faults


def judge_record(
    replayed: ReplayedVersion, spec: ZoneSpec, checker: SignatureChecker, now: int
) -> VerifiedVersion | None:
    """Return the token to commit a replayed version with; None for a record of state documents alone. Raise Unfit.

    now: epoch seconds.
    """
    for fault in document_faults(replayed):
        raise Unfit(fault)
    if not replayed.written:
        if state.VERSION in replayed.documents or replayed.steps():
            raise Unfit("it names a new version without any content")
        for fault in keyset_faults(replayed):
            raise Unfit(fault)
        return None
    expectation = _expectation(replayed, spec, now)
    for faults in (_step_faults, _key_faults, keyset_faults, partial(_dates, near=expectation.now)):
        for fault in faults(replayed):
            raise Unfit(fault)
    replayed.forget_reads()
    first = replayed.replaced or replayed.old.version is None
    verdict = verify_version(
        None if first else replayed.old,
        replayed,
        [place for place in replayed.changed if place[0] or place[1] not in (*APEX_DERIVED_TYPES, SOA)],
        replayed.touched,
        expectation,
        replayed,
        replayed.generation,
        verify_signatures=checker,
    )
    if isinstance(verdict, VerificationFailed):
        raise Unfit(*map(str, verdict.violations))
    return verdict


def _expectation(replayed: ReplayedVersion, spec: ZoneSpec, now: int) -> Expectation:
    """Return what the version must be: that of its own key set and time, with the denial that it has.

    The configuration of this node does not count: it may be a moment older or newer than that of the owner.
    """
    version = state.from_document(replayed.state(state.VERSION), state.VersionState)
    keyset = state.keyset_from(replayed.state(state.KEYSET))
    if version is None or keyset is None or not (replayed.replaced or state.VERSION in replayed.documents):
        raise Unfit("it writes content without the documents of a version")
    before = state.from_document(replayed.old.version, state.VersionState)
    for fault in (*_time_faults(before, version, now), *_serial_faults(replayed, before, version)):
        raise Unfit(fault)
    found = denial_of(replayed)
    as_stored = spec if found is None else structs.replace(spec, denial=found.kind, opt_out=found.opt_out)
    wanted = published_expectation(
        as_stored, signing_view(keyset, cds=True), version.serial, version.published_at
    )
    previous = None if before is None or replayed.replaced else before.serial
    return replace(wanted, zonemd=None, previous_serial=previous)


def _time_faults(before: state.VersionState | None, version: state.VersionState, now: int) -> Iterator[str]:
    """Yield why a version cannot have been published at its time: its signatures are judged as of then."""
    if version.published_at > now + CLOCKS_S:
        yield f"it is said to be published {version.published_at - now} s from now"
    elif before is not None and version.published_at < min(before.published_at, now) - CLOCKS_S:
        yield f"it is said to be published {before.published_at - version.published_at} s before the previous version"


def _serial_faults(
    replayed: ReplayedVersion, before: state.VersionState | None, version: state.VersionState
) -> Iterator[str]:
    """Yield why a snapshot cannot follow the version that this node has."""
    if before is None or not replayed.replaced:
        return
    if is_after(before.serial, version.serial):
        yield f"serial {version.serial} is before {before.serial}, which this node has"
    elif before.serial == version.serial and not _same(replayed.old, replayed):
        yield f"it has other content at serial {version.serial}, which this node has"


def _same(old: ZoneView, new: ZoneView) -> bool:
    """Tell whether two versions have the same RRsets, chain and RRSIGs."""
    pairs = (
        (old.scan(), new.scan()),
        (old.denial_scan(), new.denial_scan()),
        (old.rrsig_scan(), new.rrsig_scan()),
    )
    return all(mine == theirs for one, other in pairs for mine, theirs in zip_longest(one, other))


def _step_faults(replayed: ReplayedVersion) -> Iterator[str]:
    """Yield why the difference sequences are not those between the versions."""
    if replayed.replaced:
        yield from history_faults(replayed)
        return
    steps, rrs = replayed.steps(), _rrs_by_step(replayed)
    yield from _size_faults(steps, rrs)
    if len(steps) > 1:
        yield f"it has {len(steps)} difference sequences instead of one"
    elif steps:
        yield from _frame_faults(replayed, steps[0])
        removed, added = rrs.get(steps[0].sequence, NO_RRS)
        fault = judge_difference(replayed.old, replayed, replayed.changed, replayed.touched, removed, added)
        if fault:
            yield f"its difference sequence is not the difference of the versions: {fault}"


#: The RRs that a difference sequence deletes and adds.
Halves = tuple[list[bytes], list[bytes]]
NO_RRS: Halves = ([], [])


class WithHistory(ZoneView, Protocol):
    """A version with the difference sequences that led to it."""

    def steps(self) -> list[JournalRow]:
        """Return the difference sequences, without their RRs, in order."""
        ...

    def step_chunks(self) -> Iterator[tuple[int, JournalChunk]]:
        """Yield (sequence, chunk) of all RRs of the difference sequences."""
        ...


def _rrs_by_step(version: WithHistory) -> dict[int, Halves]:
    """Return the RRs removed and added by each difference sequence. Raise Unfit."""
    found: dict[int, Halves] = {}
    try:
        for sequence, chunk in version.step_chunks():
            found.setdefault(sequence, ([], []))[chunk.added].extend(split_rrs(chunk.rrs))
    except NoRRs as error:
        raise Unfit(f"its difference sequence has {error}") from None
    return found


def _size_faults(steps: list[JournalRow], rrs: dict[int, Halves]) -> Iterator[str]:
    if not rrs.keys() <= {step.sequence for step in steps}:
        yield "it has differences without their frame"
    elif any(step.octets != _octets(rrs.get(step.sequence, NO_RRS)) for step in steps):
        yield "it has more or fewer differences than their frame says"


def _octets(halves: Halves) -> int:
    return sum(len(rr) for half in halves for rr in half)


def history_faults(version: WithHistory) -> Iterator[str]:
    """Yield why the journal of a version cannot lead to it. Raise Unfit.

    What it did before cannot be known. Sequences before a gap are never served, and not judged.
    """
    steps, rrs = version.steps(), _rrs_by_step(version)
    yield from _size_faults(steps, rrs)
    back = StepsBack(version)
    soa = version.rrset(APEX, SOA)
    frame = None if soa is None else (soa.ttl, soa.rdata)
    for step in reversed(steps):
        if (step.new_soa_ttl, pack_one(step.new_soa)) != frame:
            if step is steps[-1]:
                yield "its newest difference sequence does not end at its SOA"
            return
        if (_serial(step.old_soa), _serial(step.new_soa)) != (step.from_serial, step.to_serial):
            yield "a difference sequence does not have the serials of its SOAs"
        fault = back.judge(*rrs.get(step.sequence, NO_RRS))
        if fault:
            yield f"the difference sequence to serial {step.to_serial} does not fit: {fault}"
            return
        frame = step.old_soa_ttl, pack_one(step.old_soa)


def _frame_faults(replayed: ReplayedVersion, step: JournalRow) -> Iterator[str]:
    for view, serial, rdata, ttl in (
        (replayed.old, step.from_serial, step.old_soa, step.old_soa_ttl),
        (replayed, step.to_serial, step.new_soa, step.new_soa_ttl),
    ):
        soa = view.rrset(APEX, SOA)
        if soa is None or (soa.ttl, soa.rdata) != (ttl, pack_one(rdata)):
            yield "its difference sequence does not have the SOAs of the versions"
        elif serial != _serial(rdata):
            yield "its difference sequence does not have the serials of the versions"


def _serial(soa: bytes) -> int:
    """Return the serial of an SOA's RDATA, which ends with five numbers of 32 bits (RFC 1035 §3.3.13)."""
    return int.from_bytes(soa[-20:-16])


def _key_faults(replayed: ReplayedVersion) -> Iterator[str]:
    """Yield why the DNSKEY RRset does not follow from the previous one: a key of it must have signed the new set.

    That the RRSIGs are correct is not judged here. A zone may become unsigned only after a deletion of its DS was
    requested with a CDS (RFC 8078 §4).
    """
    before, after = replayed.old.rrset(APEX, DNSKEY), replayed.rrset(APEX, DNSKEY)
    if before is None or (after is not None and before.rdata == after.rdata):
        return
    if after is None:
        if not _asks_for_deletion(replayed.old):
            yield "the zone becomes unsigned although no CDS asked the parent to delete the DS"
        return
    kept = set(unpack(before.rdata)) & set(unpack(after.rdata))
    marks = Counter((rdata[3], key_tag(rdata)) for rdata in unpack(after.rdata))
    trusted = {mark for mark in ((rdata[3], key_tag(rdata)) for rdata in kept) if marks[mark] == 1}
    sigs = replayed.rrsigs(APEX, DNSKEY)
    signers = (
        {(sig[_ALGORITHM], int.from_bytes(sig[_KEY_TAG])) for sig in unpack(sigs.rdata)} if sigs else set()
    )
    if not trusted & signers:
        yield "no key that the zone had before has signed its new DNSKEY RRset"


def _asks_for_deletion(view: ZoneView) -> bool:
    cds = view.rrset(APEX, CDS)
    return cds is not None and DELETE_CDS in unpack(cds.rdata)


def _dates(replayed: ReplayedVersion, near: int) -> Iterator[str]:
    """Yield where the noted expiration is not that of the RRSIGs, which would then not be renewed in time."""
    for owner, covered, rdata, expiration in replayed.rrsig_dates():
        ends = min(full_time(int.from_bytes(one[_EXPIRATION]), near) for one in unpack(rdata))
        if ends != expiration:
            name = key_to_text(owner, replayed.origin)
            yield f"{name}: RRSIG over type {covered} expires at {ends}, but {expiration} is noted"
            return
