"""Events on disk: ``events.sqlite`` in the state directory, mode 0600, WAL.

Two tables: ``event``, the latest state of each (name, zone, subject); ``transition``, the newest
:data:`TRANSITIONS_KEPT` changes with their times. Both change in one transaction, so a crash leaves the old or the new
state. A database of a newer schema is refused and not changed. A damaged one is renamed, because the loss of the event
history must not stop the daemon.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from msgspec import Struct
from msgspec.structs import astuple, fields

from dnssecd.store import sqlite
from dnssecd.store.sqlite import translating

#: SQLite's application_id: not set.
APPLICATION_ID = 0
TRANSITIONS_KEPT = 10_000

EventKey = tuple[str, str, str]
Severity = Literal["critical", "error", "warning", "info"]

#: The remedy of an event that ended because its zone was removed; it also identifies such an event.
ZONE_REMOVED = (
    "the zone was removed from dnssecd, which no longer checks it: whether the problem is solved is unknown"
)


class Event(Struct, frozen=True):
    """One condition that holds or held.

    zone: with final dot, "" for the daemon as a whole. subject: the part of the zone that is affected (a secondary,
    a token), or "". Times are epoch seconds. count: how often it was seen since it started to fire.
    """

    name: str
    zone: str
    subject: str
    severity: Severity
    cause: str
    effect: str
    remedy: str
    firing: bool
    first_seen: float
    last_seen: float
    count: int
    resolved_at: float | None = None
    acked_by: str = ""
    acked_at: float | None = None

    @property
    def zone_removed(self) -> bool:
        """Whether it ended by the removal of its zone, not by the end of the condition."""
        return not self.firing and self.remedy == ZONE_REMOVED

    @property
    def key(self) -> EventKey:
        """Name, zone and subject."""
        return self.name, self.zone, self.subject


class Transition(Struct, frozen=True):
    """An event started to fire, changed its cause, was acknowledged or resolved. number: increases always."""

    number: int
    at: float
    what: str  # "firing", "changed", "acknowledged", "resolved"
    name: str
    zone: str
    subject: str
    cause: str


_COLUMNS = [field.name for field in fields(Event)]

_VERSION_1 = """
CREATE TABLE event (
    name TEXT NOT NULL, zone TEXT NOT NULL, subject TEXT NOT NULL, severity TEXT NOT NULL, cause TEXT NOT NULL,
    effect TEXT NOT NULL, remedy TEXT NOT NULL, firing INTEGER NOT NULL, first_seen REAL NOT NULL,
    last_seen REAL NOT NULL, count INTEGER NOT NULL, resolved_at REAL, acked_by TEXT NOT NULL, acked_at REAL,
    PRIMARY KEY (name, zone, subject)
) STRICT;
CREATE TABLE transition (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, what TEXT NOT NULL, name TEXT NOT NULL,
    zone TEXT NOT NULL, subject TEXT NOT NULL, cause TEXT NOT NULL
) STRICT;
"""
MIGRATIONS: tuple[str, ...] = (_VERSION_1,)


class EventStore:
    """The stored events. Synchronous; the event core calls it from its writer thread."""

    def __init__(self, path: Path) -> None:
        """Open or create *path*. Raise StoreError or OSError. ``set_aside``: new name of a damaged file, or None."""
        self.path = path
        self._db, self.set_aside = sqlite.open_or_set_aside(path, MIGRATIONS, APPLICATION_ID)
        self.alone = sqlite.is_alone(self._db)

    @translating
    def share(self) -> None:
        """Let other processes read it again, if it was opened on a full disk and there is room now."""
        self._db.close()
        self._db = sqlite.open_database(self.path, MIGRATIONS, APPLICATION_ID, alone_if_full=True)
        self.alone = sqlite.is_alone(self._db)

    @translating
    def close(self) -> None:
        """Close the database."""
        self._db.close()

    @translating
    def firing(self) -> list[Event]:
        """Return all events that fire."""
        rows = self._db.execute(f"SELECT {', '.join(_COLUMNS)} FROM event WHERE firing")  # noqa: S608
        return [_event(row) for row in rows]

    @translating
    def save(self, events: Iterable[Event], transitions: Iterable[Transition]) -> None:
        """Write both in one transaction. Numbers in *transitions* are ignored."""
        holes = ", ".join("?" * len(_COLUMNS))
        with sqlite.transaction(self._db) as db:
            db.executemany(
                f"INSERT OR REPLACE INTO event ({', '.join(_COLUMNS)}) VALUES ({holes})",  # noqa: S608
                [astuple(event) for event in events],
            )
            db.executemany(
                "INSERT INTO transition (at, what, name, zone, subject, cause) VALUES (?, ?, ?, ?, ?, ?)",
                [astuple(transition)[1:] for transition in transitions],
            )
            db.execute(
                "DELETE FROM transition WHERE number <= (SELECT max(number) FROM transition) - ?",
                (TRANSITIONS_KEPT,),
            )

    @translating
    def transitions(self, zone: str | None = None, after: int = 0, limit: int = 1_000) -> list[Transition]:
        """Return the newest *limit* transitions with a number above *after*, oldest first; of one zone, or of all."""
        rows = self._db.execute(
            "SELECT number, at, what, name, zone, subject, cause FROM transition"
            " WHERE number > ? AND (? IS NULL OR zone = ?) ORDER BY number DESC LIMIT ?",
            (after, zone, zone, limit),
        ).fetchall()
        return [Transition(*row) for row in reversed(rows)]


def _event(row: tuple[object, ...]) -> Event:
    values = dict(zip(_COLUMNS, row, strict=True))
    values["firing"] = bool(values["firing"])
    return Event(**values)  # type: ignore[arg-type]
