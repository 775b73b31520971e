"""The one door from the daemon to its zone workers."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from dnssecd.clock import Clock
from dnssecd.daemon.zones.zone import FrontZone, ZoneGone
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.workers.frames import Job
from dnssecd.pipeline.workers.pool import NotWanted, WorkerPool


class JobRunner:
    """Makes jobs, and has workers do them."""

    def __init__(self, pool: WorkerPool, clock: Clock) -> None:
        self._pool, self._clock = pool, clock

    def job(self, zone: FrontZone, kind: str, **more: Any) -> Job:
        """Return a job of a kind for a zone, as of now."""
        now = int(self._clock.now())
        return Job(kind=kind, spec=zone.spec, now=now, date=today(now), **more)

    async def run(self, zone: FrontZone, job: Job, octets: int = 0) -> Outcome:
        """Have a worker do a job: the one door to them. ZoneGone if the zone was removed before, or meanwhile."""
        zone.check()
        try:
            job = msgspec.structs.replace(job, database=zone.database_identity())
            outcome = await self._pool.run(job, octets, lambda: not zone.gone)
        except NotWanted:
            raise ZoneGone(zone.name) from None
        zone.check()
        return outcome


def today(now: int) -> int:
    """Return the date of a moment as YYYYMMDD (UTC), for the serial scheme ``date``."""
    return int(datetime.fromtimestamp(now, UTC).strftime("%Y%m%d"))
