"""Which alerts go out together, and when too much would be said.

What is due goes out by kind: new trouble, reminders, escalations, good news. New trouble takes along what still
settles, since what fires together mostly has one cause; reminders take along those that are due soon. Between
two messages of a kind there is a gap, and what is not urgent is held to a number an hour. What is held back
stays due: it is told with the next message, as it is then, and nothing piles up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from dnssecd.ops.alerts.lifecycle import HOUR, MINUTE, Alert, Settings, Step, next_step
from dnssecd.ops.event_kinds import SEVERITIES

Group = Literal["trouble", "reminder", "escalation", "over"]

GAP_S = MINUTE
PER_HOUR_MAX = 12
#: Reminders due within so long go out together.
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
    """What was said of late, by group (epoch seconds); survives a restart in the store's deliveries."""

    said: dict[Group, deque[float]] = field(default_factory=dict)

    def note(self, group: Group, at: float) -> None:
        """A message of *group* went out at *at*."""
        self.said.setdefault(group, deque(maxlen=PER_HOUR_MAX)).append(at)

    def free_at(self, group: Group, now: float, *, urgent: bool) -> float:
        """When the next message of *group* may go out (at or before *now*: at once)."""
        said = self.said.get(group)
        if not said or said[-1] > now:  # the clock was set back: better once too often
            return now
        free = said[-1] + GAP_S
        if not urgent and len(said) == PER_HOUR_MAX:
            free = max(free, said[0] + HOUR)
        return free


@dataclass(frozen=True, slots=True)
class Plan:
    """due: what goes out now, by group. wake: when to look again, None: when something happens."""

    due: dict[Group, list[Due]]
    wake: float | None


def plan(alerts: Iterable[Alert], settings: Settings, budget: Budget, now: float) -> Plan:
    """What of *alerts* goes out *now*."""
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
