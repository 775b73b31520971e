"""Delivers the queue of one channel: one message after the other, with retries; failures are reported.

A channel that is down pauses completely, so that not each of many messages waits for the deadline. A deferred message
waits without delaying others. A message is dropped after GIVE_UP_S, or when the receiver refuses it permanently.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from dnssecd.backoff import Backoff
from dnssecd.clock import Clock
from dnssecd.ops.alerts.channels import (
    Channel,
    ChannelDown,
    ChannelName,
    Deferred,
    Parcel,
    Rejected,
    Sent,
    reason,
)
from dnssecd.ops.alerts.lifecycle import Alert
from dnssecd.ops.alerts.metrics import AlertMetrics
from dnssecd.ops.events import EventCore
from dnssecd.store.alert_queue import AlertStore, Delivery
from dnssecd.store.event_log import EventKey

RETRY = Backoff(15.0, 900.0)
GIVE_UP_S = 7 * 86_400.0
#: After this time, or this number of failures, a failing channel raises an event.
DOWN_EVENT_S = 300.0
DOWN_EVENT_TRIES = 3
IDLE_S = 60.0
_EVENT = "alert-undeliverable"

log = structlog.get_logger("dnssecd.alerts")


class DeliveryLoop:
    """The delivery of one channel; *way* None: not configured. on_rejected gets the events of a dropped message."""

    def __init__(
        self,
        name: ChannelName,
        store: AlertStore[Alert],
        clock: Clock,
        events: EventCore,
        metrics: AlertMetrics,
        on_rejected: Callable[[Sequence[EventKey]], None] = lambda keys: None,
    ) -> None:
        self.name = name
        self.way: Channel | None = None
        self._store, self._clock, self._events, self._metrics = store, clock, events, metrics
        self._on_rejected = on_rejected
        self._wake = asyncio.Event()
        self._failures = 0
        self._failing_since = 0.0
        self._paused_until = 0.0
        self.last_error = ""
        self._stopping = False

    def stop(self) -> None:
        """Send no more messages: run() returns after the message that is being sent."""
        self._stopping = True
        self._wake.set()

    def wake(self) -> None:
        """Check the queue now: there may be a message to send."""
        self._wake.set()

    def use(self, way: Channel | None) -> None:
        """Send by *way* from now on, and forget failures of the previous one."""
        self.way = way
        self._failures, self._paused_until, self.last_error = 0, 0.0, ""
        self.wake()

    async def run(self) -> None:
        """Send until stopped."""
        while not self._stopping:
            self._wake.clear()
            try:
                wait_s = await self.step()
            except Exception:  # a disk fault or a bug: other channels and the next attempt must continue
                log.exception("delivery of alerts failed", way=self.name)
                wait_s = IDLE_S
            if wait_s > 0:
                await self._sleep(wait_s)

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(min(seconds, IDLE_S)):
                await self._wake.wait()
        except TimeoutError:
            return

    async def step(self) -> float:
        """Send one message if one is due. Return the seconds until the next step; 0: immediately."""
        if self.way is None:
            return IDLE_S
        pause = self._paused_until - self._clock.monotonic()
        if pause > 0:
            return pause
        delivery = await asyncio.to_thread(self._store.next_due, self.name, self._clock.now())
        if delivery is None:
            await asyncio.to_thread(self._measure)
            following = await asyncio.to_thread(self._store.next_try, self.name)
            return IDLE_S if following is None else max(following - self._clock.now(), 0.1)
        if self._clock.now() - delivery.created_at > GIVE_UP_S:
            await self._give_up(delivery, "it is too old")
        else:
            await self._send(self.way, delivery)
        await asyncio.to_thread(self._measure)
        return 0.0

    async def _send(self, way: Channel, delivery: Delivery) -> None:
        parcel = Parcel(delivery.message, delivery.body, delivery.recipients)
        try:
            sent = await way.send(parcel)
        except ChannelDown as error:
            await self._down(delivery, str(error), error.retry_after_s)
        except Deferred as error:
            self._failed(str(error))
            await self._again(delivery, str(error))
        except Rejected as error:
            self._tell("", str(error))
            await self._give_up(delivery, str(error))
        except Exception as error:
            log.exception("a channel for alerts failed unexpectedly", way=self.name)
            await self._down(delivery, reason(error), None)
        else:
            await self._sent(delivery, sent)

    async def _sent(self, delivery: Delivery, sent: Sent) -> None:
        self.works()
        served = [one for one in delivery.recipients if one not in sent.deferred and one not in sent.rejected]
        for address in served:
            self._events.resolve(_EVENT, None, f"{self.name} to {address}")
        for address, why in sent.rejected.items():
            self._tell(address, why)
        if sent.deferred:
            self._metrics.deliveries.labels(self.name, "deferred").inc()
            why = "; ".join(f"{address}: {text}" for address, text in sent.deferred.items())
            await self._again(delivery, why, tuple(sent.deferred))
        elif delivery.recipients and not served:
            await self._give_up(delivery, "; ".join(sent.rejected.values()))
        else:
            await asyncio.to_thread(self._store.ended, delivery, "done", self._clock.now())
            self._metrics.deliveries.labels(self.name, "delivered").inc()
            log.info("alert delivered", way=self.name, kind=delivery.kind, message=delivery.message)

    async def _down(self, delivery: Delivery, why: str, retry_after_s: float | None) -> None:
        self._failed(why)
        pause = RETRY.delay_s(self._failures)
        self._paused_until = self._clock.monotonic() + max(pause, retry_after_s or 0.0)
        await self._again(delivery, why, at_once=True)

    def _failed(self, why: str) -> None:
        now = self._clock.monotonic()
        if self._failures == 0:
            self._failing_since = now
        self._failures += 1
        self.last_error = why
        self._metrics.working.labels(self.name).set(0)
        self._metrics.deliveries.labels(self.name, "deferred").inc()
        log.warning("alert not delivered, retry scheduled", way=self.name, cause=why)
        if self._failures >= DOWN_EVENT_TRIES or now - self._failing_since >= DOWN_EVENT_S:
            self._tell("", why)

    def works(self) -> None:
        """Note that the channel works: a message was accepted."""
        self._failures, self._paused_until, self.last_error = 0, 0.0, ""
        self._wake.set()
        self._metrics.working.labels(self.name).set(1)
        self._events.resolve(_EVENT, None, self.name)

    def _tell(self, recipient: str, why: str) -> None:
        """Raise the event for the channel as a whole, or for one *recipient*."""
        subject = f"{self.name} to {recipient}" if recipient else self.name
        cause = f"alerts cannot be delivered to {recipient}: {why}" if recipient else why
        effect = (
            "operators do not receive alerts about other events"
            if not recipient
            else "this recipient receives no alerts"
        )
        self._events.raise_event(_EVENT, None, cause, subject=subject, effect=effect)

    async def _again(
        self,
        delivery: Delivery,
        why: str,
        recipients: tuple[str, ...] | None = None,
        *,
        at_once: bool = False,
    ) -> None:
        now = self._clock.now()
        if now - delivery.created_at > GIVE_UP_S:
            await self._give_up(delivery, why)
            return
        wait = 0.0 if at_once else RETRY.delay_s(delivery.attempts + 1)
        await asyncio.to_thread(self._store.tried, delivery, now + wait, why, recipients)

    async def _give_up(self, delivery: Delivery, why: str) -> None:
        log.error("alert dropped", way=self.name, kind=delivery.kind, message=delivery.message, cause=why)
        self.last_error = why
        self._metrics.deliveries.labels(self.name, "rejected").inc()
        await asyncio.to_thread(self._store.ended, delivery, "failed", self._clock.now(), why)
        self._on_rejected(delivery.covers)

    def _measure(self) -> None:
        queue = self._store.queue(self.name)
        self._metrics.queue.labels(self.name).set(queue.waiting)
        self._metrics.oldest.labels(self.name).set(queue.oldest or 0)
        self._metrics.last_delivered.labels(self.name).set(queue.last or 0)
