"""The only path from the daemon to its zone workers."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from dnssecd.clock import Clock
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.zone import FrontZone, ZoneGone
from dnssecd.pipeline.jobs.outcome import LogTrouble, Outcome, Problem
from dnssecd.pipeline.jobs.spec import Decisions
from dnssecd.pipeline.workers.frames import Job, LogUse
from dnssecd.pipeline.workers.pool import NotWanted, WorkerPool
from dnssecd.store.errors import LogBehind, LogFenced, LogInDoubt
from dnssecd.store.log_place import LogPlace

log = structlog.get_logger("dnssecd")


def log_death(zone: str, why: str) -> None:
    """Log that a worker died in the middle of a zone's job."""
    log.error("zone worker died", zone=zone, cause=why)


class JobRunner:
    """Makes jobs, and runs them in workers."""

    def __init__(self, pool: WorkerPool, clock: Clock, log_place: LogPlace | None, mailbox: Mailbox) -> None:
        """log_place: where the logs of a cluster's zones are; None on a single host."""
        self._pool, self._clock, self._log_place, self._mailbox = pool, clock, log_place, mailbox

    def job(self, zone: FrontZone, kind: str, **more: Any) -> Job:
        """Return a job of a kind for a zone, with the present time."""
        now = int(self._clock.now())
        room = zone.review
        decisions = Decisions() if room is None else Decisions(room.approved, room.refused)
        return Job(kind=kind, spec=zone.spec, now=now, date=today(now), decisions=decisions, **more)

    async def run(self, zone: FrontZone, job: Job, octets: int = 0) -> Outcome:
        """Run a job in a worker; raise ZoneGone if the zone was removed before it or during it."""
        zone.check()
        try:
            database = zone.database_identity()
        except OSError as error:
            cause = f"{zone.spec.database} cannot be looked at: {error.strerror or error}"
            problem = Problem(
                "store-failed", cause, "check permissions and disk; dnssecd tries the job again"
            )
            return Outcome(zone=zone.name, result="failed", problems=(problem,))
        try:
            job = msgspec.structs.replace(job, database=database, log=self._log_of(zone))
            served = zone.serial is not None
            outcome = await self._pool.run(job, zone.jobs.turn, octets, lambda: not zone.gone, first=served)
        except NotWanted:
            raise ZoneGone(zone.name) from None
        except asyncio.CancelledError:
            self._mailbox.cut_short.send(zone)
            raise
        zone.check()
        if outcome.log_trouble is not None and zone.cluster is not None:
            _report(zone, outcome.log_trouble)
        return outcome

    def _log_of(self, zone: FrontZone) -> LogUse | None:
        if zone.cluster is None or self._log_place is None:
            return None
        return LogUse(self._log_place, zone.cluster.log.epoch)


def _report(zone: FrontZone, trouble: LogTrouble) -> None:
    """Report what a worker met in the log, as if the commit had been made here."""
    assert zone.cluster is not None
    name, cause = zone.name, f"{trouble.kind}: see the outcome of the job"
    match trouble.kind:
        case "fenced":
            zone.cluster.log.trouble(LogFenced(name, trouble.sequence, trouble.epoch, cause))
        case "in doubt":
            zone.cluster.log.trouble(LogInDoubt(name, trouble.sequence, trouble.epoch, cause))
        case "behind":
            zone.cluster.log.trouble(LogBehind(name, trouble.sequence, trouble.epoch, cause))
        case "not owner":
            zone.cluster.log.epoch = None


def today(now: int) -> int:
    """Return the date of a moment as YYYYMMDD (UTC), for the serial scheme ``date``."""
    return int(datetime.fromtimestamp(now, UTC).strftime("%Y%m%d"))
