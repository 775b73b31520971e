"""Alerts on disk: ``alerts.sqlite`` in the state directory, mode 0600, WAL.

Tables: ``alert``, what people were told of each event; ``delivery``, the queue of messages and the newest of
those that have ended; ``fact``, small values by name. What people are considered to have been told and the
message that tells them change in one transaction, so a crash neither loses a message nor makes a second one of
it; one that was on its way when the daemon died is sent again, with the same Message-ID.

A database of a newer schema is refused untouched; a damaged one is set aside. When the disk cannot be written
the store goes on in memory (``failure`` says why): that the disk is full is just what has to be told, and what
has been sent must not be sent for ever because that cannot be noted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import msgspec

from dnssecd.store import sqlite
from dnssecd.store.errors import StoreError
from dnssecd.store.event_log import Event, EventKey
from dnssecd.store.sqlite import translating

#: SQLite's application_id: none is set.
APPLICATION_ID = 0
QUEUE_MAX = 1_000  # messages waiting, for each way
ENDED_KEPT = 1_000
WAIT_MAX_S = 3_600.0
COVERS_MAX = 200

_VERSION_1 = """
CREATE TABLE alert (
    name TEXT NOT NULL, zone TEXT NOT NULL, subject TEXT NOT NULL, document BLOB NOT NULL,
    PRIMARY KEY (name, zone, subject)
) STRICT;
CREATE TABLE delivery (
    number INTEGER PRIMARY KEY AUTOINCREMENT, way TEXT NOT NULL, kind TEXT NOT NULL, message TEXT NOT NULL,
    covers TEXT NOT NULL, recipients TEXT NOT NULL, body BLOB, created_at REAL NOT NULL, next_try REAL NOT NULL,
    attempts INTEGER NOT NULL, state TEXT NOT NULL, ended_at REAL, reason TEXT NOT NULL
) STRICT;
CREATE INDEX delivery_waiting ON delivery (way, number) WHERE state = 'waiting';
CREATE INDEX delivery_ended ON delivery (ended_at) WHERE state != 'waiting';
CREATE TABLE fact (name TEXT PRIMARY KEY, value REAL NOT NULL) STRICT;
"""
MIGRATIONS: tuple[str, ...] = (_VERSION_1,)


class StoredAlert(Protocol):
    """What people know of one event; kept as a document under the event's key."""

    @property
    def event(self) -> Event:
        """The event."""
        ...


T = TypeVar("T")
A = TypeVar("A", bound=StoredAlert)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message on its way. covers: the events it tells of, at most COVERS_MAX. number: 0 until it is stored."""

    way: str
    kind: str
    message: str
    recipients: tuple[str, ...]
    body: bytes
    created_at: float
    covers: tuple[EventKey, ...] = ()
    next_try: float = 0.0
    attempts: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class QueueState:
    """Of one way. oldest: when the oldest waiting message was made; last: when one was last delivered."""

    waiting: int = 0
    oldest: float | None = None
    last: float | None = None
    reason: str = ""


class AlertStore(Generic[A]):
    """Synchronous; may be used from any thread. Alerts are of the type the constructor is given."""

    @translating
    def __init__(self, path: Path | None, kind: type[A]) -> None:
        """Open or create *path*; None: in memory. StoreError or OSError."""
        self.path = path
        self.failure = ""
        self._kind = kind
        self._lock = threading.RLock()
        #: Where a damaged database was moved to.
        self.set_aside: Path | None = None
        if path is None:
            self._db = sqlite.connect_memory(MIGRATIONS)
        else:
            self._db, self.set_aside = sqlite.open_or_set_aside(path, MIGRATIONS, APPLICATION_ID)

    @translating
    def close(self) -> None:
        with self._lock:
            self._db.close()

    @translating
    def alerts(self) -> list[A]:
        """All that is known of; what cannot be read any more is left out, and so told anew."""
        with self._lock:
            rows = self._db.execute("SELECT document FROM alert").fetchall()
        found = []
        for (document,) in rows:
            try:
                found.append(msgspec.json.decode(document, type=self._kind))
            except msgspec.DecodeError:
                continue
        return found

    @translating
    def fact(self, name: str) -> float | None:
        with self._lock:
            row = self._db.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return None if row is None else float(row[0])

    def save(
        self,
        alerts: Iterable[A] = (),
        *,
        forget: Iterable[EventKey] = (),
        deliveries: Sequence[Delivery] = (),
        facts: Iterable[tuple[str, float]] = (),
    ) -> list[Delivery]:
        """All of it or nothing. Deliveries that found their queue full are returned, not stored.

        A reminder or digest takes the place of one that still waits and says the same of the same.
        """
        rows = [(*alert.event.key, msgspec.json.encode(alert)) for alert in alerts]
        gone, values = list(forget), list(facts)

        def work() -> list[Delivery]:
            self._db.executemany("INSERT OR REPLACE INTO alert VALUES (?, ?, ?, ?)", rows)
            self._db.executemany("DELETE FROM alert WHERE name = ? AND zone = ? AND subject = ?", gone)
            self._db.executemany("INSERT OR REPLACE INTO fact VALUES (?, ?)", values)
            return [delivery for delivery in deliveries if not self._add(delivery)]

        return self._write(work)

    def _add(self, delivery: Delivery) -> bool:
        covers = msgspec.json.encode(delivery.covers[:COVERS_MAX]).decode()
        if delivery.kind in ("reminder", "digest"):
            self._db.execute(
                "DELETE FROM delivery WHERE state = 'waiting' AND way = ? AND kind = ? AND covers = ?",
                (delivery.way, delivery.kind, covers),
            )
        count = "SELECT count(*) FROM delivery WHERE state = 'waiting' AND way = ?"
        if self._db.execute(count, (delivery.way,)).fetchone()[0] >= QUEUE_MAX:
            return False
        self._db.execute(
            "INSERT INTO delivery (way, kind, message, covers, recipients, body, created_at, next_try, attempts,"
            " state, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'waiting', '')",
            (
                delivery.way,
                delivery.kind,
                delivery.message,
                covers,
                msgspec.json.encode(delivery.recipients).decode(),
                delivery.body,
                delivery.created_at,
                delivery.next_try,
                delivery.attempts,
            ),
        )
        return True

    def next_due(self, way: str, now: float) -> Delivery | None:
        """The message to be sent now by *way*, oldest first."""
        # No wait is longer than WAIT_MAX_S: one that seems to be was set before the clock was set back.
        return self._delivery(
            "AND (next_try <= ? OR next_try > ?) ORDER BY number LIMIT 1", way, now, now + WAIT_MAX_S
        )

    @translating
    def next_try(self, way: str) -> float | None:
        """When the next message is to be tried; None: none waits."""
        with self._lock:
            row = self._db.execute(
                "SELECT min(next_try) FROM delivery WHERE state = 'waiting' AND way = ?", (way,)
            ).fetchone()
        return None if row[0] is None else float(row[0])

    @translating
    def _delivery(self, rest: str, *values: object) -> Delivery | None:
        with self._lock:
            row = self._db.execute(
                "SELECT way, kind, message, recipients, body, created_at, covers, next_try, attempts, number"  # noqa: S608
                f" FROM delivery WHERE state = 'waiting' AND way = ? {rest}",
                values,
            ).fetchone()
        if row is None:
            return None
        way, kind, message, recipients, body, created_at, covers, next_try, attempts, number = row
        return Delivery(
            way,
            kind,
            message,
            tuple(msgspec.json.decode(recipients, type=list[str])),
            body,
            created_at,
            tuple(msgspec.json.decode(covers, type=list[EventKey])),
            next_try,
            attempts,
            number,
        )

    def tried(
        self, delivery: Delivery, next_try: float, reason: str, recipients: Sequence[str] | None = None
    ) -> None:
        """It is to be tried again, for *recipients* where some have been served."""
        left = msgspec.json.encode(delivery.recipients if recipients is None else recipients).decode()
        values = (next_try, reason, left, delivery.number)
        self._write(
            lambda: self._db.execute(
                "UPDATE delivery SET attempts = attempts + 1, next_try = ?, reason = ?, recipients = ?"
                " WHERE number = ? AND state = 'waiting'",
                values,
            )
        )

    def ended(self, delivery: Delivery, state: str, now: float, reason: str = "") -> None:
        """It was delivered ("done") or given up ("failed"). Its text is not kept."""

        def work() -> None:
            self._db.execute(
                "UPDATE delivery SET state = ?, ended_at = ?, reason = ?, body = NULL, attempts = attempts + 1"
                " WHERE number = ?",
                (state, now, reason, delivery.number),
            )
            self._db.execute(
                "DELETE FROM delivery WHERE state != 'waiting' AND number NOT IN"
                " (SELECT number FROM delivery WHERE state != 'waiting' ORDER BY number DESC LIMIT ?)",
                (ENDED_KEPT,),
            )

        self._write(work)

    @translating
    def queue(self, way: str) -> QueueState:
        """How *way*'s queue is."""
        with self._lock:
            waiting, oldest = self._db.execute(
                "SELECT count(*), min(created_at) FROM delivery WHERE state = 'waiting' AND way = ?", (way,)
            ).fetchone()
            (last,) = self._db.execute(
                "SELECT max(ended_at) FROM delivery WHERE state = 'done' AND way = ?", (way,)
            ).fetchone()
            row = self._db.execute(
                "SELECT reason FROM delivery WHERE state != 'done' AND reason != '' AND way = ?"
                " ORDER BY number DESC LIMIT 1",
                (way,),
            ).fetchone()
        return QueueState(waiting, oldest, last, row[0] if row else "")

    @translating
    def ended_since(self, since: float, state: str) -> int:
        """How many messages of all ways were delivered ("done") or given up ("failed") since."""
        with self._lock:
            (count,) = self._db.execute(
                "SELECT count(*) FROM delivery WHERE state = ? AND ended_at >= ?", (state, since)
            ).fetchone()
        return int(count)

    @translating
    def made_since(self, since: float) -> list[tuple[str, float]]:
        """(kind, when) of the messages made since, oldest first; of several ways one."""
        with self._lock:
            rows = self._db.execute(
                "SELECT kind, created_at FROM delivery WHERE created_at >= ? GROUP BY kind, created_at"
                " ORDER BY created_at",
                (since,),
            ).fetchall()
        return [(str(kind), float(at)) for kind, at in rows]

    def _write(self, work: Callable[[], T]) -> T:
        """*work* in a transaction; where the disk does not take it, in memory."""
        with self._lock:
            try:
                return self._transact(work)
            except StoreError as error:
                if self.path is None or self.failure:
                    raise
                self.failure = str(error)
                self._to_memory()
                return self._transact(work)

    @translating
    def _transact(self, work: Callable[[], T]) -> T:
        with sqlite.transaction(self._db):
            return work()

    def _to_memory(self) -> None:
        """Go on with what can still be read."""
        memory = sqlite.copy_to_memory(self._db, MIGRATIONS)
        self._db.close()
        self._db = memory

    def back_to_disk(self) -> bool:
        """Put all there is back on the disk, after a failure. Whether that succeeded."""
        with self._lock:
            if self.path is None or not self.failure:
                return True
            try:
                fresh = sqlite.replace_content(self.path, self._db, MIGRATIONS, APPLICATION_ID)
            except (StoreError, OSError) as error:
                self.failure = str(error)
                return False
            self._db.close()
            self._db, self.failure = fresh, ""
            return True
