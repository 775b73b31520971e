"""Every statement that writes rows of a zone's version, and the one place that runs them.

A transaction writes through :class:`Writes` alone, so that a log of versions (``store/version_log.py``) gets
everything: each call is given to the recorder, if there is one. Replaying the same operations with the same rows, in
the same order, makes the same rows; no statement depends on anything but the rows of this database. Not here, because
they are not part of a version: ``evidence`` (what this host saw), ``meta`` (the identity of this file), and the
position in the log itself.
"""

import sqlite3
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Protocol

Row = Sequence[Any]


class Operation(IntEnum):
    """The operations; the numbers stand in records and never change their meaning.

    ``sql``: the statement for a row; ``also``: another one that runs before it, "" for none.
    """

    sql: str
    also: str

    def __new__(cls, number: int, sql: str, also: str = "") -> "Operation":
        """Make an operation of its number and its statements."""
        made = int.__new__(cls, number)
        made._value_ = number
        made.sql, made.also = sql, also
        return made

    PUT_RRSETS = 1, "INSERT OR REPLACE INTO rrset (owner, rtype, ttl, rdata) VALUES (?, ?, ?, ?)"
    DELETE_RRSETS = 2, "DELETE FROM rrset WHERE owner = ? AND rtype = ?"
    PUT_DENIAL = 3, "INSERT OR REPLACE INTO denial (owner, rtype, ttl, rdata) VALUES (?, ?, ?, ?)"
    DELETE_DENIAL = 4, "DELETE FROM denial WHERE owner = ?"
    PUT_RRSIGS = (
        5,
        "INSERT OR REPLACE INTO rrsig (owner, covered, ttl, rdata, expiration) VALUES (?, ?, ?, ?, ?)",
    )
    DELETE_RRSIGS = 6, "DELETE FROM rrsig WHERE owner = ? AND covered = ?"
    PUT_STATE = 7, "INSERT OR REPLACE INTO state (name, value) VALUES (?, ?)"
    PUT_HISTORY = (
        8,
        "INSERT OR REPLACE INTO history (id, at, who, what, serial, detail) VALUES (?, ?, ?, ?, ?, ?)",
    )
    #: The rows that it removes depend on the table alone: (newest id to remove, kind, how many at most).
    PRUNE_HISTORY = (
        9,
        "DELETE FROM history WHERE id IN (SELECT id FROM history WHERE id <= ? AND what = ? ORDER BY id LIMIT ?)",
    )
    PUT_JOURNAL = (
        10,
        "INSERT INTO journal (sequence, from_serial, to_serial, at, octets, old_soa, old_soa_ttl, new_soa, "
        "new_soa_ttl) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    PUT_JOURNAL_CHUNKS = 11, "INSERT INTO journal_chunk (sequence, part, added, rrs) VALUES (?, ?, ?, ?)"
    DROP_JOURNAL = (
        12,
        "DELETE FROM journal WHERE sequence <= ?",
        "DELETE FROM journal_chunk WHERE sequence <= ?",
    )


#: DROP_JOURNAL with this sequence drops all of it: the largest integer that SQLite stores.
ALL_SEQUENCES = (1 << 63) - 1


class Recording(Protocol):
    """Takes the operations of a transaction, in order."""

    def add(self, operation: Operation, rows: Sequence[Row]) -> None:
        """Take one operation; the rows are not changed afterwards."""
        ...


class Writes:
    """Runs the operations of one transaction. ``recording``: None if no log is attached."""

    def __init__(self, connection: sqlite3.Connection, recording: Recording | None = None) -> None:
        self._execute, self._executemany = connection.execute, connection.executemany
        self._recording = recording

    def many(self, operation: Operation, rows: Sequence[Row]) -> None:
        """Run an operation without ``also`` for each row."""
        if self._recording is not None and rows:
            self._recording.add(operation, rows)
        self._executemany(operation.sql, rows)

    def one(self, operation: Operation, *row: object) -> None:
        """Run an operation for one row."""
        if self._recording is not None:
            self._recording.add(operation, (row,))
        if operation.also:
            self._execute(operation.also, row)
        self._execute(operation.sql, row)

    def append_history(self, at: int, who: str, what: str, serial: int | None, detail: str) -> int | None:
        """Append an entry to the history and return its id, which the database chooses."""
        row = (at, who, what, serial, detail)
        number = self._execute(
            "INSERT INTO history (at, who, what, serial, detail) VALUES (?, ?, ?, ?, ?)", row
        ).lastrowid
        if self._recording is not None:
            self._recording.add(Operation.PUT_HISTORY, ((number, *row),))
        return number


def replay(connection: sqlite3.Connection, operation: Operation, rows: Sequence[Row]) -> None:
    """Run an operation of a record."""
    if operation.also:
        connection.executemany(operation.also, rows)
    connection.executemany(operation.sql, rows)
