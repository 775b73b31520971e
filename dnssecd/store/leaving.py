"""Change by hand where a zone's database is in the log of a cluster. No daemon may use it meanwhile."""

import json
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path

from dnssecd.store import schema, sqlite
from dnssecd.store.backup_copy import HistoryEntry
from dnssecd.store.interface import State
from dnssecd.store.position import POSITION, read_position, write_position
from dnssecd.store.snapshot import read_state
from dnssecd.store.sqlite import translated
from dnssecd.store.version_log import Position


def read_standing(path: Path) -> tuple[Position, int | None]:
    """Return the position of a database in its log (sequence 0: none), and its serial. Raise StoreError, OSError."""
    with translated(path), closing(sqlite.connect(path, read_only=True)) as connection:
        version = read_state(connection, "version")
        return read_position(connection), None if version is None else int(version["serial"])


def has_entry(path: Path, whats: Collection[str]) -> str:
    """Return the newest of some entries that the history of a database has, "" for none. Raise StoreError, OSError."""
    marks = ", ".join("?" * len(whats))
    with translated(path), closing(sqlite.connect(path, read_only=True)) as connection:
        row = connection.execute(
            f"SELECT what FROM history WHERE what IN ({marks}) ORDER BY rowid DESC LIMIT 1",  # noqa: S608
            tuple(whats),
        ).fetchone()
    return "" if row is None else str(row[0])


def change_place(
    path: Path, at: Position | None, documents: Mapping[str, State], entry: HistoryEntry
) -> None:
    """Let a database belong to no log (None), or to a place of it; with documents and an entry of its history.

    One transaction, synced to disk. Raise StoreError, OSError.
    """
    with (
        translated(path),
        closing(sqlite.open_database(path, schema.MIGRATIONS, schema.APPLICATION_ID)) as connection,
        sqlite.transaction(connection),
    ):
        if at is None:
            connection.execute("DELETE FROM state WHERE name = ?", (POSITION,))
        else:
            write_position(connection, at)
        connection.executemany(
            "INSERT OR REPLACE INTO state (name, value) VALUES (?, ?)",
            [(name, json.dumps(document, sort_keys=True)) for name, document in documents.items()],
        )
        connection.execute(
            "INSERT INTO history (at, who, what, serial, detail) VALUES (?, ?, ?, ?, ?)", entry
        )
