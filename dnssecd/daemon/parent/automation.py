"""DS automation: what the parent is to have is brought to it, checked, and handed to people where it must be.

The roll-over wiring says what is wanted after each plan (:meth:`DsAutomation.ds_wanted`) and what the parent's
servers were seen to have (:meth:`DsAutomation.ds_seen`). From then on a request is followed until it is seen to be
done: pushed, given to the hook, told by NOTIFY, each again and again with growing intervals; people are told at
once if there is no way without them, else when the ways fail or the time is over. All calls are level-triggered:
repeating one changes nothing, and after a restart the first call takes everything up again. Nothing is stored here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field

import structlog

from dnssecd.clock import Clock
from dnssecd.core.keys.evidence import ParentSight
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.parent import text as handover_text
from dnssecd.core.parent.handover import Change, Handover, Task, handover_of
from dnssecd.core.parent.text import Progress, SeenAt
from dnssecd.daemon.parent import judge as dsjudge
from dnssecd.daemon.parent.channels import (
    FAILURES_TOLD,
    HOOK,
    NOTIFY,
    PUSH,
    Count,
    Doer,
    Pace,
    Parent,
    Way,
    ways_of,
)
from dnssecd.ops.ds_hook import HookRunner
from dnssecd.ops.events import EventCore
from dnssecd.store.event_log import Event, Severity

AT_ONCE_MAX = 8
HANDOVER, FAILED = "ds-handover", "ds-automation-failed"
MISSING, MISMATCH, OVERDUE = "ds-missing", "ds-mismatch", "rollover-overdue"
DETAILED = frozenset({HANDOVER, FAILED, MISSING, MISMATCH, OVERDUE})

log = structlog.get_logger("dnssecd.ds")


@dataclass(eq=False)
class _Zone:
    """What is known of one zone; `handover` is the request that is followed while `task` runs."""

    parent: Parent
    keyset: Keyset
    handover: Handover
    ways: dict[str, Way] = field(default_factory=dict)
    seen: tuple[ParentSight, ...] = ()
    public: bool = True
    closing: str = ""
    overdue: bool = False
    raised: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def reached(self) -> bool:
        """Whether every server of the parent was seen, since the request, to have just what is wanted."""
        return dsjudge.reached(self.handover, self.seen)


class DsAutomation:
    """One per daemon. All methods but `details` belong to the event loop's thread."""

    def __init__(
        self,
        events: EventCore,
        clock: Clock,
        *,
        count: Count = lambda way, result: None,
        history: Callable[[str, str, str], None] = lambda zone, what, detail: None,
        doer: Doer | None = None,
        pace: Pace | None = None,
        at_once_max: int = AT_ONCE_MAX,
    ) -> None:
        """count: (way, "done" or "failed"), for metrics. history: (zone, what, detail) of what was done outside."""
        self._events, self._clock = events, clock
        self._count, self._history = count, history
        self._doer = doer or Doer(HookRunner())
        self._pace = pace or Pace()
        self._free = asyncio.Semaphore(at_once_max)
        self._zones: dict[str, _Zone] = {}

    @property
    def zones(self) -> Set[str]:
        """The names of the zones that are known."""
        return self._zones.keys()

    # What the roll-over wiring says

    def ds_wanted(
        self, zone: str, keyset: Keyset, parent: Parent, *, public: bool = True, reason: str = ""
    ) -> None:
        """These are the zone's keys now, as stored; the parent is to follow. To be called after each plan.

        public: all secondaries serve the CDS that go with it (NOTIFY waits for that, RFC 9859 section 4.2).
        """
        handover = handover_of(zone, keyset, grace_s=parent.grace_s, reason=reason)
        known = self._zones.get(zone)
        if known is None:
            known = self._zones[zone] = _Zone(parent, keyset, handover, public=public)
            self._begin(known)
            return
        if public and not known.public:
            known.news.set()
        same = handover.same_request(known.handover) and parent == known.parent
        if not same and known.handover.task is not Task.NOTHING and handover.task is Task.NOTHING:
            self._close(known)
        known.keyset, known.parent, known.public = keyset, parent, public
        if not same:
            known.handover, known.overdue = handover, False
            self._begin(known)
        self._judge_sights(known)

    def ds_seen(self, zone: str, sights: Sequence[ParentSight]) -> None:
        """This is what the parent's servers last said, all of them; whether or not it is something new."""
        known = self._zones.get(zone)
        if known is None:
            return
        known.seen = tuple(sights)
        self._judge_sights(known)
        known.news.set()

    def ds_overdue(self, zone: str) -> None:
        """The planner waits longer than it should: people are told now, whatever else is tried."""
        known = self._zones.get(zone)
        if known is not None and known.handover.task is not Task.NOTHING and not known.overdue:
            known.overdue = True
            known.news.set()

    def forget(self, zone: str) -> None:
        """The zone is gone."""
        known = self._zones.pop(zone, None)
        if known is not None:
            self._stop(known)

    async def close(self) -> None:
        """Stop everything; a hook that runs is killed."""
        tasks = [known.task for known in self._zones.values() if known.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._zones.clear()

    # What people read

    def details(self, event: Event) -> str:
        """The text that goes with an event's mail; "" for events that are not about DS. From any thread."""
        known = self._zones.get(event.zone) if event.name in DETAILED else None
        if known is None:
            return ""
        if not event.firing:
            return known.closing
        return handover_text.request_text(known.handover, _progress(known), self._clock.now())

    def progress(self, zone: str) -> Progress | None:
        """How it fares, for `ds show`; None where nothing is known of the zone."""
        known = self._zones.get(zone)
        return None if known is None else _progress(known)

    # Following a request

    def _begin(self, known: _Zone) -> None:
        """Follow the request there is now; for none, nothing is to be told any more."""
        self._stop(known)
        known.ways = ways_of(known.parent)
        known.news = asyncio.Event()
        handover = known.handover
        if handover.task is Task.NOTHING or known.parent.alone:
            self._resolve(handover.zone)
            return
        known.closing = ""
        log.info("ds wanted", zone=handover.zone, what=handover_text.cause(handover))
        known.task = asyncio.get_running_loop().create_task(self._follow(known))

    def _stop(self, known: _Zone) -> None:
        if known.task is not None:
            known.task.cancel()
            known.task = None

    async def _follow(self, known: _Zone) -> None:
        """Until a plan asks for something else; what was seen done may be undone."""
        while True:
            known.news.clear()
            if known.reached:
                self._close(known)
                await known.news.wait()
                continue
            if known.closing:
                known.closing, known.ways = "", ways_of(known.parent)
            await self._use_ways(known)
            if not known.reached:
                self._tell(known)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s(known)):
                    await known.news.wait()

    def _pause_s(self, known: _Zone) -> float:
        now = self._clock.now()
        ways = [way for way in known.ways.values() if way.name != NOTIFY or known.public]
        times = [now + self._pace.look_s, *(way.next_at for way in ways)]
        if now < known.handover.due_at:
            times.append(known.handover.due_at)
        return max(0.01, min(times) - now)

    async def _use_ways(self, known: _Zone) -> None:
        for way in known.ways.values():
            if self._clock.now() < way.next_at:
                continue
            if way.name == NOTIFY and not known.public:
                way.detail = "waits until all secondaries have the CDS"
                continue
            async with self._free:
                await self._use(known, way)

    async def _use(self, known: _Zone, way: Way) -> None:
        handover, parent = known.handover, known.parent
        try:
            worked, detail = await self._act(way, handover, parent)
        except Exception as error:  # a fault of ours must not end the request
            log.exception("a way to the parent failed", zone=handover.zone, way=way.name)
            worked, detail = False, f"fault in dnssecd: {type(error).__name__}: {error}"
        now = self._clock.now()
        self._count(way.name, "done" if worked else "failed")
        if worked:
            if way.failures or not way.done_at or way.detail != detail:
                log.info("ds way used", zone=handover.zone, way=way.name, detail=detail)
                self._history(handover.zone, f"ds {way.name}", detail)
            way.succeeded(now, detail, self._pace.again_s)
            self._events.resolve(FAILED, handover.zone, way.name)
            return
        way.failed(now, detail, self._pace)
        log.warning("ds way failed", zone=handover.zone, way=way.name, failures=way.failures, cause=detail)
        if way.failures >= FAILURES_TOLD and way.name != NOTIFY:
            self._raise_failed(handover, way)

    async def _act(self, way: Way, handover: Handover, parent: Parent) -> tuple[bool, str]:
        if way.name == PUSH:
            return await self._doer.push(handover, parent)
        if way.name == HOOK:
            return await self._doer.hook(handover, parent)
        notified = await self._doer.notify(handover, parent)
        if notified.offered or notified.ok:
            way.offered = notified.offered
        return notified.ok, notified.detail

    # Telling people

    def _tell(self, known: _Zone) -> None:
        """Raise the hand-over where it cannot wait, or need not, for what goes on by itself."""
        handover, now = known.handover, self._clock.now()
        if handover.task is Task.RESTORE:  # that a DS is gone is an event of its own
            self._events.resolve(HANDOVER, handover.zone)
            return
        late = known.overdue or now >= handover.due_at
        if not late and self._helped(known, now):
            return
        effect = "the roll-over waits; the keys in use stay in use, nothing breaks"
        if handover.urgent:
            effect = "the compromised key is trusted until its DS is gone"
        self._raise(
            known,
            HANDOVER,
            handover_text.cause(handover) + (": overdue" if late else ""),
            "error" if late or handover.urgent else "warning",
            effect=effect,
            remedy="hand over what is listed, unless the parent takes it automatically: "
            f"dnssecd ds show {handover.zone}",
        )

    def _raise(
        self,
        known: _Zone,
        name: str,
        cause: str,
        severity: Severity,
        *,
        subject: str = "",
        effect: str | None = None,
        remedy: str | None = None,
    ) -> None:
        """Raise what is news; looking again at what fires already is not counted."""
        zone, told = known.handover.zone, (cause, severity)
        if known.raised.get((name, subject)) != told or not self._events.is_firing(name, zone, subject):
            known.raised[name, subject] = told
            self._events.raise_event(
                name, zone, cause, subject=subject, severity=severity, effect=effect, remedy=remedy
            )

    def _helped(self, known: _Zone, now: float) -> bool:
        """Whether something that goes on by itself may well do it; a failing push or hook is told by itself."""
        notify = known.ways.get(NOTIFY)
        if notify is None or notify.tried_at or HOOK in known.ways:
            return any(way.helps for way in known.ways.values())
        return now < known.handover.asked_at + self._pace.tell_s

    def _raise_failed(self, handover: Handover, way: Way) -> None:
        words = {PUSH: "dynamic update", HOOK: "the registrar's hook"}
        self._events.raise_event(
            FAILED,
            handover.zone,
            f"{handover_text.cause(handover)}; {words[way.name]} failed {way.failures} times: {way.detail}",
            subject=way.name,
            effect="the parent does not get the change by this channel; the rollover waits",
            remedy=f"remove the cause (the change is tried again), or hand the DS over yourself: "
            f"dnssecd ds show {handover.zone}",
        )

    def _close(self, known: _Zone) -> None:
        """The parent has what was asked for, as seen or as confirmed by a person."""
        handover = known.handover
        if not known.closing:
            known.closing = handover_text.closing_text(handover, _progress(known), self._clock.now())
            log.info("ds done", zone=handover.zone, what=handover_text.cause(handover))
        self._resolve(handover.zone)

    def _resolve(self, zone: str) -> None:
        for name in (PUSH, HOOK):
            self._events.resolve(FAILED, zone, name)
        self._events.resolve(HANDOVER, zone)

    def _judge_sights(self, known: _Zone) -> None:
        """Raise and resolve what the parent's servers show, at any time."""
        zone = known.handover.zone
        if known.parent.alone:
            return
        verdict = dsjudge.judge(zone, known.keyset, known.handover, known.seen)
        if verdict.foreign:
            effect = (
                None if verdict.bogus else "the zone validates by another DS; nobody here asked for this one"
            )
            severity: Severity = "critical" if verdict.bogus else "error"
            self._raise(known, MISMATCH, verdict.foreign, severity, effect=effect)
        elif verdict.answered:
            self._events.resolve(MISMATCH, zone)
        if verdict.missing:
            self._raise(known, MISSING, verdict.missing, "error")
        elif verdict.answered and (verdict.held or not known.handover.wanted):
            self._events.resolve(MISSING, zone)  # not before: the key that had the DS may have left meanwhile


def _progress(known: _Zone) -> Progress:
    open_request = known.handover.task is not Task.NOTHING and not known.parent.alone
    return Progress(
        cds=known.parent.cds and bool(known.handover.having(Change.ADD, Change.REMOVE)),
        ways=tuple(way.line() for way in known.ways.values()) if open_request else (),
        polled=not known.parent.alone,
        seen=tuple(seen_at(sight) for sight in known.seen),
    )


def seen_at(sight: ParentSight) -> SeenAt:
    """A sight for people."""
    tags = None if sight.ds is None else tuple(sorted({int.from_bytes(ds[:2]) for ds in sight.ds}))
    return SeenAt(sight.name, tags, sight.at, sight.answer)
