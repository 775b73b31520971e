"""Run a zone's jobs: loads when the input changes, re-signing when it is due, retries."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import structlog

from dnssecd.clock import Clock
from dnssecd.config.model import Config
from dnssecd.daemon.zones import outcome_events as job_events
from dnssecd.daemon.zones.first_publication import Permission
from dnssecd.daemon.zones.gates import Gate, Work, shut_for
from dnssecd.daemon.zones.job_runner import JobRunner
from dnssecd.daemon.zones.machine import Event, happened, instead, possible
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.outcomes import Outcomes
from dnssecd.daemon.zones.permits import PROOF_EVENTS, Permits, mark_now
from dnssecd.daemon.zones.schedule import Schedule
from dnssecd.daemon.zones.start_up import CHANGED
from dnssecd.daemon.zones.zone import Doubt, FrontZone, ZoneGone
from dnssecd.ingest.source import FileIdentity
from dnssecd.ingest.watch import ZoneWatcher, identity_now
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import Metrics
from dnssecd.pipeline.jobs.outcome import Outcome, Problem
from dnssecd.pipeline.version.keychange import KeyChange
from dnssecd.pipeline.workers.pool import BULK_OCTETS

RETRY_CHANGING_S = 0.5
RETRIES_CHANGING_MAX = 20
#: A file without final line end that was unchanged for this many checks is read as it is.
RESTING_LOOKS = 10

log = structlog.get_logger("dnssecd.zones")


class ZoneJobs:
    """Runs jobs for all zones; a zone has at most one running and one of each kind waiting."""

    def __init__(
        self,
        config: Callable[[], Config],
        runner: JobRunner,
        outcomes: Outcomes,
        permits: Permits,
        events: EventCore,
        metrics: Metrics,
        clock: Clock,
        schedule: Schedule,
        watcher: ZoneWatcher[FrontZone],
        mailbox: Mailbox,
    ) -> None:
        self._config, self._runner, self._outcomes, self._permits = config, runner, outcomes, permits
        self._events, self._metrics, self._clock = events, metrics, clock
        self._schedule, self._watcher, self._mailbox = schedule, watcher, mailbox
        #: The tasks of all zones' jobs that were requested and have not ended.
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False
        mailbox.cut_short.subscribe(self._cut_short)
        mailbox.wanted.subscribe(self.request)
        mailbox.removed.subscribe(self.forget)

    @property
    def config(self) -> Config:
        """Return the configuration in force."""
        return self._config()

    @property
    def busy(self) -> bool:
        """Tell whether there are requested jobs that have not started."""
        return bool(self._tasks)

    def request(self, zone: FrontZone, kind: str) -> None:
        """Request a job, ``load`` or ``resign``, as soon as possible; repeated requests make one job."""
        if zone.gone:
            return
        work = instead(zone.state, Work(kind))
        if not possible(zone.state, work) or shut_for(zone, work) in (Gate.OWNER, Gate.KEYS):
            return
        kind = work.value
        if kind == "load":
            self._mailbox.load_requested.send(zone)
            if not _loads(zone):
                return
        if not zone.jobs.is_requested(kind):
            task = asyncio.get_running_loop().create_task(self._requested(zone, kind))
            zone.jobs.request(kind, task)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _requested(self, zone: FrontZone, kind: str) -> None:
        await asyncio.sleep(0)
        zone.jobs.begin(kind)
        try:
            if kind == "prove":
                await self._permits.prove(zone)
            elif kind == "return":
                await self._permits.permit(zone)
            else:
                await (self.load(zone) if kind == "load" else self.resign(zone))
        except ZoneGone:
            pass
        except Exception as error:  # a bug: the zone must not be left without its next job
            log.error("job ended with an error; it is tried again", zone=zone.name, job=kind, exc_info=error)
            self._outcomes.retry(zone, kind)

    def _cut_short(self, zone: FrontZone) -> None:
        """Look for a version that a job has stored whose client left: a job that changes nothing takes it over."""
        if not self._closing:
            kind = "load" if zone.serial is None else "resign"
            asyncio.get_running_loop().call_soon(self.request, zone, kind)

    def forget(self, zone: FrontZone) -> None:
        """Drop the requested jobs of a removed zone."""
        self._watcher.forget(zone)

    async def close(self) -> None:
        """Start no more jobs; write the pending catalogue entries."""
        self._closing = True
        self._outcomes.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def permit(self, zone: FrontZone, *, first_publication: bool = False) -> Permission:
        """Return whether the zone may be published (:meth:`Permits.permit`)."""
        return await self._permits.permit(zone, first_publication=first_publication)

    def remember(self, zone: FrontZone) -> None:
        """Write a zone's catalogue entry."""
        self._outcomes.remember(zone)

    async def load(
        self,
        zone: FrontZone,
        *,
        accept_change: bool = False,
        accept_older: bool = False,
        first_publication: bool = False,
    ) -> Outcome | Permission:
        """Load the zone's file; return a Permission if a first publication must wait."""
        permission = await self._permits.permit(zone, first_publication=first_publication)
        if not permission.allowed:
            return permission
        outcome = await self._load_settled(zone, accept_change, accept_older, permission.serial_floor)
        zone.seen_input = outcome.seen or zone.seen_input
        self._outcomes.take_over(zone, outcome, "load")
        return outcome

    async def take(self, zone: FrontZone, kind: str, octets: int, **more: Any) -> Outcome:
        """Run a job with input of ``octets`` octets; its outcome is not applied yet (:meth:`took`)."""
        if shut_for(zone, Work(kind)) is Gate.DOUBT and zone.doubt is not None:
            problem = Problem(
                "store-failed", f"the stored version of {zone.name} is not verified: {zone.doubt.cause}"
            )
            return Outcome(zone=zone.name, result="failed", problems=(problem,))
        return await self._runner.run(zone, self._runner.job(zone, kind, **more), octets)

    def took(self, zone: FrontZone, outcome: Outcome, kind: str) -> None:
        """Apply the outcome of a job with input."""
        self._outcomes.take_over(zone, outcome, kind)

    async def _load_settled(
        self, zone: FrontZone, accept_change: bool, accept_older: bool, floor: int | None
    ) -> Outcome:
        """Load after waiting for a file that is being written; a file at rest may lack its last line end.

        Some editors and provisioning tools omit it; a file that was cut lacks it too, so the file must be at
        rest first.
        """
        resting = False
        for attempt in range(RETRIES_CHANGING_MAX):
            before = _files_now(zone)
            job = self._runner.job(
                zone,
                "load",
                path=zone.config.file,
                accept_change=accept_change,
                serial_floor=floor,
                resting=resting,
                accept_older=accept_older,
                seen=zone.seen_input,
            )
            outcome = await self._runner.run(zone, job, _octets(zone))
            outcome = msgspec.structs.replace(outcome, files=_one_path(zone, outcome.files))
            self._watcher.watch(zone, outcome.files or before)
            if outcome.result != "retry":
                return outcome
            if not attempt:
                log.info("zone file is being written, or was cut; it is read again", zone=zone.name)
            resting = await self._rests(zone, before)
        return msgspec.structs.replace(outcome, result="rejected")

    async def _rests(self, zone: FrontZone, before: list[FileIdentity]) -> bool:
        """Wait until a file has been unchanged for a while, or was written."""
        for _ in range(RESTING_LOOKS):
            await asyncio.sleep(RETRY_CHANGING_S)
            if _files_now(zone) != before:
                return False
        return True

    async def resign(self, zone: FrontZone) -> Outcome:
        """Renew signatures that are due."""
        outcome = await self._runner.run(zone, self._runner.job(zone, "resign"))
        self._outcomes.take_over(zone, outcome, "resign")
        return outcome

    async def rekey(self, zone: FrontZone, change: KeyChange) -> Outcome:
        """Make a version with a planned key set."""
        outcome = await self._runner.run(zone, self._runner.job(zone, "rekey", keys=change))
        self._outcomes.take_over(zone, outcome, "rekey")
        return outcome

    async def sweep(self, zone: FrontZone) -> Outcome:
        """Verify the whole published zone; faults are an event until a successful sweep.

        A zone that differs from its published version is no longer served, because secondaries would transfer
        it.
        """
        outcome = await self._runner.run(zone, self._runner.job(zone, "verify"), BULK_OCTETS)
        zone.swept_at = self._clock.now()
        bad = [problem for problem in outcome.problems if problem.event == "verification-failed"]
        self._metrics.zone.verifications.labels("ok" if outcome.whole else "failed").inc()
        if outcome.whole:
            zone.verified_at = zone.swept_at
            self._events.resolve(CHANGED, zone.name)
            job_events.report_sweep(self._events, zone.name, [])
            self._outcomes.remember(zone)
        elif bad:
            job_events.report_sweep(self._events, zone.name, bad)
            await self._withhold_damaged(zone)
        else:
            job_events.report(self._events, outcome, load=False)
        return outcome

    async def _withhold_damaged(self, zone: FrontZone) -> None:
        """Check whether a zone with faults is still its published version; if not, stop serving it."""
        mark = mark_now(zone)
        outcome = await self._runner.run(zone, self._runner.job(zone, "prove"), BULK_OCTETS)
        damage = [problem for problem in outcome.problems if problem.event in PROOF_EVENTS]
        if damage and zone.serial is not None:
            zone.doubt = Doubt("a sweep found it damaged", zone.catalogue_entry(), damage[0], mark)
            zone.serial = None
            happened(zone, Event.DAMAGED)
            self._mailbox.withheld.send(zone)
            self.request(zone, "load")

    def updated(self, zone: FrontZone, outcome: Outcome) -> None:
        """Apply the outcome of a group of dynamic updates."""
        if outcome.result != "unchanged":
            self._outcomes.take_over(zone, outcome, "update")


def _loads(zone: FrontZone) -> bool:
    """Tell whether a zone's file is read: the file of a dynamic zone only once."""
    if zone.config.file is None or shut_for(zone, Work.LOAD) is not None:
        return False
    return zone.config.source == "file" or (zone.config.source == "dynamic" and zone.serial is None)


def _files_now(zone: FrontZone) -> list[FileIdentity]:
    """Return the identities of the zone's files before they are read: a difference from now on is a change."""
    own = () if zone.config.file is None else (zone.config.file,)
    paths = {*own, *(file.path for file in zone.files)}
    return [identity_now(Path(path)) for path in sorted(paths)]


def _one_path(zone: FrontZone, files: tuple[FileIdentity, ...]) -> tuple[FileIdentity, ...]:
    """Return identities with the path of the zone's file as the configuration has it: one string, not two."""
    path = zone.config.file
    return tuple(one._replace(path=path) if path is not None and one.path == path else one for one in files)


def _octets(zone: FrontZone) -> int:
    with suppress(OSError):
        return os.stat(zone.config.file or "").st_size
    return 0
