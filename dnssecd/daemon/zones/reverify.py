"""Verify every published zone as a whole, at least weekly, one after another at low speed."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from dnssecd.clock import Clock
from dnssecd.daemon.zones.gates import Work
from dnssecd.daemon.zones.machine import possible
from dnssecd.daemon.zones.work import ZoneJobs
from dnssecd.daemon.zones.zone import FrontZone, ZoneGone

PERIOD_S = 6 * 86_400.0
PAUSE_S = 1.0
LOOK_S = 600.0


class Sweep:
    """Verifies the zone with the oldest whole verification, if that is old enough."""

    def __init__(self, zones: Mapping[str, FrontZone], jobs: ZoneJobs, clock: Clock) -> None:
        self._zones, self._jobs, self._clock = zones, jobs, clock

    async def run(self) -> None:
        """Verify zones until cancelled."""
        while True:
            zone = self._due()
            if zone is None:
                await asyncio.sleep(LOOK_S)
                continue
            with suppress(ZoneGone):
                await self._jobs.sweep(zone)
            await asyncio.sleep(PAUSE_S)

    def _due(self) -> FrontZone | None:
        """Return the zone to verify next: zones without a known whole verification come first."""
        now = self._clock.now()
        waiting = [
            (max(z.verified_at or 0.0, z.swept_at or 0.0), z.name)
            for z in self._zones.values()
            if possible(z.state, Work.VERIFY)
        ]
        if not waiting:
            return None
        last, name = min(waiting)
        return self._zones[name] if now - last >= PERIOD_S else None
