"""Alerts on disk: ``alerts.sqlite`` in the state directory, mode 0600, WAL.

Tables: ``alert``, what was sent about each event; ``delivery``, the queue of messages and the newest ended messages;
``fact``, small values by name. The state of an alert and the message about it change in one transaction, so a crash
neither loses nor doubles a message. A message that was being sent when the daemon died is sent again, with the same
Message-ID.

A database of a newer schema is refused and not changed; a damaged one is renamed. When the disk cannot be written the
store continues in memory (``failure`` has the reason): a full disk must be reported, and a message must not be sent
again and again because its delivery cannot be recorded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import msgspec
from msgspec import Struct

from dnssecd.store import sqlite
from dnssecd.store.errors import StoreError
from dnssecd.store.event_log import Event, EventKey
from dnssecd.store.sqlite import translating

#: SQLite's application_id: not set.
APPLICATION_ID = 0
QUEUE_MAX = 1_000  # waiting messages of each channel
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
    """What was sent about one event; stored as a document under the event's key."""

    @property
    def event(self) -> Event:
        """The event."""
        ...


T = TypeVar("T")
A = TypeVar("A", bound=StoredAlert)


class Delivery(Struct, frozen=True):
    """A message to deliver. covers: the events it reports, at most COVERS_MAX. number: 0 until it is stored."""

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


class QueueState(Struct, frozen=True):
    """The queue of one channel. oldest: creation of the oldest waiting message; last: time of the last delivery."""

    waiting: int = 0
    oldest: float | None = None
    last: float | None = None
    reason: str = ""


class AlertStore(Generic[A]):
    """The stored alerts and queues. Synchronous; may be used from any thread. Alerts have the given type."""

    @translating
    def __init__(self, path: Path | None, kind: type[A]) -> None:
        """Open or create *path*; None: in memory. Raise StoreError or OSError."""
        self.path = path
        self.failure = ""
        self._kind = kind
        self._lock = threading.RLock()
        #: The new name of a damaged database.
        self.set_aside: Path | None = None
        if path is None:
            self._db = sqlite.connect_memory(MIGRATIONS)
        else:
            self._db, self.set_aside = sqlite.open_or_set_aside(path, MIGRATIONS, APPLICATION_ID)

    @translating
    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._db.close()

    @translating
    def alerts(self) -> list[A]:
        """Return all alerts. Unreadable ones are omitted, so they are sent again."""
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
        """Return a value by name, None if absent."""
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
        """Write everything or nothing. Return the deliveries that were not stored because their queue is full.

        A reminder or digest replaces a waiting one about the same events.
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
        """Return the message to send now on channel *way*, the oldest first; None: none is due."""
        # No wait is longer than WAIT_MAX_S. A longer one was set before the clock was set back.
        return self._delivery(
            "AND (next_try <= ? OR next_try > ?) ORDER BY number LIMIT 1", way, now, now + WAIT_MAX_S
        )

    @translating
    def next_try(self, way: str) -> float | None:
        """Return when the next message is due; None: none waits."""
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
        """Record a failed attempt; only *recipients* remain if some accepted the message."""
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
        """Record that a message was delivered ("done") or dropped ("failed"). Its text is not kept."""

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
        """Return the state of the queue of channel *way*."""
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
        """Return how many messages of all channels were delivered ("done") or dropped ("failed") since."""
        with self._lock:
            (count,) = self._db.execute(
                "SELECT count(*) FROM delivery WHERE state = ? AND ended_at >= ?", (state, since)
            ).fetchone()
        return int(count)

    @translating
    def made_since(self, since: float) -> list[tuple[str, float]]:
        """Return (kind, when) of the messages made since, oldest first; one for all channels."""
        with self._lock:
            rows = self._db.execute(
                "SELECT kind, created_at FROM delivery WHERE created_at >= ? GROUP BY kind, created_at"
                " ORDER BY created_at",
                (since,),
            ).fetchall()
        return [(str(kind), float(at)) for kind, at in rows]

    def _write(self, work: Callable[[], T]) -> T:
        """Do *work* in a transaction; in memory if the disk cannot be written."""
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
        """Continue in memory with the data that can still be read."""
        memory = sqlite.copy_to_memory(self._db, MIGRATIONS)
        self._db.close()
        self._db = memory

    def back_to_disk(self) -> bool:
        """Write everything to disk again after a failure. Return whether that succeeded."""
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
