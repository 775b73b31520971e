"""Running a zone's jobs from the front: loads when the input changes, re-signing when it is due, retries."""

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import structlog

from dnssecd.clock import Clock
from dnssecd.config.model import Config
from dnssecd.core.dns.serial import is_after
from dnssecd.daemon.zones import outcome_events as job_events
from dnssecd.daemon.zones.first_publication import CAME_BACK, Earlier, Permission, ask_permission
from dnssecd.daemon.zones.gates import Gate, Work, shut_for
from dnssecd.daemon.zones.machine import Event, happened, instead, possible
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.restored_zone import EVENT, may_return
from dnssecd.daemon.zones.schedule import Schedule
from dnssecd.daemon.zones.start_up import CHANGED, read
from dnssecd.daemon.zones.zone import Doubt, FrontZone, ZoneGone
from dnssecd.ingest.source import FileIdentity
from dnssecd.ingest.watch import ZoneWatcher, identity_now
from dnssecd.keyservice_client.client import AsyncSignerClient
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import Metrics
from dnssecd.pipeline.jobs.load import adoption_awaited
from dnssecd.pipeline.jobs.outcome import Outcome, Problem
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.first_keys import held_keys
from dnssecd.pipeline.version.keychange import KeyChange
from dnssecd.pipeline.workers.frames import Job
from dnssecd.pipeline.workers.pool import BULK_OCTETS, NotWanted, WorkerPool
from dnssecd.store import filemark
from dnssecd.store.aside import DIRECTORY, kept_of
from dnssecd.store.catalogue import Catalogue
from dnssecd.store.errors import StoreError
from dnssecd.store.filemark import FileMark

RETRY_CHANGING_S = 0.5
RETRIES_CHANGING_MAX = 20
#: A file without a line end at its end that was the same so many times in a row is taken as it is.
RESTING_LOOKS = 10
RETRY_FIRST_S = 5.0
RETRY_LAST_S = 300.0
DUE_MARGIN_S = 1
#: RRSIGs that come due are made anew together, in strides of this long or a tenth of the refresh, so that a level
#: stream of them makes few versions.
RESIGN_STRIDE_S = 3600.0
#: The catalogue may lag behind a zone's updates by this much: what is served comes from the zone's own database.
REMEMBER_S = 1.0

#: Jobs that bring content, whole or in part.
INPUT_KINDS = frozenset({"load", "transfer", "import", "adopt"})
#: Events that say why a zone may not be published.
_PERMITS = ("first-publication-waiting", "foreign-dnskey", "ds-mismatch", CAME_BACK, EVENT)
#: Events that say why a stored zone is not served.
_PROOF_EVENTS = ("verification-failed", "store-failed")
#: Jobs that are tried again after a failure by whoever asked for them.
_NOT_RETRIED = frozenset({"update", "rekey", "transfer", "import", "adopt"})

log = structlog.get_logger("dnssecd.zones")


@dataclass(frozen=True)
class Parts:
    """What jobs are done with."""

    zones: Mapping[str, FrontZone]
    pool: WorkerPool
    signer: AsyncSignerClient
    events: EventCore
    metrics: Metrics
    catalogue: Catalogue
    clock: Clock
    schedule: Schedule
    watcher: ZoneWatcher
    mailbox: Mailbox


class ZoneJobs:
    """Does jobs for all zones; a zone has at most one running and one of each kind waiting."""

    def __init__(self, config: Callable[[], Config], parts: Parts) -> None:
        self._config = config
        self._parts, self._mailbox = parts, parts.mailbox
        self._mailbox.wanted.subscribe(self.request)
        self._mailbox.removed.subscribe(self.forget)
        self._mailbox.key_service_recovered.subscribe(self.retry_failed)
        self._waiting: dict[tuple[str, str], asyncio.Task[Any]] = {}
        self._failures: dict[tuple[str, str], int] = {}
        self._unremembered: dict[str, tuple[FrontZone, asyncio.TimerHandle]] = {}

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._config()

    @property
    def busy(self) -> bool:
        """Whether jobs are wanted that have not begun."""
        return bool(self._waiting)

    def request(self, zone: FrontZone, kind: str) -> None:
        """Ask for a job, ``load`` or ``resign``, as soon as may be; asking twice before it begins is asking once."""
        if zone.gone:
            return
        work = instead(zone.state, Work(kind))
        if not possible(zone.state, work):
            return
        kind = work.value
        place = (zone.name, kind)
        if kind == "load":
            self._mailbox.load_requested.send(zone)
            if not _loads(zone):
                return
        if place not in self._waiting:
            task = asyncio.get_running_loop().create_task(self._requested(zone, kind, place))
            self._waiting[place] = task

    async def _requested(self, zone: FrontZone, kind: str, place: tuple[str, str]) -> None:
        await asyncio.sleep(0)
        self._waiting.pop(place, None)
        with suppress(ZoneGone):
            if kind == "prove":
                await self.prove(zone)
            elif kind == "return":
                await self.permit(zone)
            else:
                await (self.load(zone) if kind == "load" else self.resign(zone))

    def forget(self, zone: FrontZone) -> None:
        """Drop what is planned for a zone that was removed."""
        self._learnt(zone)
        self._parts.watcher.forget(zone.name)
        for kind in ("load", "resign", "return", "prove"):
            self._parts.schedule.forget(f"{kind} {zone.name}")
            task = self._waiting.pop((zone.name, kind), None)
            if task is not None:
                task.cancel()
            self._failures.pop((zone.name, kind), None)

    async def close(self) -> None:
        """Start nothing more; write what the catalogue is still to learn."""
        for zone, _ in list(self._unremembered.values()):
            self.remember(zone)
        tasks = list(self._waiting.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def load(
        self, zone: FrontZone, *, accept_change: bool = False, first_publication: bool = False
    ) -> Outcome | Permission:
        """Load the zone's file; a Permission comes back where a first publication has to wait."""
        permission = await self.permit(zone, first_publication=first_publication)
        if not permission.allowed:
            return permission
        outcome = await self._load_settled(zone, accept_change, permission.serial_floor)
        self._finished(zone, outcome, "load")
        return outcome

    async def permit(self, zone: FrontZone, *, first_publication: bool = False) -> Permission:
        """Find out whether the zone may be published; where it may not, that is told, and tried again later. ZoneGone.

        first_publication: a person has said that it may although its parent cannot be asked.
        """
        if zone.doubt is not None:
            refused = await self.prove(zone)
            if refused is not None:
                return refused
        if zone.held is not None:
            return await self._bring_back(zone, unheard=first_publication)
        permission = Permission(True)
        if zone.serial is None:
            comes_over = await asyncio.to_thread(_comes_over, zone)
            zone.check()
            if comes_over:
                permission = Permission(
                    False, None, "first-publication-waiting", *adoption_awaited(zone.name)
                )
                self._blocked(zone, permission)
                return permission
            permission = await self._permission(zone)
            zone.check()
            waits = permission.event == "first-publication-waiting"
            if not permission.allowed and not (first_publication and waits):
                self._blocked(zone, permission)
                return permission
        zone.blockers = []
        for name in _PERMITS:
            self._parts.events.resolve(name, zone.name)
        return Permission(True, permission.serial_floor)

    async def prove(self, zone: FrontZone) -> Permission | None:
        """Verify all of a stored zone that is in doubt, then serve it; or return why it is not served."""
        assert zone.doubt is not None
        doubt = zone.doubt
        mark = _mark(zone)
        if doubt.refusal is None or doubt.mark != mark:
            known = None if doubt.entry is None else doubt.entry.serial
            job = self._job(zone, "prove", serial_floor=known)
            outcome = await self._do(zone, job, mark.size if mark else 0)
            if zone.doubt is not doubt:
                return None  # another look at it ended meanwhile, and said what came of it
            self._parts.metrics.zone.verifications.labels("ok" if outcome.whole else "failed").inc()
            if not outcome.problems:
                return self._proven(zone, outcome)
            zone.doubt = replace(doubt, refusal=outcome.problems[0], mark=mark)
            if outcome.problems[0].event not in _PROOF_EVENTS:  # the worker died, say
                zone.doubt = doubt
            doubt = replace(doubt, refusal=outcome.problems[0])
        assert doubt.refusal is not None
        event = doubt.refusal.event if doubt.refusal.event in _PROOF_EVENTS else "store-failed"
        permission = Permission(False, None, event, doubt.refusal.cause, doubt.refusal.remedy)
        self._blocked(zone, permission)
        return permission

    def _proven(self, zone: FrontZone, outcome: Outcome) -> Permission | None:
        """Serve a zone that was in doubt as it is stored; the Permission says why that cannot be."""
        zone.doubt = None
        try:
            read(zone)
        except (StoreError, OSError) as error:
            zone.doubt = Doubt(str(error))
            permission = Permission(False, event="store-failed", cause=str(error))
            self._blocked(zone, permission)
            return permission
        zone.blockers, zone.problems = [], ()
        for name in (*_PERMITS, *_PROOF_EVENTS):
            self._parts.events.resolve(name, zone.name)
        self._failures.pop((zone.name, "load"), None)
        if zone.serial is not None:
            zone.verified_at = self._parts.clock.now()
            log.info("stored zone verified whole; it is served", zone=zone.name, serial=zone.serial)
            self.measure(zone)
            self.remember(zone)
            self._wake_when_due(zone)
            self._mailbox.published.send(zone)
            self._mailbox.finished.send(zone)
        self.request(zone, "resign" if zone.orphan else "load")
        return None

    async def _bring_back(self, zone: FrontZone, *, unheard: bool) -> Permission:
        """Publish a zone that came out of a back-up, above all that is public; or say why it may not be yet."""
        permission = await self._may_return(zone, unheard)
        zone.check()
        if permission.allowed:
            job = self._job(zone, "return", serial_floor=permission.serial_floor)
            outcome = await self._do(zone, job, BULK_OCTETS)
            if outcome.result in ("published", "unchanged"):
                self._brought_back(zone, outcome)
                return Permission(True)
            job_events.report(self._parts.events, outcome, load=False)
            problem = outcome.problems[0]
            permission = Permission(False, event=EVENT, cause=problem.cause, remedy=problem.remedy)
        self._blocked(zone, permission)
        return permission

    async def _may_return(self, zone: FrontZone, unheard: bool) -> Permission:
        assert zone.held is not None
        try:
            with zone.database.snapshot() as snapshot:
                keyset = state.keyset_from(snapshot.state(state.KEYSET))
        except (StoreError, OSError) as error:
            return Permission(False, event="store-failed", cause=str(error))
        if keyset is None:
            return Permission(True)
        now = self._parts.clock.now
        return await may_return(zone, self.config, keyset, zone.held, now, unheard=unheard)

    def _brought_back(self, zone: FrontZone, outcome: Outcome) -> None:
        zone.held, zone.blockers, zone.problems = None, [], ()
        if outcome.serial is None:
            happened(zone, Event.EMPTY)
        for name in _PERMITS:
            self._parts.events.resolve(name, zone.name)
        self._finished(zone, outcome, "return")
        self._failures.pop((zone.name, "load"), None)
        self.request(zone, "load")

    async def take(self, zone: FrontZone, kind: str, octets: int, **more: Any) -> Outcome:
        """Do a job that brings input of so many octets; what comes of it is not taken over yet (:meth:`took`)."""
        if shut_for(zone, Work(kind)) is Gate.DOUBT and zone.doubt is not None:
            problem = Problem(
                "store-failed", f"what is stored of {zone.name} is not verified: {zone.doubt.cause}"
            )
            return Outcome(zone=zone.name, result="failed", problems=(problem,))
        return await self._do(zone, self._job(zone, kind, **more), octets)

    def took(self, zone: FrontZone, outcome: Outcome, kind: str) -> None:
        """Take over what came of a job that brings input."""
        self._finished(zone, outcome, kind)

    async def _load_settled(self, zone: FrontZone, accept_change: bool, floor: int | None) -> Outcome:
        """Load, waiting out a file that is being written; one that rests is read without asking for its last line end.

        Editors and provisioning tools leave that out; a file that was cut lacks it too, so the file has to rest first.
        """
        resting = False
        for attempt in range(RETRIES_CHANGING_MAX):
            before = _files_now(zone)
            job = self._job(
                zone,
                "load",
                path=str(zone.config.file),
                accept_change=accept_change,
                serial_floor=floor,
                resting=resting,
            )
            outcome = await self._do(zone, job, _octets(zone))
            self._parts.watcher.watch(zone.name, outcome.files or before)
            if outcome.result != "retry":
                return outcome
            if not attempt:
                log.info("zone file is being written, or was cut; it is read again", zone=zone.name)
            resting = await self._rests(zone, before)
        return msgspec.structs.replace(outcome, result="rejected")

    async def _rests(self, zone: FrontZone, before: list[FileIdentity]) -> bool:
        """Wait until a file has rested for a while, or was written."""
        for _ in range(RESTING_LOOKS):
            await asyncio.sleep(RETRY_CHANGING_S)
            if _files_now(zone) != before:
                return False
        return True

    async def resign(self, zone: FrontZone) -> Outcome:
        """Make anew what is due."""
        outcome = await self._do(zone, self._job(zone, "resign"))
        self._finished(zone, outcome, "resign")
        return outcome

    async def rekey(self, zone: FrontZone, change: KeyChange) -> Outcome:
        """Make a version with a planned key set."""
        outcome = await self._do(zone, self._job(zone, "rekey", keys=change))
        self._finished(zone, outcome, "rekey")
        return outcome

    async def sweep(self, zone: FrontZone) -> Outcome:
        """Verify the whole zone as it is published; what is wrong is an event until a good sweep.

        A zone that is not even what was published once is not served on: secondaries would transfer it.
        """
        outcome = await self._do(zone, self._job(zone, "verify"), BULK_OCTETS)
        zone.swept_at = self._parts.clock.now()
        bad = [problem for problem in outcome.problems if problem.event == "verification-failed"]
        self._parts.metrics.zone.verifications.labels("ok" if outcome.whole else "failed").inc()
        if outcome.whole:
            zone.verified_at = zone.swept_at
            self._parts.events.resolve(CHANGED, zone.name)
            job_events.report_sweep(self._parts.events, zone.name, [])
            self.remember(zone)
        elif bad:
            job_events.report_sweep(self._parts.events, zone.name, bad)
            await self._withhold_damaged(zone)
        else:
            job_events.report(self._parts.events, outcome, load=False)
        return outcome

    async def _withhold_damaged(self, zone: FrontZone) -> None:
        """Find out whether a zone with faults is still what was published; serve it no more if it is not."""
        mark = _mark(zone)
        outcome = await self._do(zone, self._job(zone, "prove"), BULK_OCTETS)
        damage = [problem for problem in outcome.problems if problem.event in _PROOF_EVENTS]
        if damage and zone.serial is not None:
            zone.doubt = Doubt("a sweep found it damaged", zone.catalogue_entry(), damage[0], mark)
            zone.serial = None
            happened(zone, Event.DAMAGED)
            self._mailbox.withheld.send(zone)
            self.request(zone, "load")

    def remember(self, zone: FrontZone) -> None:
        """Write what the catalogue keeps of a zone."""
        if zone.gone:
            return
        self._learnt(zone)
        self._parts.catalogue.put(zone.catalogue_entry())
        self._mailbox.remembered.send(zone)

    def _remember_soon(self, zone: FrontZone) -> None:
        if zone.name not in self._unremembered:
            handle = asyncio.get_running_loop().call_later(REMEMBER_S, self.remember, zone)
            self._unremembered[zone.name] = zone, handle

    def _learnt(self, zone: FrontZone) -> None:
        if waiting := self._unremembered.pop(zone.name, None):
            waiting[1].cancel()

    def updated(self, zone: FrontZone, outcome: Outcome) -> None:
        """Take over what a group of dynamic updates made."""
        if outcome.result != "unchanged":
            self._finished(zone, outcome, "update")

    def _job(self, zone: FrontZone, kind: str, **more: Any) -> Job:
        now = int(self._parts.clock.now())
        return Job(kind=kind, spec=zone.spec, now=now, date=today(now), **more)

    async def _do(self, zone: FrontZone, job: Job, octets: int = 0) -> Outcome:
        """Have a worker do a job: the one door to them. ZoneGone if the zone was removed before, or meanwhile."""
        zone.check()
        try:
            job = msgspec.structs.replace(job, database=zone.database_identity())
            outcome = await self._parts.pool.run(job, octets, lambda: not zone.gone)
        except NotWanted:
            raise ZoneGone(zone.name) from None
        zone.check()
        return outcome

    async def _permission(self, zone: FrontZone) -> Permission:
        try:
            keys = await self._parts.signer.keys(zone.origin)
        except SignerError as error:
            self._retry(zone, "load")
            return Permission(
                False,
                event="signing-failed",
                cause=str(error),
                remedy="the zone is signed when the signer answers",
            )
        ours = [key.dnskey for key in held_keys(zone.spec, keys).values()]
        try:
            kept = await asyncio.to_thread(kept_of, Path(zone.spec.database))
        except OSError as error:
            cause = f"{Path(zone.spec.database).parent / DIRECTORY} cannot be read: {error.strerror}"
            return Permission(False, event="store-failed", cause=cause, remedy="see to permissions and disk")
        earlier = Earlier(tuple(key.dnskey for key in keys), kept[0] if kept else None)
        return await ask_permission(zone, self.config, ours, self._parts.clock.now, earlier)

    def _blocked(self, zone: FrontZone, permission: Permission) -> None:
        zone.blockers = [permission.cause]
        zone.problems = (Problem(permission.event, permission.cause, permission.remedy),)
        self._parts.events.raise_event(
            permission.event, zone.name, permission.cause, remedy=permission.remedy or None
        )
        self._retry(zone, "load")

    def _finished(self, zone: FrontZone, outcome: Outcome, kind: str) -> None:
        if zone.gone:
            return
        before = zone.serial
        if kind != "update":
            outcome = self._believed(zone, outcome)
        zone.last = outcome
        self._count(outcome, kind)
        _log(outcome, kind)
        job_events.report(self._parts.events, outcome, load=kind in INPUT_KINDS)
        if kind in INPUT_KINDS or (outcome.result == "failed" and kind != "rekey"):
            zone.problems = outcome.problems
        if kind in INPUT_KINDS:
            zone.warnings = outcome.warnings
            zone.files = outcome.files or zone.files
            zone.stripped = outcome.stripped
        if outcome.serial is not None and zone.doubt is None:  # else it was found damaged while the job ran
            self._served(zone, outcome)
            if kind == "update":
                self._remember_soon(zone)
            else:
                self.remember(zone)
        if outcome.result in ("failed", "retry") and kind not in _NOT_RETRIED:
            self._retry(zone, kind)
        else:
            self._failures.pop((zone.name, kind), None)
            self._wake_when_due(zone)
        if zone.serial is not None and zone.serial != before:
            self._mailbox.published.send(zone)
        self._mailbox.finished.send(zone)

    def _believed(self, zone: FrontZone, outcome: Outcome) -> Outcome:
        """Return an outcome as it is, or as a failure when what it tells of is not in the database served from."""
        if outcome.serial is None or outcome.serial == zone.serial:
            return outcome
        try:
            with zone.database.snapshot() as snapshot:
                held = snapshot.serial
        except (StoreError, OSError) as error:
            held, why = None, str(error)
        else:
            why = f"it has serial {held}"
        if held is not None and not is_after(outcome.serial, held):
            return outcome
        cause = f"a worker made serial {outcome.serial}, which is not in {zone.spec.database}: {why}"
        remedy = "it is tried again; look whether something else moves or replaces files in state_dir"
        return Outcome(zone=zone.name, result="failed", problems=(Problem("store-failed", cause, remedy),))

    def _served(self, zone: FrontZone, outcome: Outcome) -> None:
        """Take over what the zone's database now holds."""
        zone.serial = outcome.serial
        happened(zone, Event.PUBLISHED)
        zone.earliest_expiration = outcome.earliest_expiration
        zone.next_due = outcome.next_due
        zone.refresh_s = outcome.refresh_s
        zone.records = outcome.records
        if outcome.whole:
            zone.verified_at = self._parts.clock.now()
        if outcome.input_serial is not None and outcome.result != "rejected":
            zone.input_serial = outcome.input_serial
        if outcome.result == "published":
            zone.published_at = self._parts.clock.now()
        self.measure(zone)

    def measure(self, zone: FrontZone) -> None:
        """Bring the zone's gauges up to date."""
        metrics = self._parts.metrics.zone
        for gauge, value in (
            (metrics.serial, zone.serial),
            (metrics.input_serial, zone.input_serial),
            (metrics.earliest_expiration, zone.earliest_expiration),
            (metrics.refresh, zone.refresh_s if zone.earliest_expiration is not None else None),
            (metrics.last_published, zone.published_at),
            (metrics.records, zone.records),
        ):
            if value is not None:
                gauge.labels(zone.name).set(value)

    def _count(self, outcome: Outcome, kind: str) -> None:
        metrics = self._parts.metrics.zone
        metrics.signatures.inc(outcome.signatures)
        if kind in INPUT_KINDS:
            result = {"published": "changed", "unchanged": "unchanged"}.get(outcome.result, "rejected")
            metrics.loads.labels(result).inc()
            metrics.load_seconds.observe(outcome.seconds.get("all", 0.0))
            metrics.stripped.inc(outcome.stripped)
        if outcome.result == "published":
            metrics.versions.inc()
            metrics.verifications.labels("ok").inc()
        if any(problem.event == "verification-failed" for problem in outcome.problems):
            metrics.verifications.labels("failed").inc()
        if any(problem.event == "store-failed" for problem in outcome.problems):
            metrics.store_errors.inc()

    def _wake_when_due(self, zone: FrontZone) -> None:
        if zone.next_due is None:
            return
        stride = min(RESIGN_STRIDE_S, zone.refresh_s / 10)
        when = zone.next_due + max(stride, DUE_MARGIN_S)
        self._parts.schedule.wake(f"resign {zone.name}", when, lambda: self.request(zone, "resign"))

    def retry_failed(self) -> None:
        """Try now what could not be signed: the key service, or a token of it, is there again."""
        zones = self._parts.zones
        for name, kind in [place for place in self._failures if place[0] in zones]:
            if any(problem.event == "signing-failed" for problem in zones[name].problems):
                self._failures[name, kind] = 0
                self.request(zones[name], kind)

    def _retry(self, zone: FrontZone, kind: str) -> None:
        if zone.gone:
            return
        place = (zone.name, kind)
        failures = self._failures[place] = self._failures.get(place, 0) + 1
        delay = min(RETRY_FIRST_S * 2 ** (failures - 1), RETRY_LAST_S)
        self._parts.schedule.wake(
            f"{kind} {zone.name}", self._parts.clock.now() + delay, lambda: self.request(zone, kind)
        )


def _comes_over(zone: FrontZone) -> bool:
    """Tell whether a zone waits to come over from another signer; one whose database fails is told so elsewhere."""
    if not Path(zone.spec.database).exists():
        return False  # so that a first start with thousands of zones makes no database here
    try:
        with zone.database.snapshot() as snapshot:
            return bool(state.foreign_keys(snapshot.state(state.ADOPTION)))
    except (StoreError, OSError):
        return False


def _loads(zone: FrontZone) -> bool:
    """Tell whether a zone's file is read: a dynamic zone's only once."""
    if zone.config.file is None or shut_for(zone, Work.LOAD) is not None:
        return False
    return zone.config.source == "file" or (zone.config.source == "dynamic" and zone.serial is None)


def today(now: int) -> int:
    """Return the date of a moment as YYYYMMDD (UTC), for the serial scheme ``date``."""
    return int(datetime.fromtimestamp(now, UTC).strftime("%Y%m%d"))


def _files_now(zone: FrontZone) -> list[FileIdentity]:
    """Return the zone's files as they are before they are read: what changes from here on is a change."""
    paths = {str(zone.config.file), *(file.path for file in zone.files)}
    return [identity_now(Path(path)) for path in sorted(paths)]


def _mark(zone: FrontZone) -> FileMark | None:
    try:
        return filemark.take(zone.spec.database)
    except OSError:
        return None


def _octets(zone: FrontZone) -> int:
    with suppress(OSError):
        return os.stat(zone.config.file or "").st_size
    return 0


def _log(outcome: Outcome, kind: str) -> None:
    fields: dict[str, Any] = {"zone": outcome.zone, "serial": outcome.serial}
    if outcome.result == "published":
        log.info(
            "zone published",
            **fields,
            changed=outcome.changed_rrsets,
            chain=outcome.chain_changes,
            signatures=outcome.signatures,
            seconds=round(outcome.seconds.get("all", 0.0), 3),
        )
    elif outcome.result == "unchanged":
        log.info("zone unchanged", **fields, job=kind)
    for warning in outcome.warnings:
        log.warning("zone warning", zone=outcome.zone, cause=warning.cause)
