"""The alert engine: follows the events, decides what to send, and ensures the delivery.

The event core knows what fires. The engine records what was sent (alerts.sqlite) and compares the two: at its start,
periodically, and immediately for changes that the core reports. So an event is reported even if the daemon dies between
the writes to the two databases, and it is not reported twice if the daemon dies after them.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import structlog

from dnssecd.clock import Clock
from dnssecd.config.model import MailConfig
from dnssecd.ops.alerts import digest, lifecycle
from dnssecd.ops.alerts.channels import CHANNELS, ChannelName
from dnssecd.ops.alerts.delivery import DeliveryLoop
from dnssecd.ops.alerts.digest import Facts
from dnssecd.ops.alerts.grouping import Budget, Due, Group, plan
from dnssecd.ops.alerts.lifecycle import HOUR, Alert
from dnssecd.ops.alerts.metrics import AlertMetrics
from dnssecd.ops.alerts.note import Note
from dnssecd.ops.alerts.outbox import Outbox, Unwritable
from dnssecd.ops.events import EventCore
from dnssecd.replacing import replace
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
    """The engine; one per daemon. tick() is synchronous and runs in a thread, all else on the event loop."""

    def __init__(
        self,
        path: Path,
        events: EventCore,
        clock: Clock,
        metrics: AlertMetrics,
        outbox: Outbox,
        *,
        deadline: Callable[[Event], float | None] = lambda event: None,
        details: Callable[[Event], str] = lambda event: "",
        valid_until: Callable[[str], float | None] = lambda zone: None,
        facts: Callable[[], Facts] = Facts,
    ) -> None:
        """deadline: returns when an event causes damage. details: returns text to add. Both are called from a thread.

        valid_until: returns when the first RRSIG of a zone expires; likewise.

        facts: returns the facts for the digest; called on the event loop.
        """
        self.outbox = outbox
        self.store = _open(path, events)
        self._events, self._clock, self._metrics = events, clock, metrics
        self._deadline, self._details, self._facts = deadline, details, facts
        self._valid_until = valid_until
        self._started_at = clock.now()
        self._alerts: dict[EventKey, Alert] = {alert.event.key: alert for alert in self.store.alerts()}
        self._budget = Budget()
        for kind, at in self.store.made_since(clock.now() - HOUR):
            self._budget.note(kind, at)  # type: ignore[arg-type]  # only kinds that are groups are looked up
        self._inbox: deque[tuple[Event, str]] = deque(maxlen=INBOX_MAX)
        self._rejected: deque[Sequence[EventKey]] = deque(maxlen=INBOX_MAX)
        self._looked_at: float | None = None
        self._reconciled_at: float | None = None
        self._disk_tried_at = 0.0
        self._overflowed, self._drained = False, False  # messages were dropped; the queue is empty again
        self._digest_at = self.store.fact("digest")
        self._looking = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self.delivery_loops: dict[ChannelName, DeliveryLoop] = {
            name: DeliveryLoop(name, self.store, clock, events, metrics, self._rejected.append)
            for name in CHANNELS
        }
        self.use(outbox)
        events.subscribe(self._heard)

    def use(self, outbox: Outbox) -> None:
        """Send by *office* from now on: at the start, and after a reload of the configuration."""
        self.outbox = outbox
        self._reconciled_at = None
        for name, delivery_loop in self.delivery_loops.items():
            delivery_loop.use(outbox.channels.get(name))
        self._wake.set()

    def _heard(self, event: Event, what: str) -> None:
        """Queue a reported event. Called from any thread; the comparison finds events that are lost here."""
        self._inbox.append((event, what))
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._wake.set)

    async def run(self) -> None:
        """Work until cancelled; messages being sent then have STOP_S to finish."""
        self._loop = asyncio.get_running_loop()
        delivery_loops = [
            asyncio.create_task(delivery_loop.run()) for delivery_loop in self.delivery_loops.values()
        ]
        try:
            while True:
                self._wake.clear()
                try:
                    facts = self._facts() if self.digest_due() else None
                    wait_s = await asyncio.to_thread(self.tick, facts)
                except Exception:  # a bug must not end all alerts
                    log.exception("the alert engine failed")
                    self._reconciled_at, wait_s = None, LOOK_S
                await asyncio.sleep(TICK_GAP_S)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(wait_s - TICK_GAP_S, 0)):
                        await self._wake.wait()
        finally:
            self._loop = None
            await _stop(delivery_loops, self.delivery_loops.values())

    def close(self) -> None:
        """Close the database, after the end of a tick that was running when run() was cancelled."""
        with self._looking:
            self.store.close()

    def tick(self, facts: Facts | None = None) -> float:
        """Process reported events and queue messages. Return the seconds until the next run."""
        with self._looking:
            return self._look(facts)

    def _look(self, facts: Facts | None) -> float:
        now = self._clock.now()
        changed = self._take_in(now)
        if not self.outbox.channels:
            self._alerts.clear()
            return LOOK_S
        current = {**self._alerts, **changed}
        planned = plan(
            (alert for alert in current.values() if alert is not None),
            self.outbox.sender.settings,
            self._budget,
            now,
        )
        deliveries: list[Delivery] = []
        if planned.due:
            firing = {event.key: event for event in self._events.firing()}
            for group, due in planned.due.items():
                deliveries += self._say(group, [_fresh(one, firing) for one in due], now, changed)
        values = []
        if facts is not None and self.outbox.config.mail is not None:
            deliveries.append(self._digest(self.outbox.config.mail, facts, now))
            values.append(("digest", now))
            self._digest_at = now
        forget = {key for key, alert in current.items() if alert is None or lifecycle.forgettable(alert, now)}
        self._save(changed, forget, deliveries, values, now)
        self._look_at_disk()
        if self._overflowed and self.store.next_try("mail") is None:
            self._overflowed, self._drained = False, True
        return LOOK_S if planned.wake is None else min(max(planned.wake - now, 0), LOOK_S)

    def _take_in(self, now: float) -> dict[EventKey, Alert | None]:
        """Return the alerts that change by the reports and by the comparison with the event core; None: forget it."""
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
        """Return the messages about *due*, and update *changed* to what they report."""
        runways = {zone: self._valid_until(zone) for zone in {alert.event.zone for alert, _ in due} if zone}
        known = [(zone, until) for zone, until in runways.items() if until is not None]
        note = Note(group, now, due, [self._detailed(alert.event) for alert, _ in due], known)
        keys = ["/".join(alert.event.key) for alert, _ in due]
        id = self.outbox.message_id(now, group, *keys)
        made = [
            delivery for way in self.outbox.channels if (delivery := self._write(way, note, id)) is not None
        ]
        for alert, step in due:
            changed[alert.event.key] = lifecycle.told(alert, step, now, id)
        if made:
            self._budget.note(group, now)
        return made

    def _write(self, way: ChannelName, note: Note, id: str) -> Delivery | None:
        try:
            return self.outbox.delivery(way, note, id)
        except Unwritable as error:
            self._events.raise_event("alert-undeliverable", None, str(error), subject=way)
            return None

    def _detailed(self, event: Event) -> str:
        try:
            return self._details(event)
        except Exception:
            log.exception("details of an event are not available", name=event.name, zone=event.zone)
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
            self._wake_delivery(delivery.way)

    def _wake_delivery(self, way: str) -> None:
        delivery_loop = self.delivery_loops[way]  # type: ignore[index]  # deliveries are made for channels only
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(delivery_loop.wake)

    def _full(self, refused: Sequence[Delivery]) -> None:
        """Handle full queues: their channels have failed for long. Firing events are sent when they work again."""
        for delivery in refused:
            self._metrics.deliveries.labels(delivery.way, "dropped").inc()
            log.error("queue of alerts is full, message dropped", way=delivery.way, kind=delivery.kind)
            self._rejected.append(delivery.covers)
            self._overflowed = self._overflowed or delivery.way == "mail"

    def digest_due(self) -> bool:
        """Return whether the next tick needs facts."""
        mail = self.outbox.config.mail
        if mail is None:
            return False
        if self._drained:
            self._drained = False
            return True
        at = digest.due_at(mail.heartbeat, self._digest_at, self._started_at)
        return at is not None and at <= self._clock.now()

    def _digest(self, mail: MailConfig, facts: Facts, now: float) -> Delivery:
        since = self._digest_at or 0.0
        waiting = sum(self.store.queue(way).waiting for way in self.outbox.channels)
        mailed = digest.Mailed(
            self.store.ended_since(since, "done"), waiting, self.store.ended_since(since, "failed")
        )
        written = digest.write(facts, self._events.firing(), mailed, mail.heartbeat, now, self.outbox.sender)
        return self.outbox.mail("digest", written, now, self.outbox.message_id(now, "digest"))

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

    def works(self, way: ChannelName) -> None:
        """Note that *way* works, because a test message was accepted: send its queue now."""
        self.delivery_loops[way].works()

    def status(self) -> list[dict[str, Any]]:
        """Return the state of each channel. Reads the disk: call it from a thread."""
        return [self._channel_status(name) for name in self.outbox.channels]

    def _channel_status(self, name: ChannelName) -> dict[str, Any]:
        queue, delivery_loop = self.store.queue(name), self.delivery_loops[name]
        error = delivery_loop.last_error or (queue.reason if queue.waiting else "")
        return {
            "way": name,
            "target": self.outbox.channels[name].target,
            "working": not error,
            "waiting": queue.waiting,
            "oldest": queue.oldest,
            "last_delivered": queue.last,
            "error": error or None,
        }


def _open(path: Path, events: EventCore) -> AlertStore[Alert]:
    """Return the store; if it cannot be opened, one in memory: alerts must be sent in any case."""
    try:
        store = AlertStore(path, Alert)
    except (StoreError, OSError) as error:
        _tell_store(events, f"{path}: {error}")
        return AlertStore(None, Alert)
    if store.set_aside is not None:
        _tell_store(events, f"{path} was damaged; dnssecd renamed it to {store.set_aside}")
    else:
        events.resolve("store-failed", None, "alerts")
    return store


def _tell_store(events: EventCore, cause: str) -> None:
    events.raise_event(
        "store-failed",
        None,
        cause,
        subject="alerts",
        effect="alerts are sent, but after a restart some may be repeated",
        remedy="check disk space and the health of the file system",
    )


def _fresh(due: Due, firing: dict[EventKey, Event]) -> Due:
    """Return the alerts with their current count and last time."""
    alert, step = due
    event = firing.get(alert.event.key)
    return (alert if event is None else replace(alert, event=event)), step


async def _stop(tasks: list[asyncio.Task[None]], delivery_loops: Any) -> None:
    """Wait a moment for messages being sent; those that do not finish are sent again at the next start."""
    for delivery_loop in delivery_loops:
        delivery_loop.stop()
    await asyncio.wait(tasks, timeout=STOP_S)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
