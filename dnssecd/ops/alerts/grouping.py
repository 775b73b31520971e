"""Which alerts are sent together, and the limits on the number of messages.

Alerts that are due are sent by kind: new trouble, reminders, escalations, resolved alerts. A message about new trouble
includes alerts that still settle, because alerts that fire together usually have one cause; reminders include those
that are due soon. There is a minimum gap between two messages of a kind, and a limit per hour for alerts that are not
urgent. Alerts that exceed a limit stay due: the next message reports their state at that time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from msgspec import Struct

from dnssecd.ops.alerts.lifecycle import HOUR, MINUTE, Alert, Settings, Step, next_step
from dnssecd.ops.event_kinds import SEVERITIES

Group = Literal["trouble", "reminder", "escalation", "over"]

GAP_S = MINUTE
PER_HOUR_MAX = 12
#: Reminders that are due within this time are sent together.
REMIND_TOGETHER_S = HOUR / 2

_GROUP: MappingProxyType[Step, Group] = MappingProxyType(
    {
        "firing": "trouble",
        "changed": "trouble",
        "reminder": "reminder",
        "escalated": "escalation",
        "resolved": "over",
        "passed": "over",
        "acknowledged": "over",
    }
)

Due = tuple[Alert, Step]


@dataclass
class Budget:
    """Times of recent messages by group (epoch seconds); restored from the store's deliveries after a restart."""

    said: dict[Group, deque[float]] = field(default_factory=dict)

    def note(self, group: Group, at: float) -> None:
        """Record that a message of *group* was sent at *at*."""
        self.said.setdefault(group, deque(maxlen=PER_HOUR_MAX)).append(at)

    def free_at(self, group: Group, now: float, *, urgent: bool) -> float:
        """Return when the next message of *group* may be sent (at or before *now*: immediately)."""
        said = self.said.get(group)
        if (
            not said or said[-1] > now
        ):  # the clock was set back: one message too many is better than one too few
            return now
        free = said[-1] + GAP_S
        if not urgent and len(said) == PER_HOUR_MAX:
            free = max(free, said[0] + HOUR)
        return free


class Plan(Struct, frozen=True):
    """due: alerts to send now, by group. wake: when to plan again, None: at the next event."""

    due: dict[Group, list[Due]]
    wake: float | None


def plan(alerts: Iterable[Alert], settings: Settings, budget: Budget, now: float) -> Plan:
    """Return which of *alerts* are sent *now*."""
    later: list[tuple[float, Alert, Step]] = []
    ready: dict[Group, list[Due]] = {}
    for alert in alerts:
        step = next_step(alert, settings)
        if step is None:
            continue
        if step[0] <= now:
            ready.setdefault(_GROUP[step[1]], []).append((alert, step[1]))
        else:
            later.append((step[0], alert, step[1]))
    due: dict[Group, list[Due]] = {}
    wakes: list[float] = []
    for group, found in ready.items():
        free = budget.free_at(group, now, urgent=group == "escalation" or any(a.urgent for a, _ in found))
        if free <= now:
            due[group] = sorted([*found, *_riding_along(group, later, now)], key=_rank)
        else:
            wakes.append(free)
    taken = {alert.event.key for found in due.values() for alert, _ in found}
    wakes += [at for at, alert, _ in later if alert.event.key not in taken]
    return Plan(due, min(wakes, default=None))


def _riding_along(group: Group, later: list[tuple[float, Alert, Step]], now: float) -> list[Due]:
    if group == "trouble":
        return [(alert, step) for _, alert, step in later if step == "firing" and alert.told_at is None]
    if group == "reminder":
        within = now + REMIND_TOGETHER_S
        return [(alert, step) for at, alert, step in later if step == "reminder" and at <= within]
    return []


def _rank(due: Due) -> tuple[int, str, str, str]:
    event = due[0].event
    return SEVERITIES.index(event.severity), event.name, event.zone, event.subject
