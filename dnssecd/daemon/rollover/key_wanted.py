"""A rollover that waits for a key that only an operator can add (policy: ``keys = "given"``): an event for each."""

from dnssecd.core.keys.evidence import Evidence
from dnssecd.core.keys.goals import KEYS_GIVEN
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.types import Plan
from dnssecd.daemon.rollover.engine import RolloverListener
from dnssecd.daemon.zones.first_keys_ready import KEY_WANTED
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore


class KeyWanted(RolloverListener):
    """Raises the event while a plan waits for a key, and resolves it when the key is there."""

    def __init__(self, events: EventCore) -> None:
        self._events = events

    def planned(self, zone: FrontZone, keyset: Keyset, plan: Plan, evidence: Evidence) -> float | None:
        """Update the event from the plan."""
        wanted = {
            blocker.missing[0].wanted: blocker.detail
            for blocker in plan.blockers
            if blocker.rule == KEYS_GIVEN and blocker.missing
        }
        for subject, detail in wanted.items():
            self._events.raise_event(KEY_WANTED, zone.name, detail, subject=subject)
        for event in self._events.firing(zone.name):
            if event.name == KEY_WANTED and event.subject and event.subject not in wanted:
                self._events.resolve(KEY_WANTED, zone.name, event.subject)
        return None
