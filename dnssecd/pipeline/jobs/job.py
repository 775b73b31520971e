"""What every job on a zone shares: its tools, what it reports, how it ends.

A job returns an Outcome; it raises an exception only for a bug in dnssecd.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrtypes import SOA
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.signing.lifetimes import refresh_s
from dnssecd.core.verify import SignatureChecker, VerificationFailed, VerifiedVersion
from dnssecd.core.zone.stale_input import SeenInput
from dnssecd.ingest.errors import FileChanged
from dnssecd.ingest.source import FileIdentity
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.ops.secret_text import redact_text
from dnssecd.pipeline.jobs.content import PROBLEMS_MAX
from dnssecd.pipeline.jobs.outcome import LogTrouble, Outcome, Problem
from dnssecd.pipeline.jobs.spec import NO_DECISIONS, Decisions, ZoneSpec
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.ahead import offline_dates
from dnssecd.pipeline.version.apex import soa_expire
from dnssecd.pipeline.version.bad_signatures import with_another_token
from dnssecd.pipeline.version.committed import first_version
from dnssecd.pipeline.version.draft import Draft, Input, Published, StoredVersion, Verifier, make_version
from dnssecd.pipeline.version.rejected import Rejected
from dnssecd.pipeline.version.review import ReviewPending, forget_kept, review
from dnssecd.pipeline.version.verification import DraftVerifier
from dnssecd.pipeline.workers.checker_pool import CheckerDied
from dnssecd.replacing import replace
from dnssecd.store.errors import DAMAGE, LogBehind, LogError, LogFenced, LogInDoubt, StoreError
from dnssecd.store.interface import ZoneStore, ZoneTransaction
from dnssecd.store.version_log import LogUnavailable

#: The events that are the input's fault.
_REJECTED = ("input-error", "delta-guard", "ttl-rejected", "input-stale", "review-rejected", "review-waiting")


class Tools(Struct, frozen=True):
    """The tools of every job; ``now`` is epoch seconds, ``date`` YYYYMMDD (UTC), ``monotonic`` a stopwatch."""

    signer: SignerClient
    checker: SignatureChecker
    now: int
    date: int
    monotonic: Callable[[], float]
    decisions: Decisions = NO_DECISIONS


@dataclass
class Report:
    """What a job finds while it runs; it becomes an Outcome at the end."""

    warnings: list[Problem] = field(default_factory=list)
    files: tuple[FileIdentity, ...] = ()
    stripped: int = 0
    input_serial: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    seen: SeenInput | None = None

    def warn(self, warnings: Iterable[Problem]) -> None:
        """Add new warnings, up to a bound."""
        self.warnings += [warning for warning in warnings if warning not in self.warnings]
        del self.warnings[PROBLEMS_MAX:]


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
        verifier_of(tools),
        tools.now,
        tools.date,
    )


def with_stored(transaction: ZoneTransaction, made: Published) -> Published:
    """Return what was made, with its stored data read in its transaction: the outcome then needs no snapshot."""
    if made.serial is None or made.soa is None or made.version is None or made.stored is not None:
        return made
    stored = StoredVersion(made.version, made.soa, transaction.earliest_expiration())
    first = first_version(transaction, made.version, made.soa) if transaction.old.version is None else None
    return replace(made, stored=stored, first=first)


def verifier_of(tools: Tools) -> Verifier:
    """Return the judge of a job's drafts: our verification, then the operator's review."""
    verify = DraftVerifier(tools.checker, tools.signer)

    def judge(draft: Draft) -> VerifiedVersion | VerificationFailed:
        verdict = verify(draft)
        if isinstance(verdict, VerifiedVersion):
            review(draft, tools.decisions, redact_text)
        return verdict

    return judge


def run_job(
    db: ZoneStore, spec: ZoneSpec, report: Report, work: Callable[[], Published], tools: Tools
) -> Outcome:
    """Run ``work``, and return its result, or the failure that it raises, as an Outcome."""
    started = tools.monotonic()
    problem: Rejected | None = None
    trouble: LogTrouble | None = None
    away = False
    made = Published(None)
    result = "failed"
    try:
        made = with_another_token(work, report.warnings.clear)
        result = "unchanged" if made.serial is None else "published"
    except Rejected as error:
        problem = error
        result = "rejected" if error.event in _REJECTED else "failed"
    except FileChanged as error:
        problem = Rejected("file-changing", str(error), "dnssecd reads it again shortly")
        result = "retry"
    except CheckerDied as error:
        problem = Rejected(
            "verification-failed", f"the new version could not be verified: {error}", "dnssecd tries again"
        )
    except SignerError as error:
        problem = Rejected(
            "signing-failed", f"{error} (fault: {error.fault})", "the previous version is still served"
        )
    except LogError as error:
        problem, trouble = _log_problem(error)
    except LogUnavailable as error:
        away = True
        problem = Rejected("database-unreachable", str(error), "the previous version is still served")
    except (StoreError, OSError) as error:
        problem = Rejected("store-failed", str(error), "check disk space and permissions")
    report.seconds["all"] = tools.monotonic() - started
    outcome = _finish(db, spec, report, made, result, problem, tools.now)
    if trouble is None and not away:
        return outcome
    return msgspec.structs.replace(outcome, log_trouble=trouble, log_away=away)


def _log_problem(error: LogError) -> tuple[Rejected, LogTrouble]:
    """Return the problem and the trouble of a commit that failed because of the zone's log."""
    still = "the previous version is still served"
    match error:
        case LogInDoubt():
            read = f"{still}; nothing new is decided for the zone before its log was read"
            return Rejected("log-in-doubt", str(error), read), LogTrouble(
                "in doubt", error.sequence, error.epoch
            )
        case LogBehind():
            space = f"{still}; check disk space and permissions: the version is then taken from the log"
            return Rejected("log-behind", str(error), space), LogTrouble(
                "behind", error.sequence, error.epoch
            )
        case LogFenced():
            follows = f"{still}; this node follows the new owner"
            return Rejected("log-fenced", str(error), follows), LogTrouble(
                "fenced", error.sequence, error.epoch
            )
        case _:
            return Rejected("log-fenced", str(error), still), LogTrouble("not owner")


def _stored(db: ZoneStore, spec: ZoneSpec) -> StoredVersion | None:
    """Return the stored data of the published version, None before the first version.

    None, too, for a passed zone with a restored version: that is not served before it was verified.
    """
    with db.snapshot() as snapshot:
        version = state.from_document(snapshot.version, state.VersionState)
        soa = snapshot.rrset(APEX, SOA)
        if version is None or soa is None:
            return None
        if spec.verify_only and state.restored_from(snapshot.state(state.RESTORED)) is not None:
            return None
        return StoredVersion(version, soa, snapshot.earliest_expiration())


def _offline_dates(db: ZoneStore, spec: ZoneSpec, refresh: int, now: int) -> tuple[int, int] | None:
    with db.snapshot() as snapshot:
        return offline_dates(snapshot, spec, refresh, now)


def _finish(
    db: ZoneStore,
    spec: ZoneSpec,
    report: Report,
    made: Published,
    result: str,
    problem: Rejected | None,
    now: int,
) -> Outcome:
    earliest = due = serial = None
    refresh = 0
    records = None
    try:
        stored = made.stored or _stored(db, spec)
        if stored is not None:
            version, earliest = stored.version, stored.earliest
            serial, records = version.serial, version.records
            expire = soa_expire(stored.soa)
            refresh, _ = refresh_s(spec.refresh_s, spec.validity_s, expire, version.largest_ttl)
            due = None if earliest is None or spec.verify_only else earliest - refresh
            if spec.offline:
                earliest, due = _offline_dates(db, spec, refresh, now) or (earliest, due)
    except (StoreError, *DAMAGE) as error:
        problem = problem or Rejected("store-failed", f"{type(error).__name__}: {error}")
        result = "failed"
    problems = () if problem is None else (Problem(problem.event, problem.cause, problem.remedy),)
    waiting = problem.digest if isinstance(problem, ReviewPending) else ""
    if spec.review is not None and result == "published":
        forget_kept(spec)
    return Outcome(
        zone=spec.name,
        result=result,
        review=waiting,
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
        seen=report.seen,
        whole=made.whole,
        first=made.first,
    )
