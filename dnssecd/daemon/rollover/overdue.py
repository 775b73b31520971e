"""Rollover steps that wait longer than usual: an event that names the awaited evidence and server."""

from collections.abc import Callable

from dnssecd.clock import Clock
from dnssecd.core.keys.evidence import Evidence
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.keystate import Rec
from dnssecd.core.keys.types import Blocker, Plan, RolloverPolicy
from dnssecd.daemon.rollover.engine import RolloverListener
from dnssecd.daemon.rollover.text import late_lines
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore

EVENT = "rollover-overdue"
PATIENCE = 3  # times the usual duration of a step
TOLD_MAX = 5


class Overdue(RolloverListener):
    """Raises the event while evidence is long overdue. ``on_ds`` is called if it is a DS."""

    def __init__(
        self,
        events: EventCore,
        clock: Clock,
        policy: Callable[[FrontZone], RolloverPolicy],
        on_ds: Callable[[FrontZone], object],
    ) -> None:
        self._events, self._clock, self._policy, self._on_ds = events, clock, policy, on_ds

    def planned(self, zone: FrontZone, keyset: Keyset, plan: Plan, evidence: Evidence) -> float | None:
        """Judge every wait by its duration; return when the next one is overdue."""
        policy, now = self._policy(zone), self._clock.now()
        due = [(due_at(blocker, policy, zone.spec.validity_s), blocker) for blocker in plan.blockers]
        late = [blocker for at, blocker in due if at is not None and at <= now]
        if late:
            more = f" (and {len(late) - TOLD_MAX} more)" if len(late) > TOLD_MAX else ""
            cause = "; ".join(late_lines(late[:TOLD_MAX], keyset)) + more
            remedy = f"see what the step waits for: dnssecd explain {zone.name}"
            self._events.raise_event(EVENT, zone.name, cause, remedy=remedy)
            if any(blocker.rec is Rec.DS for blocker in late):
                self._on_ds(zone)
        else:
            self._events.resolve(EVENT, zone.name)
        return min((at for at, _ in due if at is not None and at > now), default=None)


def due_at(blocker: Blocker, policy: RolloverPolicy, validity_s: int) -> int | None:
    """Return when (epoch s) a wait for evidence is overdue; None for a wait for time or for another step."""
    if blocker.since is None or not blocker.missing:
        return None
    usual = policy.propagation_delay + policy.margin
    if blocker.rec is Rec.DS:
        usual = policy.parent_propagation_delay + policy.parent_ds_ttl
    patience = PATIENCE * usual
    if blocker.rec is Rec.ZRRSIG:
        patience += validity_s  # signatures are replaced when they are due
    return blocker.since + patience
