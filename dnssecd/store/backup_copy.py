"""What backup and restore do to databases: copy one, judge one from outside, read and prepare a zone's.

A copy that nobody else uses is opened as it is: its settings stay, and no side file is left beside it.
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
from dnssecd.store.sqlite import translated
from dnssecd.store.zonedb import read_state


class Documents(NamedTuple):
    """What a zone's database says of itself: its schema and named state documents, None for one it lacks."""

    schema: int
    documents: dict[str, State | None]


class HistoryEntry(NamedTuple):
    """What goes into a zone's history; ``at`` in epoch seconds."""

    at: int
    who: str
    what: str
    serial: int | None
    detail: str


def copy_checked(source: Path, target: Path) -> None:
    """Copy a database as it is committed, and check the copy; it need not be on the disk. StoreError, OSError."""
    with translated(source):
        sqlite.copy_database(source, target, durable=False)
        with closing(sqlite.connect_as_it_is(target)) as connection:
            verdict, version = _quick_check(connection), _pragma(connection, "user_version")
    if verdict != "ok":
        raise StoreError(f"{source}: {verdict}")
    if version == 0:
        raise StoreError(f"{source}: it has no tables of ours; its creation was interrupted")


def check_unpacked(path: Path, migrations: tuple[str, ...], application_id: int, what: str) -> None:
    """Check that a file from outside is a database of ours, whole, with our tables and nothing else; StoreError.

    what: how messages name it.
    """
    try:
        with closing(sqlite.connect_as_it_is(path)) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            version = _pragma(connection, "user_version")
            if version > len(migrations):
                raise StoreError(
                    f"{what} has schema {version}, this dnssecd knows {len(migrations)}: restore it with the dnssecd "
                    "that made it, or a newer one"
                )
            if _pragma(connection, "application_id") != application_id or version == 0:
                raise StoreError(f"{what} is not a database of the kind expected")
            if _objects(connection) != _expected(migrations[:version]):
                raise StoreError(f"{what} has other tables than dnssecd makes")
            verdict = _quick_check(connection)
            if verdict != "ok":
                raise StoreError(f"{what} is damaged: {verdict}")
    except (sqlite3.Error, *DAMAGE) as error:
        raise StoreError(f"{what} is damaged: {error}") from None


def read_documents(path: Path, names: Iterable[str], *, private: bool) -> Documents:
    """Read state documents of a zone's database; private: nobody else uses the file. StoreError, ValueError."""
    with translated(path):
        opened = sqlite.connect_as_it_is(path) if private else sqlite.connect(path, read_only=True)
        with closing(opened) as connection:
            documents = {name: read_state(connection, name) for name in names}
            return Documents(_pragma(connection, "user_version"), documents)


def read_origin(path: Path) -> object:
    """Return the origin (wire form) that an unpacked zone database says it has, None where it says none. StoreError."""
    try:
        with translated(path), closing(sqlite.connect_as_it_is(path)) as connection:
            return origin_of(connection)
    except DAMAGE as error:
        raise StoreError(f"{path}: {error}") from error


def prepare_zone(path: Path, documents: Mapping[str, State], entry: HistoryEntry) -> None:
    """Bring a zone's unpacked database to our schema, put documents and an entry in, and forget all evidence.

    It is not on the disk when this returns. StoreError, OSError.
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
    for older in range(1, len(schema.MIGRATIONS)):
        sqlite.copy_name(path, older).unlink(missing_ok=True)


def merge_log(path: Path) -> None:
    """Move a database's write-ahead log into its file, where that can be done; nobody uses it."""
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
