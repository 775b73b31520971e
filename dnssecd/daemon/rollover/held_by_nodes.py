"""An event for keys that wait long until enough nodes of the cluster hold them (see `note_holders`)."""

from dnssecd.clock import Clock
from dnssecd.core.keys.evidence import Evidence
from dnssecd.core.keys.holders_gate import LOOK_S, RULE
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.types import Plan
from dnssecd.daemon.rollover.engine import RolloverListener
from dnssecd.daemon.zones.first_keys_ready import NOT_HELD
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore

#: A wait that lasts longer (s) is reported: the other nodes need a few seconds.
PATIENCE_S = 60


class HeldByNodes(RolloverListener):
    """Raises the event of a key that too few nodes hold for long, and looks again soon."""

    def __init__(self, events: EventCore, clock: Clock) -> None:
        self._events, self._clock = events, clock

    def planned(self, zone: FrontZone, keyset: Keyset, plan: Plan, evidence: Evidence) -> float | None:
        """Return when to look again whether more nodes hold a key."""
        now = self._clock.now()
        waiting = {f"key {each.tag}": each for each in plan.blockers if each.rule == RULE}
        for subject, blocker in waiting.items():
            made = min((key.created for key in plan.keyset.keys if key.ref == blocker.ref), default=now)
            if now - made > PATIENCE_S:
                self._events.raise_event(NOT_HELD, zone.name, blocker.detail, subject=subject)
        for event in self._events.firing(zone.name):
            if event.name == NOT_HELD and event.subject and event.subject not in waiting:
                self._events.resolve(NOT_HELD, zone.name, event.subject)
        return now + LOOK_S if waiting else None
