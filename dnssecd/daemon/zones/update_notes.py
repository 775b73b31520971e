"""Reports on updates that are refused to protect the zone, or have less effect than their clients expect.

There is an event for each zone and kind, and log lines. Clients can cause any number of such updates, but the
amount logged and stored is bounded: in a minute the event is raised once, and the first LINES_MAX different
causes are logged.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog

from dnssecd.daemon.zones.rooms import NoteWindow
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore

REFUSED_EVENT, IGNORED_EVENT = "update-refused", "update-ignored"
#: An event resolves when none of its kind has happened for this long.
QUIET_S = 86_400.0
WINDOW_S = 60.0
LINES_MAX = 20
#: The cause contains at most this many notes of one message.
NOTES_MAX = 3

log = structlog.get_logger("dnssecd.updates")


class UpdateNotes:
    """Raises and resolves the events. All methods belong to the event loop's thread."""

    def __init__(
        self,
        zones: Mapping[str, FrontZone],
        events: EventCore,
        counted: Callable[[str], None],
        monotonic: Callable[[], float],
    ) -> None:
        """Take the interfaces.

        counted: called for each message with its event's name.
        """
        self._zones, self._events, self._counted, self._monotonic = zones, events, counted, monotonic

    def start(self) -> None:
        """Let events that still fire from an earlier process resolve in time."""
        now = self._monotonic()
        for event in self._events.firing():
            zone = self._zones.get(event.zone)
            if zone is not None and event.name in (REFUSED_EVENT, IGNORED_EVENT):
                self._begin(zone, event.name, NoteWindow(now - WINDOW_S, now))

    def refused(self, zone: FrontZone, client: str, reason: str) -> None:
        """Report an update that would have harmed the zone at its secondaries, or was too expensive."""
        self._note(REFUSED_EVENT, zone, f"an update from {client} was refused: {reason}")

    def ignored(self, zone: FrontZone, client: str, notes: Sequence[str]) -> None:
        """Report an update that was answered NOERROR but had less effect than its client expects."""
        more = f" (and {len(notes) - NOTES_MAX} more)" if len(notes) > NOTES_MAX else ""
        self._note(IGNORED_EVENT, zone, f"in an update from {client}: {'; '.join(notes[:NOTES_MAX])}{more}")

    def close(self) -> None:
        """Stop."""
        for zone in self._zones.values():
            for window in (zone.updates.noted or {}).values():
                if window.timer is not None:
                    window.timer.cancel()

    def _note(self, name: str, zone: FrontZone, cause: str) -> None:
        self._counted(name)
        if zone.gone:
            return
        now = self._monotonic()
        window = (zone.updates.noted or {}).get(name)
        if window is None or now - window.began_at >= WINDOW_S:
            timer = None if window is None else window.timer
            window = self._begin(zone, name, NoteWindow(now, now, timer=timer))
            self._events.raise_event(name, zone.name, cause)
        window.last_at = now
        if cause not in window.logged and len(window.logged) < LINES_MAX:
            window.logged.add(cause)
            log.info(name.replace("-", " "), zone=zone.name, cause=cause)

    def _begin(self, zone: FrontZone, name: str, window: NoteWindow) -> NoteWindow:
        zone.updates.noted = (zone.updates.noted or {}) | {name: window}
        if window.timer is None:
            self._wake(zone, name, window, QUIET_S)
        return window

    def _wake(self, zone: FrontZone, name: str, window: NoteWindow, seconds: float) -> None:
        window.timer = asyncio.get_running_loop().call_later(seconds, self._look, zone, name)

    def _look(self, zone: FrontZone, name: str) -> None:
        """Resolve the event, or check again when it may be time."""
        noted = zone.updates.noted or {}
        window = noted[name]
        left_s = window.last_at + QUIET_S - self._monotonic()
        if left_s > 0:
            self._wake(zone, name, window, left_s)
            return
        zone.updates.noted = {other: each for other, each in noted.items() if other != name} or None
        self._events.resolve(name, zone.name)
