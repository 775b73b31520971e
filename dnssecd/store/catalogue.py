"""The catalogue of zones: serial, next wake, earliest expiration, so that 10,000 zones need not be opened to start.

It is a digest of the zone databases, written after their commits, and may lag behind one after a crash; what is
served always comes from the zone's own database. One small SQLite file, written by the front alone. What it could
not take (a full disk) is kept and written with the next entry: nothing that was committed depends on it.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import structlog

from dnssecd.store import sqlite
from dnssecd.store.sqlite import translated, translating

APPLICATION_ID = 0x444E5343
FILE_NAME_MAX = 200

_VERSION_1 = """
CREATE TABLE zone (name TEXT NOT NULL PRIMARY KEY, serial INTEGER, input_serial INTEGER, published_at INTEGER,
    earliest_expiration INTEGER, next_wake INTEGER, records INTEGER, verified_at INTEGER, frozen INTEGER) WITHOUT ROWID;
CREATE TABLE serving (name TEXT NOT NULL PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID;
"""
#: How each database was left (store.filemark), so that one that was changed meanwhile is not taken on trust.
_VERSION_2 = "ALTER TABLE zone ADD COLUMN mark TEXT;"
MIGRATIONS: tuple[str, ...] = (_VERSION_1, _VERSION_2)


log = structlog.get_logger("dnssecd.store")


class CatalogueEntry(NamedTuple):
    """One zone; times in epoch seconds. ``verified_at``: when all of it was last verified; ``mark``: a FileMark."""

    name: str
    serial: int | None = None
    input_serial: int | None = None
    published_at: int | None = None
    earliest_expiration: int | None = None
    next_wake: int | None = None
    records: int | None = None
    verified_at: int | None = None
    frozen: int | None = None
    mark: str | None = None


class Catalogue:
    """The catalogue database; StoreError when it cannot be used."""

    @translating
    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection = sqlite.open_database(path, MIGRATIONS, APPLICATION_ID)
        # A lost write is made good when the zone is next opened, so it need not wait for the disk.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._unwritten: dict[str, CatalogueEntry] = {}

    @translating
    def entries(self) -> dict[str, CatalogueEntry]:
        """Return all zones by name."""
        rows = self._connection.execute(
            "SELECT name, serial, input_serial, published_at, earliest_expiration, next_wake, records, "
            "verified_at, frozen, mark FROM zone"
        )
        return {row[0]: CatalogueEntry._make(row) for row in rows}

    def put(self, entry: CatalogueEntry) -> None:
        """Write one zone's entry, and those that could not be written before; a failure is logged once."""
        failing = bool(self._unwritten)
        self._unwritten[entry.name] = entry
        try:
            for waiting in list(self._unwritten.values()):
                self._connection.execute(
                    "INSERT OR REPLACE INTO zone VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", waiting
                )
                del self._unwritten[waiting.name]
        except sqlite3.Error as error:
            if not failing:
                log.error("the catalogue cannot be written", zone=entry.name, cause=str(error))

    @translating
    def forget(self, zones: Mapping[str, bool]) -> None:
        """Forget what was served of zones, whose databases are verified at the next start; the value: frozen.

        Unlike other writes this one is on the disk when it returns, all of it or nothing: what replaces these
        databases relies on it. StoreError when it cannot be done.
        """
        self._connection.execute("PRAGMA synchronous = FULL")
        try:
            with sqlite.transaction(self._connection) as connection:
                connection.executemany(
                    "INSERT OR REPLACE INTO zone (name, frozen) VALUES (?, ?)",
                    [(name, int(frozen)) for name, frozen in zones.items()],
                )
        finally:
            self._connection.execute("PRAGMA synchronous = NORMAL")
        for name in zones:
            self._unwritten.pop(name, None)

    @translating
    def put_serving(self, documents: dict[str, str]) -> None:
        """Note how zones are served, for the day when the configuration does not say; in one transaction."""
        with sqlite.transaction(self._connection) as connection:
            connection.executemany("INSERT OR REPLACE INTO serving VALUES (?, ?)", documents.items())

    @translating
    def serving(self) -> dict[str, str]:
        """Return how zones are, or were last, served: a document each."""
        return dict(self._connection.execute("SELECT name, document FROM serving").fetchall())

    @translating
    def remove(self, name: str) -> None:
        """Forget a zone."""
        self._unwritten.pop(name, None)
        self._connection.execute("DELETE FROM zone WHERE name = ?", (name,))
        self._connection.execute("DELETE FROM serving WHERE name = ?", (name,))

    @translating
    def sync(self) -> None:
        """Have what was written on the disk: through a connection of its own, so in any thread. StoreError."""
        with closing(sqlite.connect(self.path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    @translating
    def close(self) -> None:
        """Close the database."""
        self._connection.close()


class CatalogueCopy(NamedTuple):
    """A catalogue as it was read once: the serial last known of zones, and how zones were served."""

    serials: dict[str, int]
    documents: dict[str, str]
    names: frozenset[str]


def read_catalogue(path: Path) -> CatalogueCopy:
    """Read a catalogue that another process may be writing; nothing is changed. StoreError."""
    with translated(path), closing(sqlite.connect(path, read_only=True)) as connection:
        serials = dict(connection.execute("SELECT name, serial FROM zone").fetchall())
        documents = dict(connection.execute("SELECT name, document FROM serving").fetchall())
    known = {name: serial for name, serial in serials.items() if serial is not None}
    return CatalogueCopy(known, documents, frozenset(serials) | frozenset(documents))


def database_name(zone: str) -> str:
    """Return the file name of a zone's database: the zone's name where a file may be called that."""
    name = quote(zone.rstrip("."), safe="-_*.") or "%2E"
    if len(name) > FILE_NAME_MAX:
        name = f"{name[:100]}-{sha256(zone.encode()).hexdigest()[:32]}"
    return f"{name}.sqlite"
