"""Alerts of compromised and lost keys, each with its recovery plan: a text, made when an alert is sent."""

from collections.abc import Callable, Iterable, Mapping

from dnssecd.core.keys.keyset import Key
from dnssecd.core.keys.recovery import RecoveryStep
from dnssecd.daemon.rollover.text import moment
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.store.event_log import Event


class RecoveryPlans:
    """The alerts of one event, at most one for each key of a zone, and their plans."""

    def __init__(self, event: str, events: EventCore, zones: Mapping[str, FrontZone]) -> None:
        self._event, self._events, self._zones = event, events, zones

    def details(self, event: Event) -> str:
        """Return the plan that goes with an alert ("" for other events). For a thread."""
        zone = self._zones.get(event.zone) if event.name == self._event else None
        plans = None if zone is None else zone.recovery
        if plans is None:
            return ""
        place = self._place(event.subject)
        found = plans.get(place, "")
        if not isinstance(found, str):
            found = plans[place] = found()
        return found

    def begin(self, zone: FrontZone, key: Key, cause: str, text: str) -> None:
        """Raise the alert of a key, with its plan."""
        _plans(zone)[self._place(_subject(key))] = text
        self._events.raise_event(self._event, zone.name, cause, subject=_subject(key))

    def keep(self, zone: FrontZone, keys: Iterable[Key], later: Callable[[Key], Callable[[], str]]) -> None:
        """Keep the alerts of these keys, and resolve all others; ``later`` returns what makes a key's plan."""
        kept = {_subject(key): key for key in keys}
        for event in self._events.firing(zone.name):
            if event.name == self._event and event.subject not in kept:
                self._events.resolve(self._event, zone.name, event.subject)
                _plans(zone).pop(self._place(event.subject), None)
        for subject, key in kept.items():
            if self._place(subject) not in _plans(zone):
                _plans(zone)[self._place(subject)] = later(key)

    def _place(self, subject: str) -> str:
        """Return where the plan is kept; a compromised key may be lost, too."""
        return f"{self._event} {subject}"


def step_lines(steps: Iterable[RecoveryStep], *, people: bool) -> list[str]:
    """Return the lines of a plan's steps: those of people, or those of dnssecd."""
    return [f"* {_when(step.at)}{step.text}" for step in steps if (step.who == "people") is people]


def _when(at: int | None) -> str:
    return "" if at is None else f"{moment(at)}: "


def _subject(key: Key) -> str:
    return f"key {key.tag}"


def _plans(zone: FrontZone) -> dict[str, str | Callable[[], str]]:
    if zone.recovery is None:
        zone.recovery = {}
    return zone.recovery
