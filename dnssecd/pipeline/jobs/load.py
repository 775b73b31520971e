"""The job that makes a version from a zone's file, and what other jobs that bring content take of it."""

from collections.abc import Collection, Iterable
from operator import itemgetter
from pathlib import Path

from dnssecd.core.dns.rrset import RRset
from dnssecd.core.dns.rrtypes import APEX_DERIVED_TYPES, DS, SOA
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.signing.lifetimes import Window
from dnssecd.core.zone import deltaguard
from dnssecd.core.zone.changeset import diff
from dnssecd.core.zone.overlay import Overlay
from dnssecd.core.zone.stale_input import SeenInput
from dnssecd.core.zone.zoneview import ZoneView
from dnssecd.ingest.errors import FileChanged, ZoneFileErrors
from dnssecd.ingest.limits import DEFAULT_LIMITS
from dnssecd.ingest.locate import lines_of
from dnssecd.ingest.zonefile import ParsedZone, parse_zone_file
from dnssecd.pipeline.jobs.content import judge_content
from dnssecd.pipeline.jobs.foreign_input import make_with_foreign, with_input_keys
from dnssecd.pipeline.jobs.grants import names_of_input, with_updates
from dnssecd.pipeline.jobs.input_check import check_input, read_file_again
from dnssecd.pipeline.jobs.job import Report, Tools, make, run_job, with_stored
from dnssecd.pipeline.jobs.known_input import JudgedInput, judged, keep, recall, unchanged_input
from dnssecd.pipeline.jobs.memory import generated_octets_max
from dnssecd.pipeline.jobs.outcome import Outcome, Problem
from dnssecd.pipeline.jobs.shared_input import note_input, seen_now
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.jobs.timing import check_timing
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.ahead import read_ceremony
from dnssecd.pipeline.version.draft import Input, Published
from dnssecd.pipeline.version.first_keys import check_available, first_keyset
from dnssecd.pipeline.version.rejected import Rejected
from dnssecd.replacing import replace
from dnssecd.store.interface import Transaction, ZoneStore, ZoneTransaction


def load_file(
    db: ZoneStore,
    spec: ZoneSpec,
    path: Path,
    tools: Tools,
    *,
    accept_change: bool = False,
    serial_floor: int | None = None,
    resting: bool = False,
    accept_older: bool = False,
    seen: SeenInput | None = None,
) -> Outcome:
    """Make a version from the zone's file.

    accept_change: an operator has approved a change that the delta guard would stop. serial_floor: the latest
    serial seen at the secondaries before a first publication. resting: the file was not written for a while,
    so it is complete even if its last line has no line end. accept_older, seen: see jobs/shared_input.py.
    """
    report = Report()
    found: JudgedInput | None = None

    def work() -> Published:
        nonlocal found
        started = tools.monotonic()
        if (known := recall(db, spec, path, report)) is not None:
            with db.write() as transaction:
                same = unchanged_input(transaction, known, serial_floor)
                if same is not None:
                    report.seconds["parse"] = tools.monotonic() - started
                    return _make_known(transaction, spec, known, same, report, tools)
        parsed = parse_input(path, spec, report, finished=resting)
        foreign = parsed.dnskeys if spec.foreign_input else None
        report.warn(
            check_input(
                spec,
                parsed.stripped,
                lambda: read_file_again(path, spec.origin, parsed),
                tools.now,
                tools.checker,
                str(path),
            )
        )
        report.seconds["parse"] = tools.monotonic() - started
        rrsets = checked_content(parsed, spec, report)
        with db.write() as transaction:
            keyset = zone_keyset(transaction, spec, tools, foreign)
            merged = merged_with_updates(rrsets, transaction, spec, report)
            given = whole_input(
                transaction,
                merged,
                digest=parsed.digest.sha256.hex(),
                input_serial=parsed.serial,
                serial_floor=serial_floor,
            )
            found = judged(spec, path, report, given)
            check_timing(spec, given, report)
            report.seen = seen_now(transaction, given.digest, seen)
            note_input(transaction, spec, given.digest, seen, accept_older=accept_older)
            if not accept_change:
                check_guard(transaction, spec, given, names_of_input(transaction.old, spec))
            return with_stored(
                transaction, make_with_foreign(transaction, spec, keyset, given, tools, foreign)
            )

    outcome = run_job(db, spec, report, work, tools)
    if found is not None and outcome.result in ("published", "unchanged"):
        keep(db, found, tools.now)
    return outcome


def _make_known(
    transaction: ZoneTransaction,
    spec: ZoneSpec,
    known: JudgedInput,
    given: Input,
    report: Report,
    tools: Tools,
) -> Published:
    """Make the version that is due although the input is the one of the published version, if any."""
    report.stripped, report.input_serial = known.stripped, known.input_serial
    report.warn(known.warnings)
    check_timing(spec, given, report)
    return make(transaction, spec, zone_keyset(transaction, spec, tools), given, tools)


def merged_with_updates(
    rrsets: list[RRset], transaction: ZoneTransaction, spec: ZoneSpec, report: Report
) -> list[RRset]:
    """Replace RRsets of the file that dynamic updates own, and check the whole content again."""
    merged, ignored = with_updates(rrsets, transaction.old, spec)
    if ignored:
        report.warnings.append(Problem("grant-overlap", ignored, "remove them from the file"))
    if spec.grants and not spec.dynamic:
        warnings = judge_content(
            merged,
            spec,
            "the file conflicts with dynamic updates",
            "correct the file, or remove the updated RRset",
        )
        report.warn(warnings)
    return merged


def parse_input(
    path: Path, spec: ZoneSpec, report: Report, *, finished: bool = False, part: bool = False
) -> ParsedZone:
    """Read a zone file; raise Rejected or FileChanged.

    ``finished``: the file is no longer being written; ``part``: it may hold only a part of the zone.
    """
    limits = replace(DEFAULT_LIMITS, generated=generated_octets_max())
    try:
        parsed = parse_zone_file(
            path,
            spec.origin,
            limits,
            require_newline=not finished,
            part=part,
            keep_dnskeys=spec.foreign_input,
        )
    except FileChanged:
        raise
    except ZoneFileErrors as error:
        raise Rejected(
            "input-error",
            str(error),
            "correct the file; the previous version is still served",
            (str(fault) for fault in error.errors),
        ) from error
    report.files = parsed.digest.files
    report.stripped = sum(parsed.stripped.values())
    report.input_serial = parsed.serial
    report.warnings += [Problem("input-warning", str(warning)) for warning in parsed.warnings]
    return parsed


def checked_content(parsed: ParsedZone, spec: ZoneSpec, report: Report) -> list[RRset]:
    """Return the content to be signed; raise Rejected if no correct zone can be made of it."""
    path = Path(report.files[0].path)

    def locate(places: Collection[tuple[bytes, int]]) -> dict[tuple[bytes, int], str]:
        return lines_of(path, spec.origin, places, parsed.digest)

    report.warn(judge_content(parsed.rrsets, spec, str(path), "correct the file", locate=locate))
    return signable(parsed.rrsets)


def signable(rrsets: Iterable[RRset]) -> list[RRset]:
    """Return the RRsets without those at the apex that the signer makes itself."""
    return [rrset for rrset in rrsets if rrset.owner or rrset.rtype not in (DS, *APEX_DERIVED_TYPES)]


def adoption_awaited(zone: str) -> tuple[str, str]:
    """Return cause and remedy for a zone that waits for its adoption from another signer."""
    return (
        f"{zone} waits for its adoption from another signer: keys were imported with their states",
        f"dnssecd migrate check {zone} --against SERVER, then dnssecd migrate adopt {zone} --against "
        f"SERVER; to cancel the adoption: dnssecd migrate forget {zone}",
    )


def zone_keyset(
    transaction: ZoneTransaction,
    spec: ZoneSpec,
    tools: Tools,
    foreign: tuple[bytes, ...] | None = None,
) -> Keyset:
    """Return the zone's key set: the stored one, checked, or the first one, made now; raise Rejected.

    foreign: DNSKEY RDATA of other signers in the input, which a first key set has.
    """
    keyset = state.keyset_from(transaction.state(state.KEYSET))
    if keyset is None:
        if state.foreign_keys(transaction.state(state.ADOPTION)):
            raise Rejected("first-publication-waiting", *adoption_awaited(spec.name))
        keyset = first_keyset(spec, tools.signer, tools.now, read_ceremony(transaction))
        return with_input_keys(keyset, foreign, tools.now)
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
    """Return the job's input, given the whole ordered content: its differences from the published version."""
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
    """Yield changes without the RRsets that the signer makes at the apex, and without the SOA."""
    return (r for r in rrsets if r.owner or (r.rtype not in APEX_DERIVED_TYPES and r.rtype != SOA))


def check_guard(
    transaction: ZoneTransaction, spec: ZoneSpec, given: Input, input_names: int | None = None
) -> None:
    """Raise Rejected if the delta guard trips; ``input_names``: owner names of the input, None: all names."""
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
            f"to accept the change: dnssecd zone reload {spec.name} --accept-change",
        )
