"""Make a version from a fetched transfer: the whole zone like a file, differences like an update.

The store holds the primaries' unsigned content at the version's ``input_serial``, so differences from that
serial apply to it exactly. If one does not apply, the held content differs from the primary's: the job ends
as ``ixfr-unusable``, and the whole zone must be fetched.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from dnssecd.core.dns.names import APEX, key_to_text, wire_to_text
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.dns.rrtypes import NS, SOA
from dnssecd.core.dns.serial import is_after
from dnssecd.core.zone.changeset import Change
from dnssecd.core.zone.overlay import Overlay
from dnssecd.ingest.collect import gather
from dnssecd.ingest.gc_pause import collection_paused
from dnssecd.ingest.words import TTL_MAX, type_text
from dnssecd.ingest.xfrin import Current, Differences, Inbound, Received, TransferLimits, Whole, serial_of
from dnssecd.ingest.xfrin_apply import DoesNotFit, applied
from dnssecd.ingest.xfrin_wire import Overlooked, TransferError
from dnssecd.pipeline.jobs.content import judge_content, judge_difference
from dnssecd.pipeline.jobs.foreign_input import make_with_foreign
from dnssecd.pipeline.jobs.input import TransferJob
from dnssecd.pipeline.jobs.input_check import check_input, checks_input, read_transfer_again
from dnssecd.pipeline.jobs.job import Report, Tools, make, run_job
from dnssecd.pipeline.jobs.load import check_guard, soa_of, whole_input, zone_keyset
from dnssecd.pipeline.jobs.memory import memory_available
from dnssecd.pipeline.jobs.outcome import Outcome, Problem
from dnssecd.pipeline.jobs.pass_through import pass_on
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.jobs.timing import check_timing
from dnssecd.pipeline.spool import spooled
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.apex import soa_serial
from dnssecd.pipeline.version.draft import Input, Published
from dnssecd.pipeline.version.rejected import Rejected
from dnssecd.server.update_rdata import RdataReader
from dnssecd.store.interface import ZoneStore, ZoneTransaction

#: ``VersionState.digest`` of content that is exactly what the primaries have at ``input_serial``.
TRANSFERRED = "transfer"
#: Problems that another attempt can solve: differences that do not fit; a stream that is not a transfer.
IXFR_UNUSABLE = "ixfr-unusable"
TRANSFER_BROKEN = "transfer-broken"

#: In a zone of at most this many records, all delegations are read if a name server loses an address.
_SCANNED_RECORDS_MAX = 200_000
#: An upper estimate of the octets that a row takes while a zone is assembled.
_ROW_OCTETS = 400


def take_transfer(
    db: ZoneStore,
    spec: ZoneSpec,
    job: TransferJob,
    tools: Tools,
    limits: TransferLimits | None = None,
) -> Outcome:
    """Make a version from the fetched transfer."""
    report = Report()

    def work() -> Published:
        started = tools.monotonic()
        with collection_paused():
            received, dnskeys, stripped = _received(job, spec.origin, report, limits or _limits())
            rrsets = _gathered(received, spec, report) if isinstance(received, Whole) else []
        report.seconds["parse"] = tools.monotonic() - started
        if isinstance(received, Current):
            return Published(None)
        report.input_serial = serial_of(received.soa)
        if isinstance(received, Differences):
            _check_differences(spec, stripped)
            return _take_differences(db, spec, job, received, report, tools)
        if spec.verify_only:
            return _pass_whole(db, spec, job, rrsets, report, tools, limits or _limits())
        report.warn(
            check_input(
                spec,
                stripped,
                lambda: read_transfer_again(job, spec.origin, limits or _limits()),
                tools.now,
                tools.checker,
                f"the zone at primary {job.primary}",
            )
        )
        return _take_whole(db, spec, job, rrsets, tuple(sorted(set(dnskeys))), report, tools)

    return run_job(db, spec, report, work, tools)


def _check_differences(spec: ZoneSpec, stripped: Mapping[int, int]) -> None:
    """Raise Rejected for differences of a zone that is checked: what was left out of it is needed for that."""
    if checks_input(spec, stripped):
        raise Rejected(IXFR_UNUSABLE, "the input is checked as a whole, so the whole zone is fetched")


def _limits() -> TransferLimits:
    """Return limits for a quarter of the free memory: two workers may do this at the same time."""
    return TransferLimits(max(1_000_000, memory_available() // 4 // _ROW_OCTETS))


def _received(
    job: TransferJob, origin: bytes, report: Report, limits: TransferLimits
) -> tuple[Received, list[bytes], dict[int, int]]:
    """Return the transfer, the DNSKEY RDATA at its apex, and what was left out, by type."""
    inbound = Inbound(origin, job.base, RdataReader, limits)
    try:
        for wire in spooled(Path(job.path)):
            inbound.feed(wire)
        received = inbound.finish()
    except TransferError as error:
        event = TRANSFER_BROKEN if job.base is None else IXFR_UNUSABLE
        raise Rejected(
            event,
            f"primary {job.primary} sent no correct transfer of the zone: {error}",
            f"check the zone at {job.primary}; the previous version is still served",
        ) from None
    report.stripped = sum(inbound.stripped.values())
    report.warn(_overlooked(inbound.overlooked, job.primary))
    return received, inbound.overlooked.dnskeys, inbound.stripped


def _overlooked(found: Overlooked, primary: str) -> Iterator[Problem]:
    """Warn of records that were ignored or changed."""
    if found.outside:
        first = wire_to_text(found.first_outside)
        text = f"{primary} sent {found.outside} record(s) outside the zone, which are ignored; the first at {first}"
        yield Problem("input-warning", text)
    if found.ttls:
        text = f"{primary} sent {found.ttls} record(s) with a TTL over {TTL_MAX}, which counts as 0 (RFC 2181 §8)"
        yield Problem("input-warning", text)


def _take_whole(
    db: ZoneStore,
    spec: ZoneSpec,
    job: TransferJob,
    rrsets: list[RRset],
    dnskeys: tuple[bytes, ...],
    report: Report,
    tools: Tools,
) -> Published:
    report.warn(judge_content(rrsets, spec, *_blamed(job)))
    serial = soa_serial(soa_of(rrsets))
    foreign = dnskeys if spec.foreign_input else None
    with db.write() as transaction:
        keyset = zone_keyset(transaction, spec, tools, foreign)
        _check_forward(transaction, job, serial)
        given = whole_input(
            transaction, rrsets, digest=TRANSFERRED, input_serial=serial, serial_floor=job.serial_floor
        )
        check_timing(spec, given, report)
        if not job.replace:
            check_guard(transaction, spec, given)
        return make_with_foreign(transaction, spec, keyset, given, tools, foreign)


def _pass_whole(
    db: ZoneStore,
    spec: ZoneSpec,
    job: TransferJob,
    rrsets: list[RRset],
    report: Report,
    tools: Tools,
    limits: TransferLimits,
) -> Published:
    report.warn(judge_content(rrsets, spec, *_blamed(job)))
    zone = read_transfer_again(job, spec.origin, limits, as_given=True)
    blamed = f"the zone at primary {job.primary}"
    with db.write() as transaction:
        return pass_on(
            transaction, spec, zone, blamed, report, tools, digest=TRANSFERRED, guarded=not job.replace
        )


def _gathered(received: Whole, spec: ZoneSpec, report: Report) -> list[RRset]:
    received.rows.append(received.soa)
    gathered = gather(received.rows)
    if gathered.mixed:
        (owner, rtype), number = next(iter(gathered.mixed)), len(gathered.mixed)
        first = f"{key_to_text(owner, spec.origin)} {type_text(rtype)}"
        text = f"{number} RRset(s) have different TTLs, the first at {first}"
        report.warnings.append(Problem("input-warning", f"{text}; the smallest is used for the whole RRset"))
    return gathered.rrsets


def _check_forward(transaction: ZoneTransaction, job: TransferJob, serial: int) -> None:
    before = state.from_document(transaction.old.version, state.VersionState)
    if before is None or job.replace or before.digest != TRANSFERRED:
        return
    if is_after(before.input_serial, serial):
        raise Rejected(
            "input-error",
            f"primary {job.primary} sent serial {serial}, which is before the held serial "
            f"{before.input_serial}",
            "raise the serial at the primary; if the zone was created again there: dnssecd zone reload "
            "ZONE --accept-change",
        )


def _take_differences(
    db: ZoneStore, spec: ZoneSpec, job: TransferJob, received: Differences, report: Report, tools: Tools
) -> Published:
    with db.write() as transaction:
        keyset = zone_keyset(transaction, spec, tools)
        before = state.from_document(transaction.old.version, state.VersionState)
        if before is None or before.digest != TRANSFERRED:
            raise Rejected(IXFR_UNUSABLE, "there is no held content to which differences could be applied")
        old = transaction.old
        try:
            changes = applied(spec.origin, old.rrset, received.sequences)
        except DoesNotFit as error:
            cause = f"the differences from primary {job.primary} do not fit the held content: {error}"
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
    """Check the changed names and the names around them; return owner names added minus removed."""
    old = transaction.old
    overlay = Overlay(old)
    overlay.apply([*changes, Change(APEX, SOA, None, soa)])
    # Nothing is written yet: the transaction still reads the old version.
    name_servers = partial(transaction.of_type, NS) if records <= _SCANNED_RECORDS_MAX else None
    report.warn(judge_difference(overlay, changes, spec, *_blamed(job), name_servers))
    delta = 0
    for owner in {change.owner for change in changes} - {APEX}:
        before, after = (view.first_owner(owner, owner + b"\x00") is not None for view in (old, overlay))
        delta += after - before
    return delta


def _blamed(job: TransferJob) -> tuple[str, str]:
    """Return the beginning of the cause, which names the primary, and the remedy."""
    return (
        f"the zone at primary {job.primary} has errors",
        "correct it there; the previous version is still served",
    )
