"""Events on disk: ``events.sqlite`` in the state directory, mode 0600, WAL.

Two tables: ``event``, the latest state of each (name, zone, subject); ``transition``, what fired and resolved
when, newest :data:`TRANSITIONS_KEPT`. Both change in one transaction, so a crash leaves the state before or
after. A database of a newer schema is refused untouched; a damaged one is set aside, since losing the history
of events must not keep zones from being served.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from dnssecd.ops.event_kinds import Severity

SCHEMA_VERSION = 1
TRANSITIONS_KEPT = 10_000

EventKey = tuple[str, str, str]

#: What is left to do about an event that ended because its zone was removed, and by which it is known.
ZONE_REMOVED = "the zone was removed from dnssecd, which looks at it no more: whether it is over is not known"


@dataclass(frozen=True, slots=True)
class Event:
    """One condition that holds or held.

    zone: with final dot, "" for the daemon as a whole. subject: what it is about within the zone (a secondary,
    a token), or "". Times are epoch seconds. count: how often it was seen since it began to fire.
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
        """Whether it ended because its zone was removed, not because the condition was seen to be over."""
        return not self.firing and self.remedy == ZONE_REMOVED

    @property
    def key(self) -> EventKey:
        return self.name, self.zone, self.subject


@dataclass(frozen=True, slots=True)
class Transition:
    """An event began to fire, changed its cause, was acknowledged or resolved. number: increases for ever."""

    number: int
    at: float
    what: str  # "firing", "changed", "acknowledged", "resolved"
    name: str
    zone: str
    subject: str
    cause: str


class EventSchemaError(Exception):
    """The event database was written by a newer version of this program."""


_COLUMNS = [field.name for field in fields(Event)]

_SCHEMA = f"""
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
PRAGMA user_version = {SCHEMA_VERSION};
"""


class EventStore:
    """Synchronous access; the event core calls it from its writer thread."""

    def __init__(self, path: Path) -> None:
        """Opens or creates *path*. Raises EventSchemaError, or sqlite3.Error and OSError when it cannot."""
        self.path = path
        self.set_aside: Path | None = None
        try:
            self._db = self._open()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # locked, no space …: the content may be good
                raise
            self.set_aside = path.with_name(path.name + ".damaged")
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            path.replace(self.set_aside)
            self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
        db = sqlite3.connect(self.path, timeout=5, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise EventSchemaError(
                f"{self.path} has schema {version}, this program knows {SCHEMA_VERSION}: use the newer program"
            )
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        if version == 0:
            db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")

    def close(self) -> None:
        self._db.close()

    def firing(self) -> list[Event]:
        rows = self._db.execute(f"SELECT {', '.join(_COLUMNS)} FROM event WHERE firing")  # noqa: S608
        return [_event(row) for row in rows]

    def save(self, events: Iterable[Event], transitions: Iterable[Transition]) -> None:
        """Write both in one transaction. The transitions' own numbers are ignored."""
        holes = ", ".join("?" * len(_COLUMNS))
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(
                f"INSERT OR REPLACE INTO event ({', '.join(_COLUMNS)}) VALUES ({holes})",  # noqa: S608
                [astuple(event) for event in events],
            )
            self._db.executemany(
                "INSERT INTO transition (at, what, name, zone, subject, cause) VALUES (?, ?, ?, ?, ?, ?)",
                [astuple(transition)[1:] for transition in transitions],
            )
            self._db.execute(
                "DELETE FROM transition WHERE number <= (SELECT max(number) FROM transition) - ?",
                (TRANSITIONS_KEPT,),
            )
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def transitions(self, zone: str | None = None, after: int = 0, limit: int = 1_000) -> list[Transition]:
        """The newest *limit* transitions with a number above *after*, oldest first; of one zone, or of all."""
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
