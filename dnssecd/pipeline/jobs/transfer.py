"""A transfer that was fetched becomes a version: the whole zone like a file, differences like an update.

The store holds the primaries' unsigned content at the version's ``input_serial``, so differences from that serial
apply to it exactly. Where one does not, what is held is not what the primary thinks: the job ends as
``ixfr-unusable`` and the zone is to be fetched whole.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from dnssecd.core.dns.names import APEX, key_to_text, wire_to_text
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.dns.rrtypes import NS, SOA
from dnssecd.core.dns.serial import is_after
from dnssecd.core.zone.changeset import Change
from dnssecd.core.zone.overlay import Overlay
from dnssecd.ingest.collect import collector_paused, gather
from dnssecd.ingest.words import TTL_MAX, type_text
from dnssecd.ingest.xfrin import Current, Differences, Inbound, Received, TransferLimits, Whole, serial_of
from dnssecd.ingest.xfrin_apply import DoesNotFit, applied
from dnssecd.ingest.xfrin_wire import Overlooked, TransferError
from dnssecd.pipeline.jobs.content import judge_content, judge_difference
from dnssecd.pipeline.jobs.input import TransferJob
from dnssecd.pipeline.jobs.load import (
    Report,
    Tools,
    check_guard,
    check_timing,
    make,
    run_job,
    soa_of,
    whole_input,
    zone_keyset,
)
from dnssecd.pipeline.jobs.memory import memory_available
from dnssecd.pipeline.jobs.outcome import Outcome, Problem
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.apex import soa_serial
from dnssecd.pipeline.version.draft import Input, Published
from dnssecd.pipeline.version.rejected import Rejected
from dnssecd.server.update_rdata import RdataReader
from dnssecd.store.interface import ZoneStore, ZoneTransaction

#: ``VersionState.digest`` of content that is exactly what the primaries have at ``input_serial``.
TRANSFERRED = "transfer"
#: Problems that another try can overcome: differences that do not fit; a stream that is no transfer.
IXFR_UNUSABLE = "ixfr-unusable"
TRANSFER_BROKEN = "transfer-broken"

#: In a zone of at most so many records all delegations are read where a name server's address goes.
_SCANNED_RECORDS_MAX = 200_000
#: Octets a row takes while a zone is put together, roughly from above.
_ROW_OCTETS = 400
_BLOCK_OCTETS = 1 << 20


def take_transfer(
    db: ZoneStore,
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
    """What a quarter of the memory that is free now can hold: two workers may do this at the same time."""
    return TransferLimits(max(1_000_000, memory_available() // 4 // _ROW_OCTETS))


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
    report.warn(_overlooked(inbound.overlooked, job.primary))
    return received


def _overlooked(found: Overlooked, primary: str) -> Iterator[Problem]:
    """Say what was not taken as it stands."""
    if found.outside:
        first = wire_to_text(found.first_outside)
        text = f"{primary} sent {found.outside} record(s) outside the zone, which are ignored, the first at {first}"
        yield Problem("input-warning", text)
    if found.ttls:
        text = f"{primary} sent {found.ttls} record(s) with a TTL over {TTL_MAX}, which is taken as 0 (RFC 2181 §8)"
        yield Problem("input-warning", text)


def _take_whole(
    db: ZoneStore, spec: ZoneSpec, job: TransferJob, rrsets: list[RRset], report: Report, tools: Tools
) -> Published:
    report.warn(judge_content(rrsets, spec, *_blamed(job)))
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


def _check_forward(transaction: ZoneTransaction, job: TransferJob, serial: int) -> None:
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
    db: ZoneStore, spec: ZoneSpec, job: TransferJob, received: Differences, report: Report, tools: Tools
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
        owners_delta = _check_touched(transaction, spec, job, changes, soa, before.records, report)
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
    transaction: ZoneTransaction,
    spec: ZoneSpec,
    job: TransferJob,
    changes: list[Change],
    soa: RRset,
    records: int,
    report: Report,
) -> int:
    """Check what the changes lead to, with what surrounds them; return owner names added less gone."""
    old = transaction.old
    overlay = Overlay(old)
    overlay.apply([*changes, Change(APEX, SOA, None, soa)])
    # Nothing is written yet: the transaction still reads what the old version has.
    name_servers = partial(transaction.of_type, NS) if records <= _SCANNED_RECORDS_MAX else None
    report.warn(judge_difference(overlay, changes, spec, *_blamed(job), name_servers))
    delta = 0
    for owner in {change.owner for change in changes} - {APEX}:
        before, after = (view.first_owner(owner, owner + b"\x00") is not None for view in (old, overlay))
        delta += after - before
    return delta


def _blamed(job: TransferJob) -> tuple[str, str]:
    """Return whose content it is, and what to do about it."""
    return (
        f"the zone at primary {job.primary} is not good",
        "correct it there; the previous version is still served",
    )
