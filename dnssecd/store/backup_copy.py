"""Operations on databases for backup and restore: copy, check a foreign file, read and prepare a zone's database.

A copy that no other process uses is opened without changing its settings, so no side file is left next to it.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from dnssecd.store import schema, sqlite
from dnssecd.store.errors import DAMAGE, StoreError
from dnssecd.store.identity import origin_of
from dnssecd.store.interface import State
from dnssecd.store.snapshot import read_state
from dnssecd.store.sqlite import translated


class Documents(NamedTuple):
    """Schema and named state documents of a zone's database; None for a missing document."""

    schema: int
    documents: dict[str, State | None]


class HistoryEntry(NamedTuple):
    """An entry for a zone's history; ``at`` in epoch seconds."""

    at: int
    who: str
    what: str
    serial: int | None
    detail: str


def copy_checked(source: Path, target: Path) -> None:
    """Copy the committed state of a database, and check the copy, without sync. Raise StoreError, OSError."""
    with translated(source):
        sqlite.copy_database(source, target, durable=False)
        with closing(sqlite.connect_as_it_is(target)) as connection:
            verdict, version = _quick_check(connection), _pragma(connection, "user_version")
    if verdict != "ok":
        raise StoreError(f"{source}: {verdict}")
    if version == 0:
        raise StoreError(f"{source}: it has no dnssecd tables; its creation was interrupted")


def check_unpacked(path: Path, migrations: tuple[str, ...], application_id: int, what: str) -> None:
    """Check that a foreign file is a complete dnssecd database with only its tables. Raise StoreError.

    what: its name in messages.
    """
    try:
        with closing(sqlite.connect_as_it_is(path)) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            version = _pragma(connection, "user_version")
            if version > len(migrations):
                raise StoreError(
                    f"{what} has schema {version}, this dnssecd supports {len(migrations)}: restore it with the "
                    "version of dnssecd that made it, or a newer one"
                )
            if _pragma(connection, "application_id") != application_id or version == 0:
                raise StoreError(f"{what} is not a database of the kind expected")
            if _objects(connection) != _expected(migrations[:version]):
                raise StoreError(f"{what} has tables that dnssecd does not create")
            verdict = _quick_check(connection)
            if verdict != "ok":
                raise StoreError(f"{what} is damaged: {verdict}")
    except (sqlite3.Error, *DAMAGE) as error:
        raise StoreError(f"{what} is damaged: {error}") from None


def read_documents(path: Path, names: Iterable[str], *, private: bool) -> Documents:
    """Read state documents. private: no other process uses the file. Raise StoreError, ValueError."""
    with translated(path):
        opened = sqlite.connect_as_it_is(path) if private else sqlite.connect(path, read_only=True)
        with closing(opened) as connection:
            documents = {name: read_state(connection, name) for name in names}
            return Documents(_pragma(connection, "user_version"), documents)


def read_origin(path: Path) -> object:
    """Return the origin (wire form) in an unpacked zone database, None if absent. Raise StoreError."""
    try:
        with translated(path), closing(sqlite.connect_as_it_is(path)) as connection:
            return origin_of(connection)
    except DAMAGE as error:
        raise StoreError(f"{path}: {error}") from error


def prepare_zone(path: Path, documents: Mapping[str, State], entry: HistoryEntry) -> None:
    """Migrate a zone's unpacked database to the current schema, add documents and an entry, and drop all evidence.

    The changes are not synced to disk. Raise StoreError, OSError.
    """
    with (
        translated(path),
        closing(sqlite.open_database(path, schema.MIGRATIONS, schema.APPLICATION_ID)) as connection,
    ):
        connection.execute("PRAGMA synchronous = OFF")
        with sqlite.transaction(connection):
            connection.executemany(
                "INSERT OR REPLACE INTO state (name, value) VALUES (?, ?)",
                [(name, json.dumps(document, sort_keys=True)) for name, document in documents.items()],
            )
            connection.execute("DELETE FROM evidence")
            connection.execute(
                "INSERT INTO history (at, who, what, serial, detail) VALUES (?, ?, ?, ?, ?)", entry
            )
    sqlite.require_merged(path)
    for older in range(1, len(schema.MIGRATIONS)):
        sqlite.copy_name(path, older).unlink(missing_ok=True)


def merge_log(path: Path) -> None:
    """Move a database's write-ahead log into its file, if possible. No process may use the database."""
    with suppress(sqlite3.Error), closing(sqlite.connect_as_it_is(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def _quick_check(connection: sqlite3.Connection) -> str:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    return str(verdict)


def _objects(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    rows = connection.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_schema")
    return {(kind, name, " ".join(sql.split())) for kind, name, sql in rows}


def _expected(migrations: tuple[str, ...]) -> set[tuple[str, str, str]]:
    with closing(sqlite.connect_memory(migrations)) as connection:
        return _objects(connection)
