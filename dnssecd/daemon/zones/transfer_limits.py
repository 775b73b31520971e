"""Limit transfers out, so that the write-ahead log of a zone does not fill the disk.

A transfer holds the version that it sends. While such versions overlap, the log of a changing zone can never
restart from its beginning, even if no single transfer takes long. So new long transfers wait when the log has
half of its allowed length. Running ones are ended when the log is too long, when others have waited too long,
or when the disk is nearly full. When none is left, the log is cut, and transfers continue. A secondary whose
transfer was ended starts it again.
"""

import asyncio
from contextlib import suppress
from enum import Enum
from itertools import count
from pathlib import Path

import structlog

from dnssecd.clock import Clock
from dnssecd.daemon.zones.health_checks import disk_short
from dnssecd.daemon.zones.rooms import TransfersRoom
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import ServerMetrics
from dnssecd.server.drains import Drains, Shut
from dnssecd.server.interfaces import ServedZone
from dnssecd.server.slots import TransferSlots
from dnssecd.store.errors import StoreError
from dnssecd.store.interface import LogSizes
from dnssecd.uninterrupted import to_the_end

PERIOD_S = 1.0
#: A log may have this length, or this many times that of its database, if that is more.
LOG_OCTETS_MAX = 256 << 20
LOG_SHARE_MAX = 4
#: While the disk is nearly full, transfers are ended for a log of at least this length.
LOG_OCTETS_DISK_SHORT = 32 << 20
#: New long transfers wait for at most this long before the running ones are ended.
WAIT_MAX_S = 300.0
#: A transfer that has run for less than this may finish.
YOUNG_S = 2.0
#: The log is cut between jobs of the zone. A job that takes longer holds it in any case.
LOCK_S = 2.0
#: The event resolves when no transfer was ended for this long.
QUIET_S = 3600.0
RESOLVE_LOOKS = 60
#: A short-lived reader may hold the log: cutting is tried this many times before transfers continue.
TRIES_MAX = 5

EVENT = "transfers-ended"

log = structlog.get_logger("dnssecd.transfers")


class Need(Enum):
    """The action that a zone's log needs from its transfers. LOG, DISK: end them, for that reason."""

    NOTHING = ""
    WAIT = "wait"
    LOG = "log"
    DISK = "disk"


def judge(sizes: LogSizes, kept_octets: int, waited_s: float, *, disk_is_short: bool) -> Need:
    """Return the action that a log needs. ``kept_octets``: held by another reader; ``waited_s``: see WAIT_MAX_S."""
    octets = sizes.log - kept_octets
    octets_max = max(LOG_OCTETS_MAX, LOG_SHARE_MAX * sizes.database)
    if disk_is_short and octets > LOG_OCTETS_DISK_SHORT:
        return Need.DISK
    if octets > octets_max:
        return Need.LOG
    if octets > octets_max // 2:
        return Need.LOG if waited_s > WAIT_MAX_S else Need.WAIT
    return Need.NOTHING


class TransferLimits:
    """Watches the logs of zones during transfers. Belongs to the event loop."""

    def __init__(
        self,
        slots: TransferSlots,
        drains: Drains,
        events: EventCore,
        metrics: ServerMetrics,
        clock: Clock,
        state_dir: Path,
    ) -> None:
        self._slots, self._drains = slots, drains
        self._events, self._metrics, self._clock = events, metrics, clock
        self._state_dir = state_dir

    async def watch(self) -> None:
        """Check every second."""
        for number in count():
            await asyncio.sleep(PERIOD_S)
            await self.look()
            if number % RESOLVE_LOOKS == 0:
                self.resolve()

    async def look(self) -> None:
        """Check each zone with running or waiting transfers once."""
        zones = {id(zone): zone for zone in (*self._slots.zones(), *self._drains.zones)}
        if not zones:
            return
        short = False
        with suppress(OSError):
            short, _ = disk_short(self._state_dir)
        for zone in zones.values():
            try:
                await self._look_at(zone, short)
            except (StoreError, OSError) as error:
                log.warning("write-ahead log cannot be cut", zone=_named(zone), cause=str(error))
                self._open(zone)

    async def _look_at(self, zone: ServedZone, disk_is_short: bool) -> None:
        assert isinstance(zone, FrontZone)
        if zone.gone:
            self._drains.open(zone)
            return
        room = zone.transfers = zone.transfers or TransfersRoom()
        sizes = zone.database.log_sizes()
        room.kept_octets = min(room.kept_octets, sizes.log)
        now = self._clock.monotonic()
        waited_s = 0.0 if room.shut_at is None else now - room.shut_at
        need = judge(sizes, room.kept_octets, waited_s, disk_is_short=disk_is_short)
        if need is Need.NOTHING:
            self._open(zone)
            return
        room.shut_at = now if room.shut_at is None else room.shut_at
        self._drains.shut(zone, Shut.LONG if need is Need.WAIT else Shut.ALL)
        if need is not Need.WAIT:
            self._end(zone, need, sizes)
        if zone not in self._slots.zones():
            await self._cut_log(zone, room)

    def _end(self, zone: FrontZone, need: Need, sizes: LogSizes) -> None:
        """End the zone's transfers that have run for long enough."""
        ended = self._slots.end(zone, YOUNG_S)
        if not ended:
            return
        why = "the disk is nearly full" if need is Need.DISK else "they prevented that it was cut"
        cause = f"{ended} transfers of {zone.name} were ended: its log has {sizes.log >> 20} MiB, and {why}"
        self._metrics.transfers_ended.labels(need.value).inc(ended)
        self._events.raise_event(EVENT, zone.name, cause)

    async def _cut_log(self, zone: FrontZone, room: TransfersRoom) -> None:
        """Cut the log between two jobs of the zone; the rest is held by readers other than transfers."""
        cut = False
        turn = zone.jobs.turn
        with suppress(TimeoutError):
            async with asyncio.timeout(LOCK_S):
                await turn.acquire()
            try:
                zone.check()
                cut = await to_the_end(asyncio.to_thread(zone.database.cut_log))
            finally:
                turn.release()
        room.tries += 1
        if not cut and room.tries < TRIES_MAX:
            return
        sizes = zone.database.log_sizes()
        room.kept_octets = sizes.log
        log.info("write-ahead log cut", zone=zone.name, whole=cut, octets=sizes.log)
        self._open(zone)

    def _open(self, zone: ServedZone) -> None:
        """Allow the zone's transfers to start."""
        assert isinstance(zone, FrontZone)
        if zone.transfers is not None:
            zone.transfers.shut_at, zone.transfers.tries = None, 0
        self._drains.open(zone)

    def resolve(self) -> None:
        """Resolve the event of each zone whose transfers were not ended recently."""
        for event in self._events.firing():
            if event.name == EVENT and self._clock.now() - event.last_seen > QUIET_S:
                self._events.resolve(EVENT, event.zone)


def _named(zone: ServedZone) -> str:
    return zone.name if isinstance(zone, FrontZone) else ""
