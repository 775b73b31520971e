"""Validate what the public servers of each zone answer, about once an hour, from the DS that the parent serves.

The servers are asked as a validator asks: DNSKEY and SOA with signatures. A fault is an event only if it is seen
again, with the DS that the parent serves then. Work is bounded: a number of zones at one time, a number of zones
per second, a deadline for each zone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from heapq import nsmallest
from zlib import crc32

import structlog

from dnssecd.clock import Clock
from dnssecd.core.verify.served import ServedApex, judge_served
from dnssecd.daemon.rollover.evidence import ds_rdata
from dnssecd.daemon.zones.rooms import ServedRoom
from dnssecd.daemon.zones.zone import FrontZone, ZoneGone
from dnssecd.ops.events import EventCore
from dnssecd.publish.exchange import Peer
from dnssecd.publish.parent import ParentAnswer, ParentUnknown
from dnssecd.publish.served import Served, ask_served

EVENT = "zone-bogus"
PERIOD_S = 3600.0
#: A zone whose answers do not validate, or could not be judged, is checked again sooner.
AGAIN_S = 60.0
LOOK_S = 5.0
AT_ONCE = 8
#: At most this many checks are started per look; with more zones than that in an hour, a round takes longer.
STARTED_MAX = 20
SERVERS_MAX = 16
DEADLINE_S = 30.0
#: With two rounds of questions to the servers (``publish.exchange.Timing``) this is less than the deadline.
PARENT_S = 10.0

log = structlog.get_logger("dnssecd.zones")

#: The DS RRsets (RDATA) that the servers of the parent serve, without repetitions and empty ones.
DsSets = set[tuple[bytes, ...]]


class ServedCheck:
    """One per daemon. ``look``: asks all servers of a zone's parent now; raises ParentUnknown or ZoneGone."""

    def __init__(
        self,
        zones: Mapping[str, FrontZone],
        look: Callable[[FrontZone], Awaitable[list[ParentAnswer]]],
        events: EventCore,
        clock: Clock,
    ) -> None:
        self._zones, self._look, self._events, self._clock = zones, look, events, clock
        self._free = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            due = self._due()
            ended = await asyncio.gather(*(self.check(zone) for zone in due), return_exceptions=True)
            for zone, error in zip(due, ended, strict=True):
                if isinstance(error, Exception):
                    self._note_failure(zone, error)
            await asyncio.sleep(LOOK_S)

    def _due(self) -> list[FrontZone]:
        """Return the zones to check now. The longest due come first: zones with hung servers delay no zone for good."""
        due = [zone for zone in self._zones.values() if self._is_due(zone)]
        return nsmallest(STARTED_MAX, due, key=_due_at)

    def _note_failure(self, zone: FrontZone, error: Exception) -> None:
        """Log a bug met in one zone's answers: they come from other servers, and must not end the daemon."""
        log.error("check of served answers failed", zone=zone.name, exc_info=error)
        if zone.served is not None:
            zone.served.next_at = self._clock.now() + PERIOD_S

    def _is_due(self, zone: FrontZone) -> bool:
        """Tell whether a zone is to be checked; one whose parent has begun to serve a DS is due immediately."""
        if zone.gone or zone.serial is None or zone.ds is None or not zone.ds.seen:
            return False
        if not _ds_seen(zone):
            self._forget(zone)
            return False
        if zone.served is None:
            zone.served = ServedRoom()
        return self._clock.now() >= zone.served.next_at

    def _forget(self, zone: FrontZone) -> None:
        """End the event of a zone whose DS is gone: it is insecure now."""
        if zone.served is not None or self._events.is_firing(EVENT, zone.name):
            zone.served = None
            self._events.resolve(EVENT, zone.name)

    async def check(self, zone: FrontZone) -> None:
        """Check one zone; raise and resolve its event."""
        room = zone.served or ServedRoom()
        zone.served = room
        verdicts: dict[str, str] = {}
        try:
            async with self._free, asyncio.timeout(DEADLINE_S):
                verdicts = await self._judge(zone, _ds_seen(zone))
                if any(verdicts.values()):
                    verdicts = await self._judge(zone, await self._ds_now(zone))
        except TimeoutError:
            verdicts = {}  # a fault that was seen only once does not count
            log.info("answers of public servers not validated in time", zone=zone.name)
        except ZoneGone:
            return
        if not zone.gone:
            self._take(zone, room, verdicts)

    def _take(self, zone: FrontZone, room: ServedRoom, verdicts: dict[str, str]) -> None:
        """Take the fault of each server that was judged, "" for none. The fault of a server that is silent stays."""
        now = self._clock.now()
        if not verdicts:
            room.next_at = now + AGAIN_S
            return
        asked = {server.name for server in zone.asked_servers}
        known = {server: fault for server, fault in room.faults.items() if server in asked}
        room.faults = {server: fault for server, fault in {**known, **verdicts}.items() if fault}
        room.checked_at, room.next_at = now, now + AGAIN_S if room.faults else _next_round(zone, now)
        if room.bogus:
            self._events.raise_event(EVENT, zone.name, f"validators refuse the answers of {room.bogus}")
        else:
            self._events.resolve(EVENT, zone.name)

    async def _judge(self, zone: FrontZone, ds_sets: DsSets) -> dict[str, str]:
        """Return the fault of each server whose answer can be judged, "" for none."""
        servers = list(zone.asked_servers)[:SERVERS_MAX]
        answers = await asyncio.gather(*(_ask(zone, server) for server in servers))
        judged = {answer.server: answer.apex for answer in answers if answer.apex is not None}
        now = int(self._clock.now())
        # In a thread: a server chooses how many keys and signatures are tried, up to the size of an answer.
        return {
            server: await asyncio.to_thread(_fault_of, zone.origin, ds_sets, apex, now)
            for server, apex in judged.items()
        }

    async def _ds_now(self, zone: FrontZone) -> DsSets:
        """Return what the parent serves now, or what it served last if it cannot be asked in time."""
        try:
            async with asyncio.timeout(PARENT_S):
                answers = await self._look(zone)
        except (ParentUnknown, TimeoutError):
            answers = []
        fresh = {tuple(map(ds_rdata, answer.ds)) for answer in answers if answer.ds is not None}
        return {ds for ds in fresh if ds} if fresh else _ds_seen(zone)


def _fault_of(origin: bytes, ds_sets: DsSets, apex: ServedApex, now: int) -> str:
    """Return the first fault of an answer with any of the DS RRsets, "" for none."""
    faults = (judge_served(origin, ds, apex, now) for ds in sorted(ds_sets))
    return next((fault for fault in faults if fault), "")


def _due_at(zone: FrontZone) -> float:
    return 0.0 if zone.served is None else zone.served.next_at


async def _ask(zone: FrontZone, server: Peer) -> Served:
    return await ask_served(zone.name, server)


def _ds_seen(zone: FrontZone) -> DsSets:
    """Return the DS RRsets that the parent was seen to serve."""
    known = zone.ds
    if known is None or known.parent.alone:
        return set()
    return {tuple(sight.ds) for sight in known.seen if sight.ds}


def _next_round(zone: FrontZone, now: float) -> float:
    """Return a time about an hour later; each zone has its own place in the hour."""
    place = crc32(zone.name.encode()) % 3600
    return now + PERIOD_S / 2 + (place - now) % PERIOD_S / 2
