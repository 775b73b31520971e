"""A transfer that was fetched becomes a version: the whole zone like a file, differences like an update.

The store holds the primaries' unsigned content at the version's ``input_serial``, so differences from that serial
apply to it exactly. Where one does not, what is held is not what the primary thinks: the job ends as
``ixfr-unusable`` and the zone is to be fetched whole.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from dnssecd.core import zonecheck
from dnssecd.core.changeset import Change
from dnssecd.core.names import APEX, key_to_text
from dnssecd.core.overlay import Overlay
from dnssecd.core.rrset import RRset, count
from dnssecd.core.rrtypes import APEX_DERIVED_TYPES, SOA
from dnssecd.core.serial import is_after
from dnssecd.ingest.collect import collector_paused, gather
from dnssecd.ingest.words import type_text
from dnssecd.ingest.xfrin import Current, Differences, Inbound, Received, TransferLimits, Whole, serial_of
from dnssecd.ingest.xfrin_apply import DoesNotFit, applied
from dnssecd.ingest.xfrin_wire import TransferError
from dnssecd.pipeline import state
from dnssecd.pipeline.apex import soa_serial
from dnssecd.pipeline.inputjobs import TransferJob
from dnssecd.pipeline.jobs import (
    PROBLEMS_MAX,
    Report,
    Tools,
    check_guard,
    check_timing,
    finding_text,
    make,
    run_job,
    soa_of,
    whole_input,
    zone_keyset,
)
from dnssecd.pipeline.outcome import Outcome, Problem
from dnssecd.pipeline.rejected import Rejected
from dnssecd.pipeline.spec import ZoneSpec
from dnssecd.pipeline.version import Input, Published
from dnssecd.server.update_rdata import RdataReader
from dnssecd.store.zonedb import WriteTransaction, ZoneDatabase

#: ``VersionState.digest`` of content that is exactly what the primaries have at ``input_serial``.
TRANSFERRED = "transfer"
#: Problems that another try can overcome: differences that do not fit; a stream that is no transfer.
IXFR_UNUSABLE = "ixfr-unusable"
TRANSFER_BROKEN = "transfer-broken"

TYPES_PER_NAME_MAX = 200
RRS_PER_RRSET_MAX = 10_000
#: Octets a row takes while a zone is put together, roughly from above.
_ROW_OCTETS = 400
_BLOCK_OCTETS = 1 << 20


def take_transfer(
    db: ZoneDatabase,
    spec: ZoneSpec,
    job: TransferJob,
    tools: Tools,
    limits: TransferLimits | None = None,
) -> Outcome:
    """Make the zone what was fetched says."""
    report = Report()

    def work() -> Published:
        started = tools.monotonic()
        with collector_paused():
            received = _received(job, spec.origin, report, limits or _limits())
            rrsets = _gathered(received, spec, report) if isinstance(received, Whole) else []
        report.seconds["parse"] = tools.monotonic() - started
        if isinstance(received, Current):
            return Published(None)
        report.input_serial = serial_of(received.soa)
        if isinstance(received, Differences):
            return _take_differences(db, spec, job, received, report, tools)
        return _take_whole(db, spec, job, rrsets, report, tools)

    return run_job(db, spec, report, work, tools)


def _limits() -> TransferLimits:
    """What half of the machine's memory can hold."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return TransferLimits(max(1_000_000, memory // 2 // _ROW_OCTETS))


def spooled(path: Path) -> Iterator[bytes]:
    """Yield the messages that the fetcher kept in a file."""
    left = b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK_OCTETS):
            block = left + block
            position, end = 0, len(block)
            while position + 2 <= end:
                after = position + 2 + (block[position] << 8 | block[position + 1])
                if after > end:
                    break
                yield block[position + 2 : after]
                position = after
            left = block[position:]
    if left:
        raise TransferError("the file of the transfer is cut short")


def _received(job: TransferJob, origin: bytes, report: Report, limits: TransferLimits) -> Received:
    inbound = Inbound(origin, job.base, RdataReader, limits)
    try:
        for wire in spooled(Path(job.path)):
            inbound.feed(wire)
        received = inbound.finish()
    except TransferError as error:
        event = TRANSFER_BROKEN if job.base is None else IXFR_UNUSABLE
        raise Rejected(
            event,
            f"primary {job.primary} sent what is no transfer of the zone: {error}",
            f"look at the zone at {job.primary}; the version before is being served on",
        ) from None
    report.stripped = sum(inbound.stripped.values())
    return received


def _take_whole(
    db: ZoneDatabase, spec: ZoneSpec, job: TransferJob, rrsets: list[RRset], report: Report, tools: Tools
) -> Published:
    _check(rrsets, spec, job, report, warnings=True)
    serial = soa_serial(soa_of(rrsets))
    with db.write() as transaction:
        keyset = zone_keyset(transaction, spec, tools)
        _check_forward(transaction, job, serial)
        given = whole_input(
            transaction, rrsets, digest=TRANSFERRED, input_serial=serial, serial_floor=job.serial_floor
        )
        check_timing(spec, given, report)
        if not job.replace:
            check_guard(transaction, spec, given)
        return make(transaction, spec, keyset, given, tools)


def _gathered(received: Whole, spec: ZoneSpec, report: Report) -> list[RRset]:
    received.rows.append(received.soa)
    gathered = gather(received.rows)
    if gathered.mixed:
        (owner, rtype), number = next(iter(gathered.mixed)), len(gathered.mixed)
        text = f"{number} RRset(s) have unequal TTLs, the first at {key_to_text(owner, spec.origin)} {type_text(rtype)}"
        report.warnings.append(Problem("input-warning", f"{text}; the smallest is used for all of a set"))
    return gathered.rrsets


def _check_forward(transaction: WriteTransaction, job: TransferJob, serial: int) -> None:
    before = state.from_document(transaction.old.version, state.VersionState)
    if before is None or job.replace or before.digest != TRANSFERRED:
        return
    if is_after(before.input_serial, serial):
        raise Rejected(
            "input-error",
            f"primary {job.primary} sent serial {serial}, which is before the {before.input_serial} that is held",
            "raise the serial at the primary; if the zone was begun anew there: "
            "dnssecd zone reload ZONE --accept-change",
        )


def _take_differences(
    db: ZoneDatabase, spec: ZoneSpec, job: TransferJob, received: Differences, report: Report, tools: Tools
) -> Published:
    with db.write() as transaction:
        keyset = zone_keyset(transaction, spec, tools)
        before = state.from_document(transaction.old.version, state.VersionState)
        if before is None or before.digest != TRANSFERRED:
            raise Rejected(IXFR_UNUSABLE, "nothing is held that differences could be applied to")
        old = transaction.old
        try:
            changes = applied(spec.origin, old.rrset, received.sequences)
        except DoesNotFit as error:
            cause = f"the differences from primary {job.primary} do not go with what is held: {error}"
            raise Rejected(IXFR_UNUSABLE, cause) from None
        soa = RRset._make(received.soa)
        owners_delta = _check_touched(transaction, spec, job, changes, soa, report)
        ttls = [change.new.ttl for change in changes if change.new is not None]
        given = Input(
            changes=changes,
            soa=soa,
            largest_ttl=max(before.largest_ttl, soa.ttl, *ttls),
            owners=before.owners + owners_delta,
            digest=TRANSFERRED,
            input_serial=serial_of(received.soa),
        )
        check_timing(spec, given, report)
        if not job.replace:
            check_guard(transaction, spec, given)
        return make(transaction, spec, keyset, given, tools)


def _check_touched(
    transaction: WriteTransaction,
    spec: ZoneSpec,
    job: TransferJob,
    changes: list[Change],
    soa: RRset,
    report: Report,
) -> int:
    """Check the names that changes touch and the apex; return owner names added less gone.

    All that makes an error of a zone is within one name, so the other names are as good as they were.
    """
    overlay = Overlay(transaction.old)
    overlay.apply([*changes, Change(APEX, SOA, None, soa)])
    touched = sorted({change.owner for change in changes} | {APEX})
    rrsets: list[RRset] = []
    delta = 0
    for owner in touched:
        after = [r for r in overlay.rrsets_at(owner) if owner or r.rtype not in APEX_DERIVED_TYPES]
        rrsets += after
        if owner:
            delta += bool(after) - (transaction.old.first_owner(owner, owner + b"\x00") is not None)
    _check(rrsets, spec, job, report, warnings=False)
    return delta


def _check(rrsets: list[RRset], spec: ZoneSpec, job: TransferJob, report: Report, *, warnings: bool) -> None:
    """Raise Rejected where no signer could make a good zone of it."""
    findings = zonecheck.check(rrsets, spec.origin)
    lines = [finding_text(finding, spec.origin) for finding in findings.errors] or _crowds(rrsets, spec)
    if lines:
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        cause = f"the zone at primary {job.primary} is not good: {lines[0]}{more}"
        raise Rejected("input-error", cause, "correct it there; the version before is being served on", lines)
    if warnings:
        report.warnings += [Problem("input-warning", finding_text(f, spec.origin)) for f in findings.warnings]
        del report.warnings[PROBLEMS_MAX:]


def _crowds(rrsets: list[RRset], spec: ZoneSpec) -> list[str]:
    """What would make the zone slow to serve everywhere: too many types at a name, or RRs in a set."""
    found = []
    owner, types = None, 0
    for rrset in rrsets:
        types = types + 1 if rrset.owner == owner else 1
        owner = rrset.owner
        if types == TYPES_PER_NAME_MAX + 1:
            found.append(f"{key_to_text(rrset.owner, spec.origin)} has over {TYPES_PER_NAME_MAX} types")
        # An RR takes two octets at least, so nothing smaller can be over the bound.
        if len(rrset.rdata) > 2 * RRS_PER_RRSET_MAX and count(rrset.rdata) > RRS_PER_RRSET_MAX:
            place = f"{key_to_text(rrset.owner, spec.origin)} {type_text(rrset.rtype)}"
            found.append(f"{place} has over {RRS_PER_RRSET_MAX} RRs")
    return found[:PROBLEMS_MAX]
