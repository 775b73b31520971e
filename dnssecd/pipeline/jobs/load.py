"""The jobs done on a zone: load its file, sign again what is due, verify it whole.

Each ends in an Outcome, never in an exception, but for defects of ours.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path

from dnssecd.core.dns.names import APEX, key_to_text
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.dns.rrtypes import APEX_DERIVED_TYPES, DS, SOA, type_text
from dnssecd.core.keys.keyset import Keyset, signing_view
from dnssecd.core.signing.lifetimes import DAY_S, Window, refresh_s
from dnssecd.core.verify import SignatureChecker, verify_zone
from dnssecd.core.zone import deltaguard
from dnssecd.core.zone.changeset import diff
from dnssecd.core.zone.overlay import Overlay
from dnssecd.core.zone.zoneview import ZoneView
from dnssecd.durations import about
from dnssecd.ingest.errors import FileChanged, ZoneFileErrors
from dnssecd.ingest.limits import DEFAULT_LIMITS
from dnssecd.ingest.locate import lines_of
from dnssecd.ingest.source import FileIdentity
from dnssecd.ingest.zonefile import ParsedZone, parse_zone_file
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.pipeline.jobs.content import PROBLEMS_MAX, judge_content
from dnssecd.pipeline.jobs.grants import names_of_input, with_updates
from dnssecd.pipeline.jobs.memory import generated_octets_max
from dnssecd.pipeline.jobs.outcome import Outcome, Problem
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.apex import soa_expire
from dnssecd.pipeline.version.bad_signatures import with_another_token
from dnssecd.pipeline.version.draft import Input, Published, StoredVersion, make_version
from dnssecd.pipeline.version.first_keys import check_available, first_keyset
from dnssecd.pipeline.version.held_denial import in_force
from dnssecd.pipeline.version.rejected import Rejected
from dnssecd.pipeline.version.verification import DraftVerifier, published_expectation
from dnssecd.pipeline.workers.checker_pool import CheckerDied
from dnssecd.store.errors import DAMAGE, StoreError
from dnssecd.store.interface import Transaction, ZoneStore, ZoneTransaction

#: A refresh below this, and below SOA expire + largest TTL, is an alert: a secondary that is cut off before a long
#: holiday serves expired RRSIGs when people are back.
REFRESH_ALERT_S = 7 * DAY_S


@dataclass(frozen=True)
class Tools:
    """What every job works with; ``now`` is epoch seconds, ``date`` YYYYMMDD (UTC), ``monotonic`` a stopwatch."""

    signer: SignerClient
    checker: SignatureChecker
    now: int
    date: int
    monotonic: Callable[[], float]


@dataclass
class Report:
    """What a job finds on its way; turned into an Outcome at the end."""

    warnings: list[Problem] = field(default_factory=list)
    files: tuple[FileIdentity, ...] = ()
    stripped: int = 0
    input_serial: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def warn(self, warnings: Iterable[Problem]) -> None:
        """Add warnings that are not there yet, up to a bound."""
        self.warnings += [warning for warning in warnings if warning not in self.warnings]
        del self.warnings[PROBLEMS_MAX:]


def load_file(
    db: ZoneStore,
    spec: ZoneSpec,
    path: Path,
    tools: Tools,
    *,
    accept_change: bool = False,
    serial_floor: int | None = None,
    resting: bool = False,
) -> Outcome:
    """Make the zone what its file says.

    accept_change: a person has approved what the delta guard would stop. serial_floor: the latest serial seen at
    the secondaries before a first publication. resting: the file was not written for a while, so that it is whole
    even if its last line has no line end.
    """
    report = Report()

    def work() -> Published:
        started = tools.monotonic()
        parsed = parse_input(path, spec, report, finished=resting)
        report.seconds["parse"] = tools.monotonic() - started
        rrsets = checked_content(parsed, spec, report)
        with db.write() as transaction:
            keyset = zone_keyset(transaction, spec, tools)
            merged = merged_with_updates(rrsets, transaction, spec, report)
            given = whole_input(
                transaction,
                merged,
                digest=parsed.digest.sha256.hex(),
                input_serial=parsed.serial,
                serial_floor=serial_floor,
            )
            check_timing(spec, given, report)
            if not accept_change:
                check_guard(transaction, spec, given, names_of_input(transaction.old, spec))
            return make(transaction, spec, keyset, given, tools)

    return run_job(db, spec, report, work, tools)


def resign(db: ZoneStore, spec: ZoneSpec, tools: Tools) -> Outcome:
    """Make anew the RRSIGs that come due, and whatever a changed policy asks for; content stays as it is."""
    report = Report()

    def work() -> Published:
        with db.write() as transaction:
            before = state.from_document(transaction.old.version, state.VersionState)
            keyset = state.keyset_from(transaction.state(state.KEYSET))
            if before is None or keyset is None:
                return Published(None)
            check_available(spec, keyset, tools.signer)
            soa = transaction.rrset(APEX, SOA)
            assert soa is not None, "a published version has an SOA"
            given = Input([], soa, before.largest_ttl, before.owners, resign=True)
            return make(transaction, spec, keyset, given, tools)

    return run_job(db, spec, report, work, tools)


def verify_published(db: ZoneStore, spec: ZoneSpec, tools: Tools) -> Outcome:
    """Verify the whole zone as it is published: against what the disk, or a defect of ours, did to it."""
    report = Report()

    def work() -> Published:
        try:
            faults = _published_faults(db, spec, tools)
        except DAMAGE as error:
            faults = [f"the database cannot be read: {type(error).__name__}: {error}"]
        if faults is None:
            return Published(None)
        if faults:
            raise Rejected(
                "verification-failed",
                f"the published version has faults: {faults[0]}",
                f"list them: dnssecd zone export {spec.name} -o F && dnssecd verify F --origin {spec.name}",
                faults,
            )
        return Published(None, whole=True)

    return run_job(db, spec, report, work, tools)


def _published_faults(db: ZoneStore, spec: ZoneSpec, tools: Tools) -> list[str] | None:
    """Return what is wrong with the published version; None when there is none."""
    with db.snapshot() as snapshot:
        keyset = state.keyset_from(snapshot.state(state.KEYSET))
        if snapshot.version is None or keyset is None:
            return None
        wanted = published_expectation(
            in_force(spec, snapshot, keyset),
            signing_view(keyset, cds=spec.cds),
            snapshot.serial,
            tools.now,
        )
        return [str(fault) for fault in verify_zone(snapshot, wanted, PROBLEMS_MAX, tools.checker)]


def make(
    transaction: ZoneTransaction, spec: ZoneSpec, keyset: Keyset, given: Input, tools: Tools
) -> Published:
    """Make, verify and commit the next version with a job's tools."""
    return make_version(
        transaction,
        spec,
        keyset,
        given,
        tools.signer,
        DraftVerifier(tools.checker, tools.signer),
        tools.now,
        tools.date,
    )


def merged_with_updates(
    rrsets: list[RRset], transaction: ZoneTransaction, spec: ZoneSpec, report: Report
) -> list[RRset]:
    """Put what belongs to dynamic updates in place of what the file has there, and check the whole again."""
    merged, ignored = with_updates(rrsets, transaction.old, spec)
    if ignored:
        report.warnings.append(Problem("grant-overlap", ignored, "take them out of the file"))
    if spec.grants and not spec.dynamic:
        warnings = judge_content(
            merged,
            spec,
            "the file does not go with what was updated dynamically",
            "correct the file, or remove the updated RRset",
        )
        report.warn(warnings)
    return merged


def parse_input(
    path: Path, spec: ZoneSpec, report: Report, *, finished: bool = False, part: bool = False
) -> ParsedZone:
    """Read a zone file; Raises Rejected, FileChanged.

    ``finished`` says that it is not being written any more, ``part`` that it may hold some of the zone only.
    """
    limits = replace(DEFAULT_LIMITS, generated=generated_octets_max())
    try:
        parsed = parse_zone_file(path, spec.origin, limits, require_newline=not finished, part=part)
    except FileChanged:
        raise
    except ZoneFileErrors as error:
        raise Rejected(
            "input-error",
            str(error),
            "correct the file; the version before is being served on",
            (str(fault) for fault in error.errors),
        ) from error
    report.files = parsed.digest.files
    report.stripped = sum(parsed.stripped.values())
    report.input_serial = parsed.serial
    report.warnings += [Problem("input-warning", str(warning)) for warning in parsed.warnings]
    return parsed


def checked_content(parsed: ParsedZone, spec: ZoneSpec, report: Report) -> list[RRset]:
    """Return the content to be signed; raises Rejected where no signer could make a good zone of it."""
    path = Path(report.files[0].path)

    def locate(places: Collection[tuple[bytes, int]]) -> dict[tuple[bytes, int], str]:
        return lines_of(path, spec.origin, places, parsed.digest)

    report.warn(judge_content(parsed.rrsets, spec, str(path), "correct the file", locate=locate))
    return signable(parsed.rrsets)


def signable(rrsets: Iterable[RRset]) -> list[RRset]:
    """Return the RRsets without those at the apex that are not the input's to say."""
    return [rrset for rrset in rrsets if rrset.owner or rrset.rtype not in (DS, *APEX_DERIVED_TYPES)]


def adoption_awaited(zone: str) -> tuple[str, str]:
    """Return what to say, and what to do, of a zone that is to come over from another signer."""
    return (
        f"{zone} waits to come over from another signer: keys were imported with their states",
        f"dnssecd migrate check {zone} --against SERVER, then dnssecd migrate adopt {zone} --against SERVER; "
        f"to give that up: dnssecd migrate forget {zone}",
    )


def zone_keyset(transaction: ZoneTransaction, spec: ZoneSpec, tools: Tools) -> Keyset:
    keyset = state.keyset_from(transaction.state(state.KEYSET))
    if keyset is None:
        if state.foreign_keys(transaction.state(state.ADOPTION)):
            raise Rejected("first-publication-waiting", *adoption_awaited(spec.name))
        return first_keyset(spec, tools.signer, tools.now)
    check_available(spec, keyset, tools.signer)
    return keyset


def whole_input(
    transaction: Transaction,
    rrsets: list[RRset],
    *,
    digest: str = "",
    input_serial: int | None = None,
    serial_floor: int | None = None,
    window: Window | None = None,
) -> Input:
    """Return the job's input where the whole content is at hand (ordered): what differs from what is published."""
    content = (r for r in rrsets if r[0] or r[1] != SOA)
    changes = list(diff(_unsigned(transaction.old.scan()), content))
    return Input(
        changes=changes,
        soa=soa_of(rrsets),
        largest_ttl=max(map(itemgetter(2), rrsets)),
        owners=len(set(map(itemgetter(0), rrsets))),
        digest=digest,
        input_serial=input_serial,
        serial_floor=serial_floor,
        rrsets=rrsets,
        window=window,
    )


def soa_of(rrsets: list[RRset]) -> RRset:
    """Return the apex SOA RRset of ordered, checked content."""
    return next(rrset for rrset in rrsets if rrset.rtype == SOA and not rrset.owner)


def _unsigned(rrsets: Iterable[RRset]) -> Iterable[RRset]:
    """Leave out what the signer puts at the apex itself, and the SOA, whose serial is the signer's."""
    return (r for r in rrsets if r.owner or (r.rtype not in APEX_DERIVED_TYPES and r.rtype != SOA))


def check_timing(spec: ZoneSpec, given: Input, report: Report) -> None:
    soa, largest_ttl = given.soa, max(given.largest_ttl, spec.dnskey_ttl)
    refresh, capped = refresh_s(spec.refresh_s, spec.validity_s, soa_expire(soa), largest_ttl)
    if refresh <= largest_ttl:
        raise Rejected(
            "ttl-rejected",
            f"the zone's largest TTL, {largest_ttl} s ({about(largest_ttl)}){_largest(spec, given)}, "
            f"is not below the signature refresh, "
            f"{refresh} s ({about(refresh)}): caches would keep RRsets longer than their RRSIGs are good",
            "lower the TTL, or raise signature_validity or signature_refresh in the policy; what is published is "
            "served and refreshed on",
        )
    _note_refresh(refresh, soa_expire(soa), largest_ttl, report, capped=capped)


def _note_refresh(refresh: int, expire: int, largest_ttl: int, report: Report, *, capped: bool) -> None:
    """Note a refresh that does not cover SOA expire + largest TTL: an alert where there is no time to act, too.

    RIPE-203's expire of 1000 h exceeds half of the default validity: two weeks are left then to reach a secondary.
    """
    needed = expire + largest_ttl
    times = f"SOA expire ({about(expire)}) plus the largest TTL ({about(largest_ttl)})"
    remedy = "lower the SOA's expire or raise signature_validity"
    if refresh < needed:
        event = "refresh-capped" if refresh < REFRESH_ALERT_S else "refresh-short"
        cause = (
            f"signatures are renewed {about(refresh)} before they expire, which is shorter than {times}: a secondary "
            f"that gets no new version for {about(refresh)} can serve expired RRSIGs"
        )
        report.warnings.append(Problem(event, cause, remedy))
    elif capped:
        cause = (
            f"signatures are renewed {about(refresh)} before they expire, half of signature_validity: that is "
            f"{about(needed + DAY_S - refresh)} short of {times} plus a day"
        )
        report.warnings.append(Problem("refresh-halved", cause, remedy))


def _largest(spec: ZoneSpec, given: Input) -> str:
    """Say whose TTL is the largest, as far as the content is at hand."""
    if spec.dnskey_ttl >= given.largest_ttl:
        return " of dnskey_ttl in the policy"
    for owner, rtype, ttl, _ in given.rrsets or ():
        if ttl == given.largest_ttl:
            return f" of {key_to_text(owner, spec.origin)} {type_text(rtype)}"
    return ""


def check_guard(
    transaction: ZoneTransaction, spec: ZoneSpec, given: Input, input_names: int | None = None
) -> None:
    """Raise Rejected where the delta guard trips; ``input_names``: owner names of the input, None: all there are."""
    before = state.from_document(transaction.old.version, state.VersionState)

    def after() -> ZoneView:
        overlay = Overlay(transaction.old)
        overlay.apply(given.changes)
        return overlay

    names = (before.owners if input_names is None else input_names) if before else 0
    verdict = deltaguard.judge(given.changes, names, spec.max_change, spec.origin, after)
    if verdict.tripped:
        raise Rejected(
            "delta-guard",
            "; ".join(verdict.reasons),
            f"if this is meant: dnssecd zone reload {spec.name} --accept-change",
        )


def run_job(
    db: ZoneStore, spec: ZoneSpec, report: Report, work: Callable[[], Published], tools: Tools
) -> Outcome:
    started = tools.monotonic()
    problem: Rejected | None = None
    made = Published(None)
    result = "failed"
    try:
        made = with_another_token(work, report.warnings.clear)
        result = "unchanged" if made.serial is None else "published"
    except Rejected as error:
        problem = error
        result = "rejected" if error.event in ("input-error", "delta-guard", "ttl-rejected") else "failed"
    except FileChanged as error:
        problem = Rejected("file-changing", str(error), "it is read again shortly")
        result = "retry"
    except CheckerDied as error:
        problem = Rejected(
            "verification-failed", f"the new version could not be verified: {error}", "it is tried again"
        )
    except SignerError as error:
        problem = Rejected(
            "signing-failed", f"{error} (fault: {error.fault})", "the version before is served on"
        )
    except (StoreError, OSError) as error:
        problem = Rejected("store-failed", str(error), "see disk space and permissions")
    report.seconds["all"] = tools.monotonic() - started
    return _finish(db, spec, report, made, result, problem)


def _stored(db: ZoneStore) -> StoredVersion | None:
    """Return what is stored of the published version, None before the first."""
    with db.snapshot() as snapshot:
        version = state.from_document(snapshot.version, state.VersionState)
        soa = snapshot.rrset(APEX, SOA)
        if version is None or soa is None:
            return None
        return StoredVersion(version, soa, snapshot.earliest_expiration())


def _finish(
    db: ZoneStore,
    spec: ZoneSpec,
    report: Report,
    made: Published,
    result: str,
    problem: Rejected | None,
) -> Outcome:
    earliest = due = serial = None
    refresh = 0
    records = None
    try:
        stored = made.stored or _stored(db)
        if stored is not None:
            version, earliest = stored.version, stored.earliest
            serial, records = version.serial, version.records
            expire = soa_expire(stored.soa)
            refresh, _ = refresh_s(spec.refresh_s, spec.validity_s, expire, version.largest_ttl)
            due = None if earliest is None else earliest - refresh
    except (StoreError, *DAMAGE) as error:
        problem = problem or Rejected("store-failed", f"{type(error).__name__}: {error}")
        result = "failed"
    problems = () if problem is None else (Problem(problem.event, problem.cause, problem.remedy),)
    return Outcome(
        zone=spec.name,
        result=result,
        serial=serial,
        input_serial=report.input_serial,
        problems=problems,
        warnings=tuple(report.warnings),
        changed_rrsets=made.changed_rrsets,
        chain_changes=made.chain_changes,
        signatures=made.signatures,
        stripped=report.stripped,
        violations=problem.violations[:100] if problem else (),
        earliest_expiration=earliest,
        next_due=due,
        refresh_s=refresh,
        records=records,
        seconds=report.seconds,
        files=report.files,
        whole=made.whole,
    )
