"""The states of one alert as a pure function of time: when it is sent, reminded of and escalated.

States
    settling   it fires but was not sent: it may clear in a moment, and related alerts may follow
    told       it was sent; reminders and escalation follow until it is acknowledged or over
    closing    it is over; the message waits a moment, because the alert may fire again
    quiet      it is over and reported; kept for a day, so that an alert that returns often is not sent each time

    none, quiet --fires--> settling --due--> told --ends--> closing --due--> quiet
    settling --ends--> quiet (critical: closing, sent as "passed")      closing --fires--> told, settling

An acknowledgement stops reminders and escalation, except for alerts that must not be muted (EventKind.mutable): these
continue, and show who acknowledged them.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Literal

from msgspec import Struct

from dnssecd.ops.event_kinds import EVENT_KINDS, SEVERITIES
from dnssecd.replacing import replace
from dnssecd.store.event_log import Event, Severity

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0

#: Seconds that an alert settles. Alerts of severity "info" are in the digest only.
SETTLE_S = MappingProxyType({"critical": 10.0, "error": MINUTE, "warning": 5 * MINUTE})

#: Seconds between reminders.
REMIND_S = MappingProxyType({"critical": 4 * HOUR, "error": DAY, "warning": 7 * DAY})

#: Warnings are escalated after this multiple of `escalate_after`.
WARNING_PATIENCE = 7

CLOSE_S = MINUTE
REPEAT_S = 15 * MINUTE  # an alert that fires again is not sent again earlier
REPEAT_URGENT_S = 5 * MINUTE
CHANGE_S = HOUR  # a new cause is not sent earlier
CHANGE_URGENT_S = 5 * MINUTE
RETRY_S = HOUR  # after a message was rejected permanently
REMIND_MIN_S = 15 * MINUTE
REMEMBER_S = DAY

State = Literal["settling", "told", "closing", "quiet"]
Step = Literal["firing", "changed", "reminder", "escalated", "acknowledged", "resolved", "passed"]

_NUMBER = re.compile(r"\d+")


class Alert(Struct, frozen=True):
    """One event, and what was sent about it. Times are epoch seconds.

    since: when the state was entered. opened_at: start of the current incident. announced: a message was sent.
    told_at: time of the last message; told_mark: its cause. deadline: when damage occurs (the first RRSIG expires).
    thread: Message-ID of the first and the latest mail.
    """

    event: Event
    state: State
    since: float
    opened_at: float
    announced: bool = False
    told_at: float | None = None
    told_severity: Severity | None = None
    told_mark: str = ""
    reminders: int = 0
    escalated_at: float | None = None
    ack_told: bool = False
    deadline: float | None = None
    retry_at: float | None = None
    thread: tuple[str, ...] = ()

    @property
    def mutable(self) -> bool:
        """Whether an acknowledgement stops reminders and escalation."""
        return EVENT_KINDS[self.event.name].mutable if self.event.name in EVENT_KINDS else True

    @property
    def silenced(self) -> bool:
        """Whether an operator acknowledged it, and it may be muted."""
        return bool(self.event.acked_by) and self.mutable

    @property
    def urgent(self) -> bool:
        """Whether the hourly limit on messages does not apply."""
        return self.event.severity == "critical" or not self.mutable


class Settings(Struct, frozen=True):
    """Settings from the configuration. escalate_after: seconds."""

    escalate_after: float = DAY


def mark(cause: str) -> str:
    """Return the part of a cause that identifies it: the words without numbers ("expires in 3.2 h")."""
    return _NUMBER.sub("#", cause)[:500]


def fires(alert: Alert | None, event: Event, now: float, deadline: float | None = None) -> Alert:
    """Return the alert after *event* started to fire, changed, was acknowledged, or was found firing."""
    if alert is None or alert.state == "quiet":
        return Alert(
            event,
            "settling",
            since=now,
            opened_at=event.first_seen,
            told_at=alert.told_at if alert else None,
            deadline=deadline,
            thread=alert.thread if alert else (),
        )
    if alert.state == "closing":
        state: State = "told" if alert.announced else "settling"
        return replace(alert, event=event, state=state, since=now, deadline=deadline)
    return replace(alert, event=event, deadline=deadline)


def ends(alert: Alert | None, event: Event, now: float) -> Alert | None:
    """Return the alert after *event* ended; None: no message is needed."""
    if alert is None or alert.state in ("closing", "quiet"):
        return alert
    if alert.state == "settling" and alert.event.severity != "critical":
        return replace(alert, event=event, state="quiet", since=now) if alert.told_at is not None else None
    return replace(alert, event=event, state="closing", since=now)


def unskewed(alert: Alert, now: float) -> Alert:
    """Return *alert* without times in the future: a clock that was set back must not delay messages."""
    if alert.since <= now and (alert.told_at or 0.0) <= now and alert.opened_at <= now:
        return alert
    told_at = None if alert.told_at is None else min(alert.told_at, now)
    return replace(alert, since=min(alert.since, now), told_at=told_at, opened_at=min(alert.opened_at, now))


def forgettable(alert: Alert, now: float) -> bool:
    """Return whether the alert has been quiet for a day."""
    return alert.state == "quiet" and now - alert.since > REMEMBER_S


def next_step(alert: Alert, settings: Settings) -> tuple[float, Step] | None:
    """Return the time and kind of the next message about *alert*; None: none without a new event."""
    if alert.state == "settling":
        return _first(alert)
    if alert.state == "closing":
        return alert.since + CLOSE_S, "resolved" if alert.announced else "passed"
    if alert.state == "told":
        return min(_further(alert, settings), default=None)
    return None


def _first(alert: Alert) -> tuple[float, Step] | None:
    settle = SETTLE_S.get(alert.event.severity)
    if settle is None:
        return None
    again = REPEAT_URGENT_S if alert.urgent else REPEAT_S
    earliest = alert.told_at + again if alert.told_at is not None else 0.0
    return max(alert.since + settle, earliest), "firing"


def _further(alert: Alert, settings: Settings) -> list[tuple[float, Step]]:
    """Return all possible next messages after the first one; the earliest is sent."""
    told_at = alert.told_at if alert.told_at is not None else alert.since
    steps: list[tuple[float, Step]] = []
    if _worse(alert):
        steps.append((told_at + MINUTE, "changed"))
    if mark(alert.event.cause) != alert.told_mark and not alert.silenced:
        steps.append((told_at + (CHANGE_URGENT_S if alert.urgent else CHANGE_S), "changed"))
    if not alert.silenced:
        if alert.escalated_at is None:
            steps.append((max(escalates_at(alert, settings), told_at + MINUTE), "escalated"))
        steps.append((reminds_at(alert), "reminder"))
    if alert.event.acked_at is not None and alert.escalated_at is not None and not alert.ack_told:
        steps.append((alert.event.acked_at, "acknowledged"))
    return steps


def _worse(alert: Alert) -> bool:
    told = alert.told_severity
    return told is not None and SEVERITIES.index(alert.event.severity) < SEVERITIES.index(told)


def escalates_at(alert: Alert, settings: Settings) -> float:
    """Return when the alert is escalated without a reaction: after escalate_after, or half the time to the deadline."""
    patience = WARNING_PATIENCE if alert.event.severity == "warning" else 1
    at = alert.opened_at + patience * settings.escalate_after
    if alert.deadline is not None:
        at = min(at, max(alert.opened_at, (alert.opened_at + alert.deadline) / 2))
    return at


def reminds_at(alert: Alert) -> float:
    """Return the time of the next reminder: more frequent before the deadline, every hour after it."""
    told_at = alert.told_at if alert.told_at is not None else alert.since
    wait = REMIND_S.get(alert.event.severity, 7 * DAY)
    if alert.deadline is not None:
        left = alert.deadline - told_at
        wait = min(wait, max(left / 4, REMIND_MIN_S) if left > 0 else HOUR)
    at = told_at + wait
    return at if alert.retry_at is None else min(at, alert.retry_at)


def told(alert: Alert, step: Step, now: float, message_id: str) -> Alert:
    """Return *alert* after the message *message_id* about *step* was queued."""
    thread = (alert.thread[0], message_id) if alert.thread else (message_id,)
    after = replace(
        alert,
        told_at=now,
        told_severity=alert.event.severity,
        told_mark=mark(alert.event.cause),
        thread=thread,
        retry_at=None,
    )
    if step in ("resolved", "passed"):
        return replace(after, state="quiet", since=now, announced=False)
    if step == "firing":
        return replace(after, state="told", since=now, announced=True)
    if step == "reminder":
        return replace(after, reminders=alert.reminders + 1)
    if step == "escalated":
        return replace(after, escalated_at=now, ack_told=False)
    if step == "acknowledged":
        return replace(after, ack_told=True)
    return after


def rejected(alert: Alert, now: float) -> Alert:
    """Return *alert* after a message about it was rejected permanently: it is sent again soon."""
    return replace(alert, retry_at=now + RETRY_S) if alert.state == "told" else alert
