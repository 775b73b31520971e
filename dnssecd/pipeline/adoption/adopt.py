"""Take over a zone from another signer: its keys with their states, and the zone as it is served.

The served version becomes the base (served_zone); dnssecd's first version then takes the normal path. RRSIGs
that are valid for long enough are kept, the others are made, and the verifier checks the whole zone. A
rehearsal (``shadow``) does the same and keeps nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from dnssecd.core.dns.names import APEX, key_to_text
from dnssecd.core.dns.rrset import RRset, unpack
from dnssecd.core.dns.rrtypes import APEX_DERIVED_TYPES, DNSKEY, SOA
from dnssecd.core.dns.serial import is_after
from dnssecd.core.keys.evidence import Evidence
from dnssecd.core.keys.keyset import Keyset, TtlMemory, key_tag
from dnssecd.core.keys.keystate import Rec, State
from dnssecd.core.keys.planner import plan_rollover
from dnssecd.core.keys.types import Blocker, Gate, RolloverPolicy
from dnssecd.core.signing.denial import DenialParameters
from dnssecd.core.signing.lifetimes import refresh_s
from dnssecd.core.verify import VerificationFailed, VerifiedVersion, Violation
from dnssecd.ingest.words import type_text
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_protocol import KeyInfo
from dnssecd.migration.foreign import ForeignError, ForeignKey, Held, adopted_keyset, is_gone
from dnssecd.ops.secret_text import redact_text
from dnssecd.pipeline.adoption.comparison import compare
from dnssecd.pipeline.adoption.differences import Comparison
from dnssecd.pipeline.adoption.served_zone import (
    ForeignZone,
    KeepRule,
    chain_of,
    read_transfer,
    read_zone_file,
)
from dnssecd.pipeline.jobs.content import judge_content
from dnssecd.pipeline.jobs.grants import names_of_input
from dnssecd.pipeline.jobs.input import AdoptionJob
from dnssecd.pipeline.jobs.job import Report, Tools, run_job
from dnssecd.pipeline.jobs.load import (
    check_guard,
    checked_content,
    merged_with_updates,
    parse_input,
    whole_input,
)
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.jobs.timing import check_timing
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.apex import soa_expire
from dnssecd.pipeline.version.draft import Draft, Input, Published, draft_version, verification_failed
from dnssecd.pipeline.version.first_keys import prove
from dnssecd.pipeline.version.held_denial import denial_token
from dnssecd.pipeline.version.rejected import Rejected
from dnssecd.pipeline.version.review import review
from dnssecd.pipeline.version.verification import DraftVerifier
from dnssecd.publish.commit import commit
from dnssecd.replacing import replace
from dnssecd.store.interface import ZoneStore, ZoneTransaction

_ALL_STEPS = frozenset({"zsk", "ksk", "algorithm"})


@dataclass
class _Made:
    """What a job reports in addition to its Outcome."""

    comparison: Comparison | None = None
    held: tuple[str, ...] = ()


class _BadKept(Exception):
    """Some kept RRSIGs are bad; ``violations`` say where."""

    def __init__(self, violations: tuple[Violation, ...]) -> None:
        super().__init__(str(violations[0]))
        self.places = {(v.owner, v.type) for v in violations}


def adopt(db: ZoneStore, spec: ZoneSpec, job: AdoptionJob, tools: Tools) -> Outcome:
    """Take over the zone, or rehearse it."""
    report, made = Report(), _Made()

    def work() -> Published:
        served = _served(spec, job)
        if job.shadow and _compared(db, served, made):
            return Published(None)
        content = _content(spec, job, served, report)
        task = _Task(spec, job, served, content, report, tools, made)
        try:
            return _take_over(db, task, frozenset())
        except _BadKept as bad:
            places = frozenset(_places(served, bad.places))
        try:
            return _take_over(db, task, places)
        except _BadKept:
            return _take_over(db, task, None)

    outcome = run_job(db, spec, report, work, tools)
    return msgspec.structs.replace(outcome, comparison=made.comparison, held=made.held)


class _Content(Struct, frozen=True):
    """Unsigned content, and its file if it has one."""

    rrsets: list[RRset]
    serial: int
    digest: str = ""


class _Task(Struct, frozen=True):
    """The inputs and results of one attempt."""

    spec: ZoneSpec
    job: AdoptionJob
    served: ForeignZone
    content: _Content
    report: Report
    tools: Tools
    made: _Made


def _compared(db: ZoneStore, served: ForeignZone, made: _Made) -> bool:
    """Compare with the published version; tell whether there is one."""
    with db.snapshot() as snapshot:
        if snapshot.version is not None:
            made.comparison = compare(served, snapshot)
    return made.comparison is not None


def _served(spec: ZoneSpec, job: AdoptionJob) -> ForeignZone:
    if job.server:
        return read_transfer(Path(job.signed), spec.origin, job.server)
    return read_zone_file(Path(job.signed), spec.origin)


def _content(spec: ZoneSpec, job: AdoptionJob, served: ForeignZone, report: Report) -> _Content:
    """Return the zone's own content: that of its file, or the served content if it has another source."""
    if job.content:
        parsed = parse_input(Path(job.content), spec, report, finished=True)
        return _Content(checked_content(parsed, spec, report), parsed.serial, parsed.digest.sha256.hex())
    rrsets = [r for r in served.scan() if r.owner or r.rtype not in APEX_DERIVED_TYPES]
    report.warn(judge_content(rrsets, spec, "the served zone has errors", "correct it at its source"))
    return _Content(rrsets, served.serial)


def _take_over(db: ZoneStore, task: _Task, bad: frozenset[tuple[bytes, int]] | None) -> Published:
    """Take over the zone, without the RRSIGs at the places ``bad``; None: without any RRSIG."""
    spec, job, tools, served = task.spec, task.job, task.tools, task.served
    chain = chain_of(served, spec.name)
    with db.write() as transaction:
        if transaction.old.version is not None:
            raise Rejected(
                "input-error", f"{spec.name} is already published here", f"dnssecd zone show {spec.name}"
            )
        keyset = _keyset(spec, job, served, tools)
        keyset, task.made.held = _hold(keyset, job.policy, chain, spec, tools.now)
        marks = frozenset((key.algorithm, key.tag) for key in keyset.keys if bad is not None)
        refresh, _ = refresh_s(spec.refresh_s, spec.validity_s, soa_expire(served.soa), _largest_ttl(served))
        rule = KeepRule(marks, tools.now, refresh, bad or frozenset())
        rule.version(served).put_under(transaction, tools.now)
        given = _input(transaction, task)
        transaction.set_state(state.ADOPTION, {})
        draft = draft_version(transaction, spec, keyset, given, tools.signer, tools.now, tools.date)
        assert draft is not None, "the first version of a zone is always made"
        verdict = _judge(draft, task, kept=bad is not None)
        task.made.comparison = compare(served, transaction)
        if job.shadow:
            return Published(None)
        _check_same(task, task.made.comparison)
        detail = (
            f"serial {served.serial} of another signer; {task.made.comparison.kept} RRsets kept their RRSIGs"
        )
        review(draft, tools.decisions, redact_text)
        transaction.add_history(tools.now, job.who, "zone adopted", draft.serial, detail)
        commit(verdict, transaction)
        return Published(draft.serial, len(draft.changes), draft.chain_changes, draft.signatures)


def _check_same(task: _Task, comparison: Comparison) -> None:
    """Raise Rejected if more than signatures would change and the operator has not accepted that."""
    if comparison.differing and not task.job.accept_change:
        first = comparison.differences[0]
        raise Rejected(
            "delta-guard",
            f"{comparison.differing} RRset(s) differ in more than signatures, the first: {first.owner} {first.type}: "
            f"{first.detail}",
            f"dnssecd migrate check {task.spec.name} lists them; to accept them, add --accept-change",
        )


def _input(transaction: ZoneTransaction, task: _Task) -> Input:
    spec, job, content = task.spec, task.job, task.content
    merged = (
        merged_with_updates(content.rrsets, transaction, spec, task.report) if job.content else content.rrsets
    )
    given = whole_input(
        transaction,
        merged,
        digest=content.digest,
        input_serial=content.serial,
        serial_floor=job.serial_floor,
    )
    check_timing(spec, given, task.report)
    if not job.accept_change and not job.shadow:
        check_guard(transaction, spec, given, names_of_input(transaction.old, spec) if job.content else None)
    return replace(given, resign=True)


def _judge(draft: Draft, task: _Task, *, kept: bool) -> VerifiedVersion:
    """Verify the whole zone, as a first version; our signer is not blamed for RRSIGs that it did not make."""
    if not is_after(draft.serial, task.served.serial):
        raise AssertionError("the first version has a serial after the served one")
    verifier = DraftVerifier(task.tools.checker, None if kept else task.tools.signer)
    verdict = verifier(replace(draft, previous_serial=None))
    if isinstance(verdict, VerificationFailed):
        if kept and all(violation.code.startswith("rrsig") for violation in verdict.violations):
            raise _BadKept(verdict.violations)
        raise verification_failed(verdict.violations)
    return verdict


def _keyset(spec: ZoneSpec, job: AdoptionJob, served: ForeignZone, tools: Tools) -> Keyset:
    """Return the imported key set: every key is in a key store and proven, and every served DNSKEY is in the set."""
    keys = [key for key in job.keys if key.rdata in served.dnskeys or not is_gone(key, tools.now)]
    missing = served.dnskeys - {key.rdata for key in keys}
    if missing:
        tags = ", ".join(str(key_tag(rdata)) for rdata in sorted(missing))
        raise Rejected(
            "key-missing",
            f"{spec.name} as served has DNSKEY {tags}, which was not imported",
            f"import it too (dnssecd key import {spec.name} …), or let the other signer finish its rollover",
        )
    held = _held_keys(spec, keys, tools.signer)
    at_parent = None if job.at_parent is None else frozenset(job.at_parent)
    try:
        keyset = adopted_keyset(
            spec.origin,
            keys,
            {rdata: Held(info.id, info.store, info.bits) for rdata, info in held.items()},
            served.dnskeys,
            at_parent,
            tools.now,
        )
    except ForeignError as error:
        raise Rejected("input-error", str(error), "see docs/migration.md") from error
    _check_signers(spec, keyset, served)
    dnskey = served.rrset(APEX, DNSKEY)
    assert dnskey is not None, "a signed zone has DNSKEYs"
    ttls = TtlMemory(dnskey.ttl), TtlMemory(_largest_ttl(served))
    return replace(keyset, ttl_dnskey=ttls[0], ttl_zone=ttls[1])


def _check_signers(spec: ZoneSpec, keyset: Keyset, served: ForeignZone) -> None:
    """Raise Rejected if, by its imported state, a key signs everything, but the served zone shows that it does not."""
    for key in keyset.keys:
        for rec, covered in ((Rec.KRRSIG, DNSKEY), (Rec.ZRRSIG, SOA)):
            sigs = served.rrsigs(APEX, covered)
            marks = (
                {(r[2], int.from_bytes(r[16:18])) for r in unpack(sigs.rdata)} if sigs is not None else set()
            )
            if key.record(rec).state is State.OMNIPRESENT and (key.algorithm, key.tag) not in marks:
                raise Rejected(
                    "input-error",
                    f"{key.role.value} {key.tag} signs all of {spec.name} according to its state, but it "
                    f"has no RRSIG over the {type_text(covered)} RRset as served",
                    "check that keys and states are current: export and import them again",
                )


def _held_keys(spec: ZoneSpec, keys: list[ForeignKey], signer: SignerClient) -> dict[bytes, KeyInfo]:
    found = {info.dnskey: info for info in signer.keys(spec.origin)}
    lacking = [key for key in keys if key.rdata not in found]
    if lacking:
        raise Rejected(
            "key-missing",
            f"the private key of {key_text(lacking[0])} is in no key store of dnssecd",
            f"dnssecd key import {spec.name} FILE imports it; for a key in a token: --cka-id or --label",
        )
    held = {key.rdata: found[key.rdata] for key in keys}
    for key in keys:
        if held[key.rdata].role != key.role.value:
            raise Rejected(
                "key-missing",
                f"{key_text(key)} is bound as {held[key.rdata].role} in the key store",
                "remove it there and import it again with its role",
            )
        prove(spec, held[key.rdata], signer)
    return held


def key_text(key: ForeignKey) -> str:
    """Return role and tag, and the origin of the key."""
    return f"{key.role.value} {key.tag}" + (f" ({key.source})" if key.source else "")


def _hold(
    keyset: Keyset, policy: RolloverPolicy, chain: DenialParameters, spec: ZoneSpec, now: int
) -> tuple[Keyset, tuple[str, ...]]:
    """Return the key set with every step that is due now held for approval, and the names of these steps."""
    everything = replace(policy, manual=_ALL_STEPS, freeze=(), holders_min=1)
    plan = plan_rollover(keyset, everything, Evidence(), now)
    due = [blocker for blocker in plan.blockers if blocker.gate is Gate.APPROVAL]
    tokens = [blocker.token for blocker in due]
    texts = [_due_text(blocker) for blocker in due]
    if chain != spec.denial_parameters:
        token = denial_token(chain, spec.denial_parameters)
        tokens.append(token)
        texts.append(f"{token}: the denial of existence in the policy differs from the zone's")
    return replace(keyset, held=tuple(tokens)), tuple(texts)


def _due_text(blocker: Blocker) -> str:
    return f"{blocker.token}: key {blocker.tag}: {blocker.detail}"


def _largest_ttl(zone: ForeignZone) -> int:
    return max(rrset.ttl for rrset in zone.scan())


def _places(zone: ForeignZone, texts: Iterable[tuple[str, str]]) -> Iterable[tuple[bytes, int]]:
    """Yield the places of RRSIGs that the verifier reported by owner and type."""
    wanted = set(texts)
    for sigs in zone.rrsig_scan():
        if (key_to_text(sigs.owner, zone.origin), type_text(sigs.covered)) in wanted:
            yield sigs.owner, sigs.covered
