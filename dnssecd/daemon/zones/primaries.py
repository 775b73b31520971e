"""Zones from primaries: when to poll (SOA timers, NOTIFY, operator), where to fetch from, and the result.

A poll queries every primary of the zone for its SOA. Transfers come from primaries with a later serial, the
latest first; if one fails, or its zone has errors, the next one follows (``transfers_in.py``). The last
version is served in any case, even after the SOA's expire, when an alert reports it. ``soa_expire =
"follow"`` changes that (``zone_expiry.py``).
"""

import asyncio
from pathlib import Path

import structlog
from msgspec import Struct

from dnssecd.clock import Clock
from dnssecd.core.dns.message import NOERROR, NOTAUTH
from dnssecd.daemon.server_reports import PeerReports
from dnssecd.daemon.zones import specs
from dnssecd.daemon.zones.first_publication import Permission
from dnssecd.daemon.zones.gates import Gates, Work, shut_for
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.outcome_events import INPUT_EVENTS
from dnssecd.daemon.zones.primary_state import (
    FIRST_RETRY,
    Held,
    Sight,
    Upstream,
    held_of,
    refresh_delay_s,
    retry_delay_s,
    shown,
    to_fetch_from,
)
from dnssecd.daemon.zones.rooms import PrimariesRoom
from dnssecd.daemon.zones.schedule import Schedule
from dnssecd.daemon.zones.transfer_round import TransferRound, as_event
from dnssecd.daemon.zones.transfers_in import TransfersIn
from dnssecd.daemon.zones.work import ZoneJobs
from dnssecd.daemon.zones.zone import FrontZone, ZoneGone
from dnssecd.daemon.zones.zone_expiry import Expiry
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import Metrics
from dnssecd.pipeline.jobs.input_check import checks_input
from dnssecd.pipeline.jobs.outcome import Outcome, Problem
from dnssecd.publish.exchange import Peer
from dnssecd.publish.watch import sight
from dnssecd.server.interfaces import Request, ServedZone
from dnssecd.store.errors import StoreError

LOOKS_AT_ONCE = 64
#: The least time between two polls of a zone's primaries, with any number of NOTIFYs.
GAP_S = 0.2
#: A rejected zone of a primary is not fetched again for this long, unless its serial increases.
REJECTED_AGAIN_S = 3600.0
#: If a primary announced a later serial than its transfer reached, the rest is fetched after this long.
REST_AFTER_S = 1.0
#: A failure, perhaps by a fault of dnssecd, is tried again after this long at the latest.
FAILED_AGAIN_S = 60.0

#: The wake-up (``schedule.py``).
REFRESH = "refresh"
STORE_ERRORS = (StoreError, OSError)

log = structlog.get_logger("dnssecd.primaries")


class Wish(Struct, frozen=True):
    """A request for a poll.

    ``replace``: fetch the whole zone, with any serial and any changes; ``first``: publish it in any case;
    ``asked``: by an operator.
    """

    replace: bool = False
    first: bool = False
    asked: bool = False


class Checked(Struct, frozen=True):
    """The result of a poll: the outcome of a job, a missing permission, a failure in words; none: nothing newer."""

    outcome: Outcome | None = None
    permission: Permission | None = None
    failure: str = ""


class Primaries:
    """Polls the primaries of all zones with ``source = "primaries"``. Methods belong to the event loop's thread.

    It removes files that transfers of an earlier process left in ``state_dir`` (OSError).
    """

    def __init__(
        self,
        jobs: ZoneJobs,
        events: EventCore,
        metrics: Metrics,
        clock: Clock,
        schedule: Schedule,
        state_dir: Path,
        gates: Gates,
        peers: PeerReports,
        mailbox: Mailbox,
    ) -> None:
        """peers: notes what a look at a primary shows."""
        self._jobs, self._events, self._metrics = jobs, events, metrics
        self._clock, self._schedule = clock, schedule
        self._looked = peers
        self._free = asyncio.Semaphore(LOOKS_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._transfers = TransfersIn(jobs, metrics, state_dir)
        self.expiry = Expiry(events, clock, schedule, gates, mailbox, self.refresh)
        mailbox.load_requested.subscribe(self._reconsider)
        mailbox.removed.subscribe(self.forget)

    def refresh(self, zone: FrontZone) -> None:
        """Poll the primaries as soon as possible."""
        if zone.gone:
            return
        if zone.config.source != "primaries" or zone.orphan:
            self.expiry.serve_again(zone)
            self.forget(zone)
            return
        if shut_for(zone, Work.LOOK) is not None:
            return  # a load is requested when the stored version can be built on
        room = _room(zone)
        if room.task is not None:
            room.again = True
            return
        task = room.task = asyncio.get_running_loop().create_task(self._look_on(zone, room))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(zone, room, done))

    def _reconsider(self, zone: FrontZone) -> None:
        """Poll again: the configuration may have changed, or an obstacle is gone."""
        up = None if zone.upstream is None else zone.upstream.upstream
        if up is not None:
            for primary in up.rejected:
                self._sound(zone, primary)
            up.rejected.clear()
        self.refresh(zone)

    def forget(self, zone: FrontZone) -> None:
        """Stop polling for a zone that was removed, or now has another source."""
        zone.primaries = ()
        self.expiry.forget(zone)
        self._schedule.forget(zone, REFRESH)
        if zone.upstream is not None:
            zone.upstream.close()
            zone.upstream = None

    async def on_notify(self, served: ServedZone, request: Request) -> int:
        """Handle a NOTIFY from a primary (server.interfaces.Handler); the answer does not wait for the poll."""
        assert isinstance(served, FrontZone)
        if served.config.source != "primaries":
            return NOTAUTH
        self._metrics.peers.notify_in.labels("taken").inc()
        self.refresh(served)
        return NOERROR

    async def fetch_now(self, zone: FrontZone, wish: Wish) -> Checked:
        """Poll the primaries now, for an operator."""
        return await self._check(zone, wish)

    async def close(self) -> None:
        """Stop everything."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._transfers.close()

    def _ended(self, zone: FrontZone, room: PrimariesRoom, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if room.task is task:
            room.task = None
        if not task.cancelled() and not isinstance(task.exception(), ZoneGone | None):
            log.error("poll of primaries failed", zone=zone.name, exc_info=task.exception())

    async def _look_on(self, zone: FrontZone, room: PrimariesRoom) -> None:
        """Poll, and poll again while there are new requests."""
        while True:
            room.again = False
            started = self._clock.monotonic()
            await self._check(zone, Wish())
            if not room.again:
                # Here, not when the task is done: later requests get their own task.
                if room.task is asyncio.current_task():
                    room.task = None
                return
            await asyncio.sleep(max(0.0, started + GAP_S - self._clock.monotonic()))

    async def _check(self, zone: FrontZone, wish: Wish) -> Checked:
        room = _room(zone)
        async with room.lock:
            zone.check()
            if room.upstream is None:
                room.upstream = Upstream(self.expiry.fresh_at(zone))
            up = room.upstream
            held = None
            # In any case there is a next poll from here on, also after a bug.
            self._wake_in(zone, retry_delay_s(held, 1))
            try:
                # Opening a database may take long, and at start thousands are opened.
                held = await asyncio.to_thread(held_of, zone)
                self._wake_in(zone, retry_delay_s(held, 1))
                checked = await self._look(zone, up, held, wish)
                self.expiry.age(zone, up, held)
                return checked
            except ZoneGone:
                raise
            except STORE_ERRORS as error:
                self._events.raise_event("store-failed", zone.name, str(error))
                self._wake_in(zone, retry_delay_s(held, 1))
                return Checked(failure=str(error))

    async def _look(self, zone: FrontZone, up: Upstream, held: Held | None, wish: Wish) -> Checked:
        peers = self._peers(zone)
        sights = await self._sights(zone, up, list(peers.values()))
        zone.check()
        primaries = self._jobs.config.primaries
        zone.primaries = shown(up.seen, {name: specs.protection(primaries[name]) for name in peers})
        if all(sight.serial is None for _, sight in sights):
            return self._unreachable(zone, up, held, sights)
        up.failures = 0
        self._events.resolve("primary-unreachable", zone.name)
        serial = None if wish.replace else up.at_hand(held)
        names = to_fetch_from(sights, serial)
        for name, seen in sights:
            if name not in names and seen.serial is not None:
                self._sound(zone, name)
        if not names:
            assert serial is not None
            return self._nothing_newer(zone, up, held, sights, serial)
        if not wish.asked:
            names = (
                []
                if shut_for(zone, Work.TRANSFER)
                else [name for name in names if not self._was_rejected(up, name)]
            )
        if not names:
            self._wake_in(zone, refresh_delay_s(zone.name, held))
            return Checked()
        permission = await self._jobs.permit(zone, first_publication=wish.first)
        if not permission.allowed:
            self._wake_in(zone, FIRST_RETRY.longest_s)
            return Checked(permission=permission)
        # IXFR would not show which of the other signers' keys are in the zone, nor what is checked of the input.
        whole = zone.spec.foreign_input or checks_input(zone.spec, {})
        base = serial if held is not None and not whole else None
        return await self._transfer(zone, up, [peers[n] for n in names], base, wish, permission.serial_floor)

    def _peers(self, zone: FrontZone) -> dict[str, Peer]:
        config = self._jobs.config
        return {name: specs.peer(config, config.primaries[name]) for name in zone.config.primaries}

    async def _sights(self, zone: FrontZone, up: Upstream, peers: list[Peer]) -> list[tuple[str, Sight]]:
        """Query all primaries at the same time, and store the answers."""

        async def one(peer: Peer) -> tuple[str, Sight]:
            async with self._free:
                seen = await sight(zone.name, peer, self._clock.now)
            self._looked.looked(seen)
            return peer.name, Sight(seen.serial, seen.at, seen.detail)

        sights = list(await asyncio.gather(*(one(peer) for peer in peers)))
        up.seen = dict(sights)
        return sights

    def _unreachable(
        self, zone: FrontZone, up: Upstream, held: Held | None, sights: list[tuple[str, Sight]]
    ) -> Checked:
        up.failures += 1
        self._wake_in(zone, retry_delay_s(held, up.failures))
        cause = "no primary answers: " + "; ".join(f"{name}: {sight.detail}" for name, sight in sights)
        log.warning("no primary answers", zone=zone.name, cause=cause, failures=up.failures)
        silent_s = self._clock.now() - up.fresh_at
        if held is not None and silent_s > held.expire_s:
            cause += f". This has lasted {silent_s / 3600:.1f} h, longer than SOA expire ({held.expire_s} s)"
            if zone.config.soa_expire == "serve":
                cause += "; the previous version is still served"
            self._events.raise_event("primary-unreachable", zone.name, cause, severity="critical")
        elif held is None or up.failures > 1:
            self._events.raise_event("primary-unreachable", zone.name, cause)
        return Checked(failure=cause)

    def _nothing_newer(
        self,
        zone: FrontZone,
        up: Upstream,
        held: Held | None,
        sights: list[tuple[str, Sight]],
        serial: int,
    ) -> Checked:
        self._wake_in(zone, refresh_delay_s(zone.name, held))
        if any(sight.serial == serial for _, sight in sights):
            up.fresh_at = self._clock.now()
            self._metrics.server.transfers_in.labels("up-to-date").inc()
            self._good(zone)
            return Checked()
        back = ", ".join(f"{name} has {seen.serial}" for name, seen in sights if seen.serial is not None)
        cause = f"the primaries' serial decreased: {back}; still serving {serial}"
        remedy = (
            f"raise the serial at the primaries above {serial}; if the zone was created again there: "
            f"dnssecd zone reload {zone.name} --accept-change"
        )
        self._bad(zone, Problem("input-error", cause, remedy))
        return Checked(failure=cause)

    def _was_rejected(self, up: Upstream, name: str) -> bool:
        if name not in up.rejected:
            return False
        serial, at = up.rejected[name]
        return up.seen[name].serial == serial and self._clock.now() < at + REJECTED_AGAIN_S

    async def _transfer(
        self,
        zone: FrontZone,
        up: Upstream,
        peers: list[Peer],
        base: int | None,
        wish: Wish,
        floor: int | None,
    ) -> Checked:
        turn = TransferRound([peer.name for peer in peers], base)
        outcome = await self._transfers.fetch(zone, turn, peers, replace=wish.replace, floor=floor)
        self._judge_primaries(zone, up, turn, outcome)
        return await self._settled(zone, up, outcome)

    def _judge_primaries(self, zone: FrontZone, up: Upstream, turn: TransferRound, outcome: Outcome) -> None:
        """Store which primaries' zones had errors; alert for each if another primary's zone was used instead."""
        for primary, rejected in turn.passed:
            if rejected.result == "rejected":
                serial = up.seen[primary].serial if rejected.input_serial is None else rejected.input_serial
                if serial is not None:
                    up.rejected[primary] = (serial, self._clock.now())
            if outcome.result in ("published", "unchanged"):
                problem = as_event(rejected.problems[0])
                self._events.raise_event(
                    problem.event, zone.name, problem.cause, subject=primary, remedy=problem.remedy or None
                )
        if outcome.result in ("published", "unchanged") and outcome.input_serial is not None:
            taken = [(name, seen) for name, seen in up.seen.items() if name not in dict(turn.passed)]
            for name in {name for name, _ in taken} - set(to_fetch_from(taken, outcome.input_serial)):
                self._sound(zone, name)

    def _sound(self, zone: FrontZone, primary: str) -> None:
        """Resolve the event on one primary's zone."""
        for name in INPUT_EVENTS:
            self._events.resolve(name, zone.name, primary)

    async def _settled(self, zone: FrontZone, up: Upstream, outcome: Outcome) -> Checked:
        """Apply the result of a transfer, and plan the next poll."""
        self._jobs.took(zone, outcome, "transfer")
        held = await asyncio.to_thread(held_of, zone)
        zone.check()
        if outcome.result in ("published", "unchanged"):
            up.fresh_at = self._clock.now()
            if outcome.input_serial is not None and held is not None:
                up.same = (held.serial, outcome.input_serial)
            if outcome.result == "published" and up.has_more_than(outcome.input_serial):
                # A primary may send differences up to a serial below the one that it announced (RFC 1995 §4).
                self._wake_in(zone, REST_AFTER_S)
            else:
                self._wake_in(zone, refresh_delay_s(zone.name, held))
        elif outcome.result == "rejected":
            self._wake_in(zone, refresh_delay_s(zone.name, held))
        else:
            up.failures += 1
            self._wake_in(zone, min(retry_delay_s(held, up.failures), FAILED_AGAIN_S))
        return Checked(outcome)

    def _good(self, zone: FrontZone) -> None:
        for name in INPUT_EVENTS:
            self._events.resolve(name, zone.name)
        zone.problems = tuple(problem for problem in zone.problems if problem.event not in INPUT_EVENTS)

    def _bad(self, zone: FrontZone, problem: Problem) -> None:
        zone.problems = (problem,)
        self._events.raise_event(problem.event, zone.name, problem.cause, remedy=problem.remedy)

    def _wake_in(self, zone: FrontZone, seconds: float) -> None:
        self._schedule.wake(zone, REFRESH, self._clock.now() + seconds, self.refresh)


def _room(zone: FrontZone) -> PrimariesRoom:
    if zone.upstream is None:
        zone.upstream = PrimariesRoom()
    return zone.upstream
