"""Import a zone file into a dynamic zone: it replaces all content, or is merged into it."""

from pathlib import Path

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.dns.rrtypes import APEX_DERIVED_TYPES, SOA
from dnssecd.ingest.errors import FileChanged
from dnssecd.pipeline.jobs.content import judge_content
from dnssecd.pipeline.jobs.input import ImportJob
from dnssecd.pipeline.jobs.job import Report, Tools, make, run_job
from dnssecd.pipeline.jobs.load import (
    check_guard,
    checked_content,
    parse_input,
    signable,
    whole_input,
    zone_keyset,
)
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.jobs.timing import check_timing
from dnssecd.pipeline.version.apex import with_serial
from dnssecd.pipeline.version.draft import Input, Published
from dnssecd.pipeline.version.rejected import Rejected
from dnssecd.store.interface import ZoneStore, ZoneTransaction


def import_file(db: ZoneStore, spec: ZoneSpec, job: ImportJob, tools: Tools) -> Outcome:
    """Import a file into the zone."""
    report = Report()

    def work() -> Published:
        try:
            parsed = parse_input(Path(job.path), spec, report, finished=True, part=job.merge)
        except FileChanged as changed:
            raise Rejected("input-error", str(changed), "import it again when it is complete") from None
        with db.write() as transaction:
            part = job.merge and transaction.old.version is not None
            rrsets = signable(parsed.rrsets) if part else checked_content(parsed, spec, report)
            if job.compare:
                return _compared(rrsets, transaction)
            keyset = zone_keyset(transaction, spec, tools)
            if part:
                rrsets = _merged(rrsets, transaction, spec, report)
            given = whole_input(
                transaction,
                rrsets,
                digest=parsed.digest.sha256.hex(),
                input_serial=parsed.serial if _has_soa(parsed.rrsets) else None,
                serial_floor=job.serial_floor,
            )
            check_timing(spec, given, report)
            if not job.accept_change:
                _guard(transaction, spec, job, given)
            return make(transaction, spec, keyset, given, tools)

    return run_job(db, spec, report, work, tools)


def _guard(transaction: ZoneTransaction, spec: ZoneSpec, job: ImportJob, given: Input) -> None:
    try:
        check_guard(transaction, spec, given)
    except Rejected as held:
        how = "--merge" if job.merge else "--replace"
        command = f"dnssecd zone import {spec.name} {job.path} {how} --accept-change"
        raise Rejected(held.event, held.cause, f"to accept the change: {command}") from None


def _compared(rrsets: list[RRset], transaction: ZoneTransaction) -> Published:
    given, held = whole_input(transaction, rrsets), transaction.old.rrset(APEX, SOA)
    if given.changes or held is None or with_serial(held, 0) != with_serial(given.soa, 0):
        raise Rejected("input-error", f"the file differs from the zone in {len(given.changes)} RRset(s)")
    return Published(None)


def _has_soa(rrsets: list[RRset]) -> bool:
    return any(rrset.rtype == SOA and not rrset.owner for rrset in rrsets)


def _merged(rrsets: list[RRset], transaction: ZoneTransaction, spec: ZoneSpec, report: Report) -> list[RRset]:
    """Return the published content, with the file's RRsets instead of those of the same name and type."""
    places = {rrset[:2] for rrset in rrsets}
    merged = rrsets + [
        rrset
        for rrset in transaction.old.scan()
        if rrset[:2] not in places and (rrset.owner or rrset.rtype not in APEX_DERIVED_TYPES)
    ]
    merged.sort(key=lambda rrset: rrset[:2])
    report.warn(judge_content(merged, spec, "the file conflicts with the content of the zone", "correct it"))
    return merged
