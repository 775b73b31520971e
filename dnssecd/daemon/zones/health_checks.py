"""Health checks once a minute: remaining lifetime of signatures, free disk space."""

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path

import structlog

from dnssecd.clock import Clock
from dnssecd.daemon.zones.machine import state_of
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import Metrics

log = structlog.get_logger("dnssecd.zones")

PERIOD_S = 60.0
DISK_FREE_MIN_OCTETS = 256 << 20
DISK_FREE_MIN_SHARE = 0.02

#: The runway is low if less than this share of the refresh is left: signatures should have been renewed long
#: before.
RUNWAY_SHARE = 0.5


def disk_short(directory: Path) -> tuple[bool, int]:
    """Return whether little space is free on a directory's file system, and the free octets; raise OSError."""
    usage = shutil.disk_usage(directory)
    return usage.free < max(DISK_FREE_MIN_OCTETS, DISK_FREE_MIN_SHARE * usage.total), usage.free


class Guard:
    """Raises and resolves the events of health checks."""

    def __init__(
        self,
        zones: Mapping[str, FrontZone],
        events: EventCore,
        metrics: Metrics,
        clock: Clock,
        state_dir: Path,
    ) -> None:
        self._zones, self._events, self._metrics = zones, events, metrics
        self._clock, self._state_dir = clock, state_dir

    async def watch(self) -> None:
        """Check until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(PERIOD_S)

    def look(self) -> None:
        """Check once."""
        served = sum(zone.serial is not None for zone in self._zones.values())
        self._metrics.zone.zones.labels("served").set(served)
        self._metrics.zone.zones.labels("waiting").set(len(self._zones) - served)
        for zone in self._zones.values():
            self._runway(zone)
            if zone.state is not state_of(zone):
                log.error(
                    "zone state is wrong", zone=zone.name, state=zone.state.value, wanted=state_of(zone).value
                )
        self._disk()

    def _runway(self, zone: FrontZone) -> None:
        runway = zone.runway_s(self._clock.now())
        if runway is None:
            return
        if runway < RUNWAY_SHARE * zone.refresh_s:
            cause = f"the first RRSIG of {zone.name} expires in {runway / 3600:.1f} h"
            if runway <= 0:
                cause = f"RRSIGs of {zone.name} have expired, the first {-runway / 3600:.1f} h ago"
            self._events.raise_event("runway-low", zone.name, cause)
        else:
            self._events.resolve("runway-low", zone.name)

    def _disk(self) -> None:
        short, free = disk_short(self._state_dir)
        if short:
            cause = f"{free >> 20} MiB are free on the file system of {self._state_dir}"
            self._events.raise_event("disk-low", None, cause)
        else:
            self._events.resolve("disk-low")
