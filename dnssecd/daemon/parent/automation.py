"""DS automation: bring the wanted DS to the parent, check the result, and ask an operator if necessary.

After each plan, the rollover engine reports the wanted DS (:meth:`DsAutomation.ds_wanted`) and the DS seen at
the parent's servers (:meth:`DsAutomation.ds_seen`). A request is then followed until it is seen to be done:
by push, hook or NOTIFY, each repeated at growing intervals. If there is no automatic channel, an alert asks
the operator immediately; otherwise when the channels fail or the time is over. All calls are level-triggered:
repeating one changes nothing, and after a restart the first call resumes everything. Nothing is stored here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

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
from dnssecd.daemon.parent.room import DsRoom, DsZone
from dnssecd.flag import Flag
from dnssecd.ops.ds_hook import HookRunner
from dnssecd.ops.events import EventCore
from dnssecd.store.event_log import Event, Severity

AT_ONCE_MAX = 8
#: Seconds until it is looked again whether this node may act for a zone.
NOT_NOW_S = 3.0
HANDOVER, FAILED = "ds-handover", "ds-automation-failed"
MISSING, MISMATCH, OVERDUE = "ds-missing", "ds-mismatch", "rollover-overdue"
DETAILED = frozenset({HANDOVER, FAILED, MISSING, MISMATCH, OVERDUE})

log = structlog.get_logger("dnssecd.ds")


class DsAutomation:
    """One per daemon. All methods but `details` belong to the event loop's thread."""

    def __init__(
        self,
        events: EventCore,
        clock: Clock,
        *,
        count: Count = lambda way, result: None,
        history: Callable[[str, str, str], None] = lambda zone, what, detail: None,
        may_act: Callable[[str], bool],
        doer: Doer | None = None,
        pace: Pace | None = None,
        at_once_max: int = AT_ONCE_MAX,
    ) -> None:
        """Take the interfaces.

        count: (channel, "done" or "failed"), for metrics. history: (zone, what, detail) of actions at the
        parent. may_act: whether a zone's DS are the business of this node now; another one may own the zone.
        """
        self._may_act = may_act
        self._events, self._clock = events, clock
        self._count, self._history = count, history
        self._doer = doer or Doer(HookRunner())
        self._pace = pace or Pace()
        self._free = asyncio.Semaphore(at_once_max)
        self._tasks: set[asyncio.Task[None]] = set()

    # Reports of the rollover engine

    def ds_wanted(
        self, zone: DsZone, keyset: Keyset, parent: Parent, *, public: bool = True, reason: str = ""
    ) -> None:
        """Take the stored keys that the parent must follow; call this after each plan.

        public: all secondaries serve the CDS for these keys (NOTIFY waits for that, RFC 9859 §4.2).
        """
        handover = handover_of(zone.name, keyset, grace_s=parent.grace_s, reason=reason)
        known = zone.ds
        if known is None:
            known = zone.ds = DsRoom(parent, keyset, handover, public=public)
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

    def ds_seen(self, zone: DsZone, sights: Sequence[ParentSight]) -> None:
        """Take the last answers of all parent servers, new or not."""
        known = zone.ds
        if known is None:
            return
        known.seen = tuple(sights)
        self._judge_sights(known)
        known.news.set()

    def ds_overdue(self, zone: DsZone) -> None:
        """Raise an alert now, because the planner waits longer than it should, even if channels are still tried."""
        known = zone.ds
        if known is not None and known.handover.task is not Task.NOTHING and not known.overdue:
            known.overdue = True
            known.news.set()

    def forget(self, zone: DsZone) -> None:
        """Do no more for a zone: another node brings its DS to the parent, and raises events of its own."""
        if zone.ds is not None:
            zone.ds.stop()
            zone.ds = None

    async def close(self) -> None:
        """Stop everything; a running hook is killed."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Texts for operators

    def details(self, zone: DsZone, event: Event) -> str:
        """Return the text for an event's mail; "" for events that are not about DS. Any thread may call it."""
        known = zone.ds if event.name in DETAILED else None
        if known is None:
            return ""
        if not event.firing:
            return known.closing
        return handover_text.request_text(known.handover, _progress(known), self._clock.now())

    def progress(self, zone: DsZone) -> Progress | None:
        """Return the progress, for ``ds show``; None if nothing is known of the zone."""
        known = zone.ds
        return None if known is None else _progress(known)

    # Following a request

    def _begin(self, known: DsRoom) -> None:
        """Follow the current request; if there is none, stop and resolve its alerts."""
        known.stop()
        known.ways = ways_of(known.parent)
        known.news = Flag()
        handover = known.handover
        if handover.task is Task.NOTHING or known.parent.alone:
            self._resolve(handover.zone)
            return
        known.closing = ""
        log.info("ds wanted", zone=handover.zone, what=handover_text.cause(handover))
        known.task = task = asyncio.get_running_loop().create_task(self._follow(known))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, known: DsRoom) -> None:
        """Follow a request until a plan makes another; a change that was seen done may be undone."""
        while True:
            known.news.clear()
            if known.reached:
                self._close(known)
                await known.news.wait()
                continue
            if known.closing:
                known.closing, known.ways = "", ways_of(known.parent)
            may_act = self._may_act(known.handover.zone)
            if may_act:
                await self._use_ways(known)
                if not known.reached:
                    self._tell(known)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s(known) if may_act else NOT_NOW_S):
                    await known.news.wait()

    def _pause_s(self, known: DsRoom) -> float:
        now = self._clock.now()
        ways = [way for way in known.ways.values() if way.name != NOTIFY or known.public]
        times = [now + self._pace.look_s, *(way.next_at for way in ways)]
        if now < known.handover.due_at:
            times.append(known.handover.due_at)
        return max(0.01, min(times) - now)

    async def _use_ways(self, known: DsRoom) -> None:
        for way in known.ways.values():
            if self._clock.now() < way.next_at:
                continue
            if way.name == NOTIFY and not known.public:
                way.detail = "waits until all secondaries have the CDS"
                continue
            async with self._free:
                if self._may_act(known.handover.zone):  # it may have waited long
                    await self._use(known, way)

    async def _use(self, known: DsRoom, way: Way) -> None:
        handover, parent = known.handover, known.parent
        try:
            worked, detail = await self._act(way, handover, parent)
        except Exception as error:  # a bug must not end the request
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

    def _tell(self, known: DsRoom) -> None:
        """Raise the handover event unless an automatic channel may still complete the request."""
        handover, now = known.handover, self._clock.now()
        if handover.task is Task.RESTORE:  # a lost DS has a separate event
            self._events.resolve(HANDOVER, handover.zone)
            return
        late = known.overdue or now >= handover.due_at
        if not late and self._helped(known, now):
            return
        effect = "the rollover waits; the keys in use stay in use, nothing breaks"
        if handover.urgent:
            effect = "the compromised key is trusted until its DS is gone"
        self._raise(
            known,
            HANDOVER,
            handover_text.cause(handover) + (": overdue" if late else ""),
            "error" if late or handover.urgent else "warning",
            effect=effect,
            remedy=f"hand over what is listed, unless the parent takes it automatically: dnssecd ds show "
            f"{handover.zone}",
        )

    def _raise(
        self,
        known: DsRoom,
        name: str,
        cause: str,
        severity: Severity,
        *,
        subject: str = "",
        effect: str | None = None,
        remedy: str | None = None,
    ) -> None:
        """Raise an event if it is new or changed; a repeated check of a firing event is not counted."""
        zone, told = known.handover.zone, (cause, severity)
        if known.raised.get((name, subject)) != told or not self._events.is_firing(name, zone, subject):
            known.raised[name, subject] = told
            self._events.raise_event(
                name, zone, cause, subject=subject, severity=severity, effect=effect, remedy=remedy
            )

    def _helped(self, known: DsRoom, now: float) -> bool:
        """Tell whether an automatic channel may complete the request; a failing push or hook has its own event."""
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

    def _close(self, known: DsRoom) -> None:
        """End the request: the parent has the wanted DS, as seen or as confirmed by an operator."""
        handover = known.handover
        if not known.closing:
            known.closing = handover_text.closing_text(handover, _progress(known), self._clock.now())
            log.info("ds done", zone=handover.zone, what=handover_text.cause(handover))
        self._resolve(handover.zone)

    def _resolve(self, zone: str) -> None:
        for name in (PUSH, HOOK):
            self._events.resolve(FAILED, zone, name)
        self._events.resolve(HANDOVER, zone)

    def _judge_sights(self, known: DsRoom) -> None:
        """Raise and resolve the events for what the parent's servers show."""
        zone = known.handover.zone
        if known.parent.alone:
            return
        verdict = dsjudge.judge(zone, known.keyset, known.handover, known.seen)
        if verdict.foreign:
            effect = (
                None
                if verdict.bogus
                else "the zone validates by another DS; dnssecd did not request this one"
            )
            severity: Severity = "critical" if verdict.bogus else "error"
            self._raise(known, MISMATCH, verdict.foreign, severity, effect=effect)
        elif verdict.answered:
            self._events.resolve(MISMATCH, zone)
        if verdict.missing:
            self._raise(known, MISSING, verdict.missing, "error")
        elif verdict.answered and (verdict.held or not known.handover.wanted):
            self._events.resolve(MISSING, zone)  # not earlier: the key with this DS may have left meanwhile


def _progress(known: DsRoom) -> Progress:
    open_request = known.handover.task is not Task.NOTHING and not known.parent.alone
    return Progress(
        cds=known.parent.cds and bool(known.handover.having(Change.ADD, Change.REMOVE)),
        ways=tuple(way.line() for way in known.ways.values()) if open_request else (),
        polled=not known.parent.alone,
        seen=tuple(seen_at(sight) for sight in known.seen),
    )


def seen_at(sight: ParentSight) -> SeenAt:
    """Return a sight for display."""
    tags = None if sight.ds is None else tuple(sorted({int.from_bytes(ds[:2]) for ds in sight.ds}))
    return SeenAt(sight.name, tags, sight.at, sight.answer)
