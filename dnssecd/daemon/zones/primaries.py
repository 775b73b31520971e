"""Zones that come from primaries: when to look (SOA timers, NOTIFY, an operator), from whom to fetch, what comes of it.

A look asks every primary of the zone for its SOA. Primaries with a later serial are fetched from, the latest first; one
that fails, or whose zone is not good, is passed over for the next. The fetcher receives, a zone worker takes apart,
signs and commits; only small messages pass through this process. The version that is there is served whatever happens,
beyond the SOA's expire, too: then the alert says so. With ``soa_expire = "follow"`` it is not (RFC 1035 section
3.3.13) until a primary confirms it or has a newer one; it is kept, and kept signed.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import structlog

from dnssecd.clock import Clock
from dnssecd.core.dns.message import NOERROR, NOTAUTH
from dnssecd.daemon.zones import specs
from dnssecd.daemon.zones.first_publication import Permission
from dnssecd.daemon.zones.gates import Gates, Work, shut_for
from dnssecd.daemon.zones.machine import Event, happened
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.outcome_events import INPUT_EVENTS
from dnssecd.daemon.zones.primary_state import (
    FIRST_RETRY_LAST_S,
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
from dnssecd.daemon.zones.work import ZoneJobs
from dnssecd.daemon.zones.zone import FrontZone, ZoneGone
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import Metrics
from dnssecd.pipeline.fetch.link import FetchLink
from dnssecd.pipeline.fetch.plan import Fetched, FetchLimits, FetchPeer, FetchPlan
from dnssecd.pipeline.jobs.input import TransferJob
from dnssecd.pipeline.jobs.outcome import Outcome, Problem
from dnssecd.publish.exchange import Peer
from dnssecd.publish.watch import sight
from dnssecd.server.interfaces import Request, ServedZone
from dnssecd.store.errors import StoreError

LOOKS_AT_ONCE = 64
#: Between two looks at the primaries of one zone, however many NOTIFYs come.
GAP_S = 0.2
#: What a primary had and we did not take is not fetched again for this long, unless its serial rises.
REJECTED_AGAIN_S = 3600.0
#: What a primary announced beyond the end of its transfer is fetched after this long.
REST_AFTER_S = 1.0
#: What failed, perhaps through a fault of ours, is tried again after this long at the latest.
FAILED_AGAIN_S = 60.0

#: Octets of one transfer where the configuration sets no limit: in any case; of a zone of any size; and as a
#: multiple of the database of a zone that is held.
TRANSFER_MAX = 4 << 30
TRANSFER_SMALL_MAX = 64 << 20
GROWTH_MAX = 4

EXPIRED = "zone-expired"
STORE_ERRORS = (StoreError, OSError)

log = structlog.get_logger("dnssecd.primaries")


@dataclass(frozen=True)
class Wish:
    """``replace``: fetch the zone whole, whatever its serial and what it changes; ``first``: publish it in any case;
    ``asked``: by an operator."""

    replace: bool = False
    first: bool = False
    asked: bool = False


@dataclass(frozen=True)
class Checked:
    """What came of a look: the outcome of a job, a missing permission, a failure in words; none: nothing newer."""

    outcome: Outcome | None = None
    permission: Permission | None = None
    failure: str = ""


class Primaries:
    """Looks after all zones with ``source = "primaries"``. Methods belong to the event loop's thread.

    What transfers of an earlier process left behind in ``state_dir`` is removed (OSError).
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
        mailbox: Mailbox,
    ) -> None:
        self._jobs, self._events, self._metrics = jobs, events, metrics
        self._clock, self._schedule = clock, schedule
        self._directory = state_dir / "transfers"
        self._link = FetchLink()
        self._free = asyncio.Semaphore(LOOKS_AT_ONCE)
        self._files = count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._directory.mkdir(mode=0o700, exist_ok=True)
        for left in self._directory.iterdir():
            left.unlink()
        self._gates, self._mailbox = gates, mailbox
        mailbox.load_requested.subscribe(self._reconsider)
        mailbox.removed.subscribe(self.forget)

    def refresh(self, zone: FrontZone) -> None:
        """Look at the primaries as soon as may be."""
        if zone.gone:
            return
        if zone.config.source != "primaries" or zone.orphan:
            self._serve_again(zone)
            self.forget(zone)
            return
        if shut_for(zone, Work.LOOK) is not None:
            return  # a load is asked for when what is stored may be built on
        room = _room(zone)
        if room.task is not None:
            room.again = True
            return
        task = room.task = asyncio.get_running_loop().create_task(self._look_on(zone, room))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(zone, room, done))

    def _reconsider(self, zone: FrontZone) -> None:
        """Look anew: the configuration may have changed, or what was in the way is gone."""
        up = None if zone.upstream is None else zone.upstream.upstream
        if up is not None:
            for primary in up.rejected:
                self._sound(zone, primary)
            up.rejected.clear()
        self.refresh(zone)

    def forget(self, zone: FrontZone) -> None:
        """Stop looking after a zone that was removed, or that comes from elsewhere now."""
        zone.primaries = []
        if zone.expired:
            self._events.resolve(EXPIRED, zone.name)
        self._schedule.forget(_wake(zone))
        self._schedule.forget(_expiry(zone))
        if zone.upstream is not None:
            zone.upstream.close()
            zone.upstream = None

    async def on_notify(self, served: ServedZone, request: Request) -> int:
        """Handle a NOTIFY from a primary (server.interfaces.Handler); the answer does not wait for the look."""
        assert isinstance(served, FrontZone)
        if served.config.source != "primaries":
            return NOTAUTH
        self._metrics.peers.notify_in.labels("taken").inc()
        self.refresh(served)
        return NOERROR

    async def fetch_now(self, zone: FrontZone, wish: Wish) -> Checked:
        """Look at the primaries now, because an operator asks for it."""
        return await self._check(zone, wish)

    async def close(self) -> None:
        """Stop everything."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._link.close()

    def _ended(self, zone: FrontZone, room: PrimariesRoom, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if room.task is task:
            room.task = None
        if not task.cancelled() and not isinstance(task.exception(), ZoneGone | None):
            log.error("looking at primaries failed", zone=zone.name, exc_info=task.exception())

    async def _look_on(self, zone: FrontZone, room: PrimariesRoom) -> None:
        """Look, and look again for as long as somebody asked for it meanwhile."""
        while True:
            room.again = False
            started = self._clock.monotonic()
            await self._check(zone, Wish())
            if not room.again:
                # Here, not when the task is done: who asks from now on gets a task of their own.
                if room.task is asyncio.current_task():
                    room.task = None
                return
            await asyncio.sleep(max(0.0, started + GAP_S - self._clock.monotonic()))

    async def _check(self, zone: FrontZone, wish: Wish) -> Checked:
        room = _room(zone)
        async with room.lock:
            zone.check()
            if room.upstream is None:
                room.upstream = Upstream(self._fresh_at(zone))
            up = room.upstream
            held = None
            try:
                # Opening a database may take its time, and at start thousands are opened.
                held = await asyncio.to_thread(held_of, zone)
                # Whatever happens from here on, there is a next look.
                self._wake_in(zone, retry_delay_s(held, 1))
                checked = await self._look(zone, up, held, wish)
                self._age(zone, up, held)
                return checked
            except ZoneGone:
                raise
            except STORE_ERRORS as error:
                self._events.raise_event("store-failed", zone.name, str(error))
                self._wake_in(zone, retry_delay_s(held, 1))
                return Checked(failure=str(error))

    def recall(self, zone: FrontZone) -> None:
        """Know again what had expired in an earlier process: it is not served before a primary confirms it."""
        follows = zone.config.source == "primaries" and zone.config.soa_expire == "follow"
        zone.expired = follows and self._events.is_firing(EXPIRED, zone.name)
        if zone.expired:
            happened(zone, Event.SILENT)
        else:
            self._events.resolve(EXPIRED, zone.name)

    def _age(self, zone: FrontZone, up: Upstream, held: Held | None) -> None:
        """Let a zone expire that no primary has confirmed for too long, where that is wanted; or serve it again."""
        if held is None or zone.config.soa_expire != "follow":
            self._serve_again(zone)
            return
        silent_s = self._clock.now() - up.fresh_at
        if silent_s <= held.expire_s:
            self._schedule.wake(_expiry(zone), up.fresh_at + held.expire_s + 1, lambda: self.refresh(zone))
            self._serve_again(zone)
        elif not zone.expired and not self._gates.why_stopped(Work.EXPIRE):
            cause = (
                f"no primary has confirmed {zone.name} for {silent_s / 3600:.1f} h, longer than SOA expire "
                f'({held.expire_s} s), and soa_expire is "follow"'
            )
            zone.expired = True
            happened(zone, Event.SILENT)
            zone.problems = (*zone.problems, Problem(EXPIRED, cause, "make a primary answer"))
            self._events.raise_event(EXPIRED, zone.name, cause)
            self._mailbox.expiry_changed.send(zone)

    def _serve_again(self, zone: FrontZone) -> None:
        if zone.expired:
            zone.expired = False
            happened(zone, Event.CONFIRMED)
            zone.problems = tuple(problem for problem in zone.problems if problem.event != EXPIRED)
            self._events.resolve(EXPIRED, zone.name)
            self._mailbox.expiry_changed.send(zone)

    def _fresh_at(self, zone: FrontZone) -> float:
        """When primaries were last heard of: before the event that says they are not, where that fires."""
        if zone.expired:
            return 0.0
        lost = [e.first_seen for e in self._events.firing(zone.name) if e.name == "primary-unreachable"]
        return min([self._clock.now(), *lost])

    async def _look(self, zone: FrontZone, up: Upstream, held: Held | None, wish: Wish) -> Checked:
        peers = self._peers(zone)
        sights = await self._sights(zone, up, list(peers.values()))
        zone.check()
        zone.primaries = shown(up.seen, peers)
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
            self._wake_in(zone, FIRST_RETRY_LAST_S)
            return Checked(permission=permission)
        base = serial if held is not None else None
        return await self._transfer(zone, up, [peers[n] for n in names], base, wish, permission.serial_floor)

    def _peers(self, zone: FrontZone) -> dict[str, Peer]:
        config = self._jobs.config
        return {name: specs.peer(config, config.primaries[name]) for name in zone.config.primaries}

    async def _sights(self, zone: FrontZone, up: Upstream, peers: list[Peer]) -> list[tuple[str, Sight]]:
        """Ask all primaries at once, and remember."""

        async def one(peer: Peer) -> tuple[str, Sight]:
            async with self._free:
                seen = await sight(zone.name, peer, self._clock.now)
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
            cause += f". That is so for {silent_s / 3600:.1f} h, longer than SOA expire ({held.expire_s} s)"
            if zone.config.soa_expire == "serve":
                cause += "; the zone is served on as it was"
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
        cause = f"the primaries' serial went back: {back}; {serial} is held, and served on"
        remedy = (
            f"raise the serial at the primaries above {serial}; if the zone was begun anew there: "
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
        path = self._directory / f"{next(self._files)}"
        turn = TransferRound([peer.name for peer in peers], base)
        outcome = None
        try:
            while outcome is None:
                outcome = await self._attempt(zone, turn, peers, wish, floor, path)
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        self._judge_primaries(zone, up, turn, outcome)
        return await self._settled(zone, up, outcome)

    async def _attempt(
        self,
        zone: FrontZone,
        turn: TransferRound,
        peers: list[Peer],
        wish: Wish,
        floor: int | None,
        path: Path,
    ) -> Outcome | None:
        """Fetch once, and have what came taken; return the outcome of the round, None while it goes on."""
        plan = self._plan(zone, [peer for peer in peers if peer.name in turn.names], turn.base, path, wish)
        fetched = await self._link.fetch(plan)
        zone.check()
        self._count(zone, fetched)
        if fetched.result == "failed":
            return turn.failed(_failed(zone, "; ".join(str(attempt) for attempt in fetched.attempts)))
        if fetched.result == "current":
            turn.no_differences()  # it said something else a moment ago
            return None
        asked = turn.base if fetched.result == "ixfr" else None
        job = TransferJob(
            path=str(path), primary=fetched.primary, base=asked, replace=wish.replace, serial_floor=floor
        )
        outcome = await self._jobs.take(zone, "transfer", fetched.octets, transfer=job)
        ended = turn.took(fetched.primary, asked, outcome)
        if ended is None:
            kind = "differences cannot be used" if asked is not None else "zone of a primary not taken"
            log.warning(kind, zone=zone.name, primary=fetched.primary, cause=outcome.problems[0].cause)
        return ended

    def _judge_primaries(self, zone: FrontZone, up: Upstream, turn: TransferRound, outcome: Outcome) -> None:
        """Remember whose zone was not good; alert for each where another's was taken instead."""
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
        """Resolve what is said of one primary's zone."""
        for name in INPUT_EVENTS:
            self._events.resolve(name, zone.name, primary)

    def _plan(
        self, zone: FrontZone, peers: list[Peer], base: int | None, path: Path, wish: Wish
    ) -> FetchPlan:
        primaries = tuple(
            FetchPeer(p.name, p.host, p.port, p.key.name, p.key.algorithm, p.key.secret, p.source)
            if p.key is not None
            else FetchPeer(p.name, p.host, p.port, source=p.source)
            for p in peers
        )
        limits = FetchLimits(octets=_transfer_octets_max(zone, trusted=wish.replace))
        return FetchPlan(origin=zone.origin, primaries=primaries, path=str(path), base=base, limits=limits)

    def _count(self, zone: FrontZone, fetched: Fetched) -> None:
        metric = self._metrics.server.transfers_in
        for attempt in fetched.attempts:
            metric.labels("failed").inc()
            log.warning("transfer in failed", zone=zone.name, primary=attempt.primary, cause=str(attempt))
        if fetched.result in ("failed", "current"):
            return
        kind = "axfr" if fetched.whole else "ixfr"
        metric.labels(kind).inc()
        log.info(
            "transfer in",
            zone=zone.name,
            primary=fetched.primary,
            kind=kind,
            messages=fetched.messages,
            octets=fetched.octets,
        )

    async def _settled(self, zone: FrontZone, up: Upstream, outcome: Outcome) -> Checked:
        """Take over what came of a transfer, and plan the next look."""
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
        self._schedule.wake(_wake(zone), self._clock.now() + seconds, lambda: self.refresh(zone))


def _room(zone: FrontZone) -> PrimariesRoom:
    if zone.upstream is None:
        zone.upstream = PrimariesRoom()
    return zone.upstream


def _expiry(zone: FrontZone) -> str:
    return f"expire {zone.name}"


def _wake(zone: FrontZone) -> str:
    return f"refresh {zone.name}"


def _transfer_octets_max(zone: FrontZone, *, trusted: bool) -> int:
    """Return how large a transfer may be: as configured, else a multiple of what is held of the zone.

    trusted: an operator wants the zone whatever it has become, so what is held is no measure.
    """
    if zone.config.max_transfer_mib is not None:
        return zone.config.max_transfer_mib << 20
    if zone.serial is None or trusted:
        return TRANSFER_MAX
    try:
        held = Path(zone.spec.database).stat().st_size
    except OSError:
        return TRANSFER_MAX
    # The database holds the signatures and an index too: it is larger than the zone as a primary sends it.
    return min(max(TRANSFER_SMALL_MAX, GROWTH_MAX * held), TRANSFER_MAX)


def _failed(zone: FrontZone, cause: str) -> Outcome:
    problem = Problem(
        "input-error",
        f"the zone could not be transferred: {cause}",
        "look at the primaries named: do they have the zone, and allow us to transfer it?",
    )
    return Outcome(zone=zone.name, result="failed", problems=(problem,))
