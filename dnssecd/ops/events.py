"""The event core: conditions that fire and resolve, each with a stable name, stored over restarts.

Raising an event that already fires only counts it. The state is in memory; a thread writes it to disk, so that a caller
that raises an event never waits for the disk. The amount of data that waits to be written is limited by the number of
different events. A failed write is repeated.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

import structlog

from dnssecd.clock import Clock
from dnssecd.ops.event_kinds import EVENT_KINDS, SEVERITIES
from dnssecd.replacing import replace
from dnssecd.store.errors import StoreError
from dnssecd.store.event_log import ZONE_REMOVED, Event, EventKey, EventStore, Severity, Transition

FIRING_MAX = 50_000
_UNWRITTEN_TRANSITIONS_MAX = 10_000
_TEXT_MAX = 2_000
_WRITE_RETRY_S = 5.0
_COUNTS_WRITTEN_S = 60.0
_RELOG_S = 60.0

log = structlog.get_logger("dnssecd.events")

Listener = Callable[[Event, str], None]


class EventCore:
    """The firing events and their history. All methods may be called from any thread."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Open ``events.sqlite`` at *path*. Events that fired when the daemon stopped still fire.

        Raise StoreError or OSError when the database cannot be opened.
        """
        self._clock = clock
        self._lock = threading.RLock()
        self._store = EventStore(path)
        self._store_lock = threading.Lock()
        self._firing: dict[EventKey, Event] = {event.key: event for event in self._store.firing()}
        #: The same keys by zone: a query for one zone must not search all firing events.
        self._by_zone: dict[str, dict[EventKey, None]] = {}
        for key in self._firing:
            self._by_zone.setdefault(key[1], {})[key] = None
        self._dirty: dict[EventKey, Event] = {}
        self._transitions: deque[Transition] = deque(maxlen=_UNWRITTEN_TRANSITIONS_MAX)
        self._logged: dict[EventKey, float] = {}
        self._listeners: list[Listener] = []
        self._removed: set[str] = set()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._write_error = ""
        self._writer = threading.Thread(target=self._write_behind, name="events", daemon=True)
        self._writer.start()
        if self._store.set_aside:
            self.raise_event(
                "store-failed",
                None,
                f"{path} was damaged; dnssecd renamed it to {self._store.set_aside}",
                subject="events",
                effect="the history of events starts again",
                remedy="check the health of the file system",
            )

    def raise_event(
        self,
        name: str,
        zone: str | None,
        cause: str,
        *,
        subject: str = "",
        effect: str | None = None,
        remedy: str | None = None,
        severity: Severity | None = None,
    ) -> None:
        """Report that the condition *name* (of EVENT_KINDS) holds for *zone*, or the daemon (None), due to *cause*.

        subject: distinguishes events of one kind in a zone, such as secondaries. effect, remedy, severity: replace
        those of the table.
        """
        kind = EVENT_KINDS[name]
        key = (name, zone or "", subject)
        with self._lock:
            if key[1] in self._removed:
                log.debug("event of a zone that was removed", name=name, zone=zone, cause=cause)
                return
            now = self._clock.now()
            old = self._firing.get(key)
            if old is None and len(self._firing) >= FIRING_MAX:
                log.error("too many events fire, this one is logged only", name=name, zone=zone, cause=cause)
                return
            event = Event(
                name=name,
                zone=zone or "",
                subject=subject,
                severity=severity or kind.severity,
                cause=_bounded(cause),
                effect=_bounded(effect or kind.effect),
                remedy=_bounded(remedy or kind.remedy),
                firing=True,
                first_seen=old.first_seen if old else now,
                last_seen=now,
                count=old.count + 1 if old else 1,
                acked_by=old.acked_by if old else "",
                acked_at=old.acked_at if old else None,
            )
            self._firing[key] = event
            self._by_zone.setdefault(key[1], {})[key] = None
            if old is None:
                self._changed(event, "firing")
            elif (old.cause, old.severity) != (event.cause, event.severity):
                self._changed(event, "changed")
            else:
                self._dirty[key] = event

    def resolve(self, name: str, zone: str | None = None, subject: str | None = "") -> bool:
        """Report that the condition no longer holds (subject None: for all subjects). Return whether it was firing."""
        with self._lock:
            if subject is not None:
                keys = [(name, zone or "", subject)]
            else:
                keys = [key for key in self._by_zone.get(zone or "", ()) if key[0] == name]
            resolved = [self._resolve(key) for key in keys]
        return any(resolved)

    def remove_zone(self, zone: str) -> None:
        """End all events of a removed zone. None can be raised for it until :meth:`add_zone`."""
        with self._lock:
            self._removed.add(zone)
            for key in list(self._by_zone.get(zone, ())):
                self._resolve(key, ZONE_REMOVED)

    def add_zone(self, zone: str) -> None:
        """Allow events for *zone*, which was added, or removed before and added again."""
        with self._lock:
            self._removed.discard(zone)

    def zones(self) -> set[str]:
        """Return the zones with firing events."""
        with self._lock:
            return {zone for zone in self._by_zone if zone}

    def acknowledge(self, name: str, zone: str | None, by: str, subject: str | None = None) -> int:
        """Record that *by* acknowledged the event; return the number of firing events acknowledged.

        zone None: the daemon and every zone. subject None: all subjects.
        """
        with self._lock:
            keys = self._firing if zone is None else self._by_zone.get(zone, ())
            found = [self._firing[key] for key in list(keys) if key[0] == name and subject in (None, key[2])]
            for event in found:
                seen = replace(event, acked_by=by, acked_at=self._clock.now())
                self._firing[event.key] = seen
                self._changed(seen, "acknowledged")
            return len(found)

    def firing(self, zone: str | None = None) -> list[Event]:
        """Return the firing events, worst first, then oldest first; of one zone, or of all and the daemon (None)."""
        with self._lock:
            keys = self._firing if zone is None else self._by_zone.get(zone, ())
            found = [self._firing[key] for key in keys]
        return sorted(
            found, key=lambda event: (SEVERITIES.index(event.severity), event.first_seen, event.key)
        )

    def is_firing(self, name: str, zone: str | None = None, subject: str = "") -> bool:
        """Return whether an event fires."""
        with self._lock:
            return (name, zone or "", subject) in self._firing

    def transitions(self, zone: str | None = None, after: int = 0, limit: int = 1_000) -> list[Transition]:
        """Return what fired and resolved, oldest first. Reads the disk: call it from a thread."""
        self.flush()
        with self._store_lock:
            return self._store.transitions(zone, after, limit)

    def subscribe(self, listener: Listener) -> None:
        """Call *listener(event, what)* at each transition, from the thread that raised it. It must not block.

        what: as in Transition.
        """
        with self._lock:
            self._listeners.append(listener)

    def share(self) -> None:
        """Let other processes read the database again, if it was opened on a full disk and there is room now."""
        if self._store.alone:
            with self._store_lock:
                self._store.share()

    def flush(self) -> bool:
        """Write pending data. Return whether that succeeded."""
        with self._store_lock:
            with self._lock:
                dirty, transitions = dict(self._dirty), list(self._transitions)
                self._dirty.clear()
                self._transitions.clear()
            if not dirty and not transitions:
                return True
            try:
                self._store.save(dirty.values(), transitions)
            except StoreError as error:
                with self._lock:
                    self._dirty = {**dirty, **self._dirty}
                    self._transitions.extendleft(reversed(transitions[: _room(self._transitions)]))
                self._write_failed(str(error))
                return False
            self._write_error = ""
            return True

    def close(self) -> None:
        """Write pending data and stop. Events must not be raised afterwards."""
        self._stop.set()
        self._wake.set()
        self._writer.join(timeout=10)
        self.flush()
        with self._store_lock:
            self._store.close()

    def _resolve(self, key: EventKey, remedy: str | None = None) -> bool:
        event = self._firing.pop(key, None)
        if event is None:
            return False
        of_zone = self._by_zone[key[1]]
        del of_zone[key]
        if not of_zone:
            del self._by_zone[key[1]]
        self._logged.pop(key, None)
        event = replace(event, firing=False, resolved_at=self._clock.now(), remedy=remedy or event.remedy)
        self._changed(event, "resolved")
        return True

    def _changed(self, event: Event, what: str) -> None:
        self._dirty[event.key] = event
        self._transitions.append(
            Transition(0, self._clock.now(), what, event.name, event.zone, event.subject, event.cause)
        )
        self._wake.set()
        self._tell(event, what)
        for listener in self._listeners:
            try:
                listener(event, what)
            except Exception:
                log.exception("an event listener failed", name=event.name)

    def _tell(self, event: Event, what: str) -> None:
        """Log an event. A cause that changes often is logged once a minute."""
        now = self._clock.monotonic()
        if what == "changed" and now - self._logged.get(event.key, -_RELOG_S) < _RELOG_S:
            return
        self._logged[event.key] = now
        fields = {"name": event.name, "zone": event.zone or None, "cause": event.cause}
        if event.subject:
            fields["subject"] = event.subject
        if event.firing and what != "acknowledged":
            fields |= {"effect": event.effect, "remedy": event.remedy}
            getattr(log, event.severity)(f"event {what}", **fields)
        else:
            self._logged.pop(event.key, None)
            if event.zone_removed:
                fields["reason"] = "the zone was removed"
            log.info(f"event {what}", **fields)

    def _write_behind(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(_COUNTS_WRITTEN_S)
            self._wake.clear()
            if not self.flush():
                self._stop.wait(_WRITE_RETRY_S)
                self._wake.set()

    def _write_failed(self, error: str) -> None:
        """Log a failed write once for each cause. It cannot be an event, because events are written too."""
        if error != self._write_error:
            self._write_error = error
            log.error("events cannot be stored", path=str(self._store.path), cause=error)


def _room(transitions: deque[Transition]) -> int:
    return _UNWRITTEN_TRANSITIONS_MAX - len(transitions)


def _bounded(text: str) -> str:
    return text if len(text) <= _TEXT_MAX else text[:_TEXT_MAX] + " …"
