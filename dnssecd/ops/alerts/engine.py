"""The alert engine: follows the events, decides who is told, and sees to it that it arrives.

The event core is the truth about what fires. The engine keeps beside it what people were told (alerts.sqlite) and
compares the two: at its start, every now and then, and at once for what the core reports. So an event is told
although the daemon died between the two databases, and nothing is told twice because it died after.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from dnssecd.clock import Clock
from dnssecd.config.model import MailConfig
from dnssecd.ops.alerts import digest, lifecycle
from dnssecd.ops.alerts.channels import WAYS, WayName
from dnssecd.ops.alerts.delivery import Courier
from dnssecd.ops.alerts.digest import Facts
from dnssecd.ops.alerts.grouping import Budget, Due, Group, plan
from dnssecd.ops.alerts.lifecycle import HOUR, Alert
from dnssecd.ops.alerts.metrics import AlertMetrics
from dnssecd.ops.alerts.note import Note
from dnssecd.ops.alerts.outbox import Office, Unwritable
from dnssecd.ops.events import EventCore
from dnssecd.store.alert_queue import AlertStore, Delivery
from dnssecd.store.errors import StoreError
from dnssecd.store.event_log import Event, EventKey

INBOX_MAX = 10_000
RECONCILE_S = 600.0
DISK_RETRY_S = 60.0
TICK_GAP_S = 0.5
LOOK_S = 30.0  # the wall clock may jump: no sleep is longer
STOP_S = 3.0

log = structlog.get_logger("dnssecd.alerts")


class Engine:
    """One per daemon. tick() is synchronous and runs in a thread; everything else on the event loop."""

    def __init__(
        self,
        path: Path,
        events: EventCore,
        clock: Clock,
        metrics: AlertMetrics,
        office: Office,
        *,
        deadline: Callable[[Event], float | None] = lambda event: None,
        details: Callable[[Event], str] = lambda event: "",
        facts: Callable[[], Facts] = Facts,
    ) -> None:
        """deadline: when an event does its harm. details: text to go with it. Both are called from a thread.

        facts: for the digest; called on the event loop.
        """
        self.office = office
        self.store = _open(path, events)
        self._events, self._clock, self._metrics = events, clock, metrics
        self._deadline, self._details, self._facts = deadline, details, facts
        self._started_at = clock.now()
        self._alerts: dict[EventKey, Alert] = {alert.event.key: alert for alert in self.store.alerts()}
        self._budget = Budget()
        for kind, at in self.store.made_since(clock.now() - HOUR):
            self._budget.note(kind, at)  # type: ignore[arg-type]  # kinds that are no group are never asked for
        self._inbox: deque[tuple[Event, str]] = deque(maxlen=INBOX_MAX)
        self._rejected: deque[Sequence[EventKey]] = deque(maxlen=INBOX_MAX)
        self._looked_at: float | None = None
        self._reconciled_at: float | None = None
        self._disk_tried_at = 0.0
        self._overflowed, self._drained = False, False  # messages were dropped; and the queue is empty again
        self._digest_at = self.store.fact("digest")
        self._looking = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self.couriers: dict[WayName, Courier] = {
            name: Courier(name, self.store, clock, events, metrics, self._rejected.append) for name in WAYS
        }
        self.use(office)
        events.subscribe(self._heard)

    def use(self, office: Office) -> None:
        """From now on speak by *office*: at the start, and after a reload of the configuration."""
        self.office = office
        self._reconciled_at = None
        for name, courier in self.couriers.items():
            courier.use(office.ways.get(name))
        self._wake.set()

    def _heard(self, event: Event, what: str) -> None:
        """From whichever thread raised it; what is lost here is found when the two are compared."""
        self._inbox.append((event, what))
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._wake.set)

    async def run(self) -> None:
        """Work until cancelled; what is being sent then has STOP_S to end."""
        self._loop = asyncio.get_running_loop()
        couriers = [asyncio.create_task(courier.run()) for courier in self.couriers.values()]
        try:
            while True:
                self._wake.clear()
                try:
                    facts = self._facts() if self.digest_due() else None
                    wait_s = await asyncio.to_thread(self.tick, facts)
                except Exception:  # a fault of ours must not end all alerts
                    log.exception("the alert engine failed")
                    self._reconciled_at, wait_s = None, LOOK_S
                await asyncio.sleep(TICK_GAP_S)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(wait_s - TICK_GAP_S, 0)):
                        await self._wake.wait()
        finally:
            self._loop = None
            await _stop(couriers, self.couriers.values())

    def close(self) -> None:
        """Close the database. A look that was under way when run() was cancelled is waited for."""
        with self._looking:
            self.store.close()

    def tick(self, facts: Facts | None = None) -> float:
        """Take in what was reported and put what is to be said into the queues. Seconds until the next look."""
        with self._looking:
            return self._look(facts)

    def _look(self, facts: Facts | None) -> float:
        now = self._clock.now()
        changed = self._take_in(now)
        if not self.office.ways:
            self._alerts.clear()
            return LOOK_S
        current = {**self._alerts, **changed}
        planned = plan(
            (alert for alert in current.values() if alert is not None),
            self.office.sender.settings,
            self._budget,
            now,
        )
        deliveries: list[Delivery] = []
        if planned.due:
            firing = {event.key: event for event in self._events.firing()}
            for group, due in planned.due.items():
                deliveries += self._say(group, [_fresh(one, firing) for one in due], now, changed)
        values = []
        if facts is not None and self.office.config.mail is not None:
            deliveries.append(self._digest(self.office.config.mail, facts, now))
            values.append(("digest", now))
            self._digest_at = now
        forget = {key for key, alert in current.items() if alert is None or lifecycle.forgettable(alert, now)}
        self._save(changed, forget, deliveries, values, now)
        self._look_at_disk()
        if self._overflowed and self.store.next_try("mail") is None:
            self._overflowed, self._drained = False, True
        return LOOK_S if planned.wake is None else min(max(planned.wake - now, 0), LOOK_S)

    def _take_in(self, now: float) -> dict[EventKey, Alert | None]:
        """What the reports, and the comparison with the event core, make of the alerts; None: forget it."""
        changed: dict[EventKey, Alert | None] = {}

        def known(key: EventKey) -> Alert | None:
            return changed[key] if key in changed else self._alerts.get(key)

        if self._looked_at is None or now < self._looked_at:  # the clock was set back
            changed |= {key: lifecycle.unskewed(alert, now) for key, alert in self._alerts.items()}
        self._looked_at = now
        overflow = len(self._inbox) == INBOX_MAX
        while self._inbox:
            event, what = self._inbox.popleft()
            if what == "resolved":
                changed[event.key] = lifecycle.ends(known(event.key), event, now)
            else:
                changed[event.key] = lifecycle.fires(known(event.key), event, now, self._deadline(event))
        while self._rejected:
            for key in self._rejected.popleft():
                alert = known(key)
                if alert is not None:
                    changed[key] = lifecycle.rejected(alert, now)
        last = self._reconciled_at
        if overflow or last is None or not 0 <= now - last < RECONCILE_S:
            self._reconcile(now, known, changed)
            self._reconciled_at = now
        return changed

    def _reconcile(
        self,
        now: float,
        known: Callable[[EventKey], Alert | None],
        changed: dict[EventKey, Alert | None],
    ) -> None:
        firing = {event.key: event for event in self._events.firing()}
        for key, event in firing.items():
            changed[key] = lifecycle.fires(known(key), event, now, self._deadline(event))
        for key in {*self._alerts, *changed} - firing.keys():
            alert = known(key)
            if alert is not None and alert.state in ("settling", "told"):
                over = replace(alert.event, firing=False, resolved_at=now)
                changed[key] = lifecycle.ends(alert, over, now)

    def _say(
        self, group: Group, due: list[Due], now: float, changed: dict[EventKey, Alert | None]
    ) -> list[Delivery]:
        """The messages about *due*; *changed* is brought up to what people then know."""
        note = Note(group, now, due, [self._detailed(alert.event) for alert, _ in due])
        keys = ["/".join(alert.event.key) for alert, _ in due]
        id = self.office.message_id(now, group, *keys)
        made = [delivery for way in self.office.ways if (delivery := self._write(way, note, id)) is not None]
        for alert, step in due:
            changed[alert.event.key] = lifecycle.told(alert, step, now, id)
        if made:
            self._budget.note(group, now)
        return made

    def _write(self, way: WayName, note: Note, id: str) -> Delivery | None:
        try:
            return self.office.delivery(way, note, id)
        except Unwritable as error:
            self._events.raise_event("alert-undeliverable", None, str(error), subject=way)
            return None

    def _detailed(self, event: Event) -> str:
        try:
            return self._details(event)
        except Exception:
            log.exception("details of an event cannot be had", name=event.name, zone=event.zone)
            return ""

    def _save(
        self,
        changed: dict[EventKey, Alert | None],
        forget: set[EventKey],
        deliveries: list[Delivery],
        facts: list[tuple[str, float]],
        now: float,
    ) -> None:
        kept = {key: alert for key, alert in changed.items() if alert is not None and key not in forget}
        kept = {key: alert for key, alert in kept.items() if alert != self._alerts.get(key)}
        if kept or forget or deliveries or facts:
            refused = self.store.save(kept.values(), forget=forget, deliveries=deliveries, facts=facts)
            self._full(refused)
        self._alerts.update(kept)
        for key in forget:
            self._alerts.pop(key, None)
        for delivery in deliveries:
            self._wake_courier(delivery.way)

    def _wake_courier(self, way: str) -> None:
        courier = self.couriers[way]  # type: ignore[index]  # deliveries are made for ways
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(courier.wake)

    def _full(self, refused: Sequence[Delivery]) -> None:
        """A queue is full: its way has not worked for long. What fires is told when it works again."""
        for delivery in refused:
            self._metrics.deliveries.labels(delivery.way, "dropped").inc()
            log.error("queue of alerts is full, message dropped", way=delivery.way, kind=delivery.kind)
            self._rejected.append(delivery.covers)
            self._overflowed = self._overflowed or delivery.way == "mail"

    def digest_due(self) -> bool:
        """Whether the next tick is to be given facts."""
        mail = self.office.config.mail
        if mail is None:
            return False
        if self._drained:
            self._drained = False
            return True
        at = digest.due_at(mail.heartbeat, self._digest_at, self._started_at)
        return at is not None and at <= self._clock.now()

    def _digest(self, mail: MailConfig, facts: Facts, now: float) -> Delivery:
        since = self._digest_at or 0.0
        waiting = sum(self.store.queue(way).waiting for way in self.office.ways)
        mailed = digest.Mailed(
            self.store.ended_since(since, "done"), waiting, self.store.ended_since(since, "failed")
        )
        written = digest.write(facts, self._events.firing(), mailed, mail.heartbeat, now, self.office.sender)
        return self.office.mail("digest", written, now, self.office.message_id(now, "digest"))

    def _look_at_disk(self) -> None:
        if not self.store.failure:
            return
        now = self._clock.monotonic()
        if now - self._disk_tried_at >= DISK_RETRY_S:
            self._disk_tried_at = now
            if self.store.back_to_disk():
                self._events.resolve("store-failed", None, "alerts")
                return
        _tell_store(self._events, f"{self.store.path}: {self.store.failure}")

    def works(self, way: WayName) -> None:
        """*way* is known to work (a test message arrived): what waits for it goes out now."""
        self.couriers[way].works()

    def status(self) -> list[dict[str, Any]]:
        """How each way fares. Reads the disk: call it from a thread."""
        return [self._way_status(name) for name in self.office.ways]

    def _way_status(self, name: WayName) -> dict[str, Any]:
        queue, courier = self.store.queue(name), self.couriers[name]
        error = courier.last_error or (queue.reason if queue.waiting else "")
        return {
            "way": name,
            "target": self.office.ways[name].target,
            "working": not error,
            "waiting": queue.waiting,
            "oldest": queue.oldest,
            "last_delivered": queue.last,
            "error": error or None,
        }


def _open(path: Path, events: EventCore) -> AlertStore[Alert]:
    """The store; where it cannot be had, one in memory: alerts must go out all the same."""
    try:
        store = AlertStore(path, Alert)
    except (StoreError, OSError) as error:
        _tell_store(events, f"{path}: {error}")
        return AlertStore(None, Alert)
    if store.set_aside is not None:
        _tell_store(events, f"{path} was damaged and has been set aside as {store.set_aside}")
    else:
        events.resolve("store-failed", None, "alerts")
    return store


def _tell_store(events: EventCore, cause: str) -> None:
    events.raise_event(
        "store-failed",
        None,
        cause,
        subject="alerts",
        effect="alerts go out, but after a restart some may come twice",
        remedy="check disk space and the health of the file system",
    )


def _fresh(due: Due, firing: dict[EventKey, Event]) -> Due:
    """With the count and the last time as they are now."""
    alert, step = due
    event = firing.get(alert.event.key)
    return (alert if event is None else replace(alert, event=event)), step


async def _stop(tasks: list[asyncio.Task[None]], couriers: Any) -> None:
    """Let what is being sent end, for a moment; what does not is sent again at the next start."""
    for courier in couriers:
        courier.stop()
    await asyncio.wait(tasks, timeout=STOP_S)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
