"""What operators hear of updates that are refused for the zone's sake, or have less effect than their clients think.

An event for each zone and kind, and log lines. Clients decide how often that happens, but not how much is logged or
stored: in a minute the event is raised once, and the first LINES_MAX different causes are logged.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from dnssecd.ops.events import EventCore

REFUSED_EVENT, IGNORED_EVENT = "update-refused", "update-ignored"
#: An event resolves when nothing of the kind has happened for this long.
QUIET_S = 86_400.0
WINDOW_S = 60.0
LINES_MAX = 20
#: Of one message this many notes go into the cause.
NOTES_MAX = 3

log = structlog.get_logger("dnssecd.updates")


@dataclass(slots=True)
class _Window:
    """One zone and kind: when it began, what was logged in it, when something happened last."""

    began_at: float
    last_at: float
    logged: set[str] = field(default_factory=set)


class UpdateNotes:
    """Raises and resolves the events. All methods belong to the event loop's thread."""

    def __init__(
        self, events: EventCore, counted: Callable[[str], None], monotonic: Callable[[], float]
    ) -> None:
        """counted: hears of each message by its event's name."""
        self._events, self._counted, self._monotonic = events, counted, monotonic
        self._windows: dict[tuple[str, str], _Window] = {}
        self._timers: dict[tuple[str, str], asyncio.TimerHandle] = {}

    def start(self) -> None:
        """Let what still fires from before resolve in time."""
        now = self._monotonic()
        for event in self._events.firing():
            if event.name in (REFUSED_EVENT, IGNORED_EVENT):
                place = (event.name, event.zone)
                self._windows[place] = _Window(now - WINDOW_S, now)
                self._wake(place, QUIET_S)

    def refused(self, zone: str, client: str, reason: str) -> None:
        """Report an update that would have harmed the zone at its secondaries, or was too dear."""
        self._note(REFUSED_EVENT, zone, f"an update from {client} was refused: {reason}")

    def ignored(self, zone: str, client: str, notes: Sequence[str]) -> None:
        """Report an update that was answered NOERROR and had less effect than its client thinks."""
        more = f" (and {len(notes) - NOTES_MAX} more)" if len(notes) > NOTES_MAX else ""
        self._note(IGNORED_EVENT, zone, f"in an update from {client}: {'; '.join(notes[:NOTES_MAX])}{more}")

    def forget(self, zone: str) -> None:
        """Drop a zone that was removed."""
        for place in [place for place in self._windows if place[1] == zone]:
            del self._windows[place]
            if timer := self._timers.pop(place, None):
                timer.cancel()

    def close(self) -> None:
        """Stop."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _note(self, name: str, zone: str, cause: str) -> None:
        self._counted(name)
        place, now = (name, zone), self._monotonic()
        window = self._windows.get(place)
        if window is None or now - window.began_at >= WINDOW_S:
            window = self._windows[place] = _Window(now, now)
            self._events.raise_event(name, zone, cause)
            self._wake(place, QUIET_S)
        window.last_at = now
        if cause not in window.logged and len(window.logged) < LINES_MAX:
            window.logged.add(cause)
            log.info(name.replace("-", " "), zone=zone, cause=cause)

    def _wake(self, place: tuple[str, str], seconds: float) -> None:
        if place not in self._timers:
            self._timers[place] = asyncio.get_running_loop().call_later(seconds, self._look, place)

    def _look(self, place: tuple[str, str]) -> None:
        """Resolve the event, or look again when it may be time."""
        del self._timers[place]
        left_s = self._windows[place].last_at + QUIET_S - self._monotonic()
        if left_s > 0:
            self._wake(place, left_s)
            return
        del self._windows[place]
        self._events.resolve(*place)
