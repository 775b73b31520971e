"""The catalogue of zones: serial, next wake, earliest expiration. With it a start need not open 10,000 databases.

It is a summary of the zone databases, written after their commits; after a crash it may be older than a database.
Served data always comes from the zone's own database. It is one small SQLite file; only the daemon process writes it.
What could not be written (full disk) is kept and written with the next entry: no committed data depends on it.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import structlog

from dnssecd.store import sqlite
from dnssecd.store.errors import DatabaseFailed
from dnssecd.store.sqlite import translated, translating

APPLICATION_ID = 0x444E5343
FILE_NAME_MAX = 200

_VERSION_1 = """
CREATE TABLE zone (name TEXT NOT NULL PRIMARY KEY, serial INTEGER, input_serial INTEGER, published_at INTEGER,
    earliest_expiration INTEGER, next_wake INTEGER, records INTEGER, verified_at INTEGER, frozen INTEGER) WITHOUT ROWID;
CREATE TABLE serving (name TEXT NOT NULL PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID;
"""
#: The mark of each database (store.filemark): it shows whether the file was changed while dnssecd was stopped.
_VERSION_2 = "ALTER TABLE zone ADD COLUMN mark TEXT;"
#: Zones that were added while the daemon ran. removed_at: epoch seconds; NULL: it is a zone of the daemon.
_VERSION_3 = """
CREATE TABLE added (name TEXT NOT NULL PRIMARY KEY, document TEXT NOT NULL, removed_at INTEGER) WITHOUT ROWID;
"""
MIGRATIONS: tuple[str, ...] = (_VERSION_1, _VERSION_2, _VERSION_3)


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
    """The catalogue database. Methods raise StoreError."""

    @translating
    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = self._open()
        self._unwritten: dict[str, CatalogueEntry] = {}
        #: How zones are served, likewise; None: the zone was removed.
        self._unserved: dict[str, str | None] = {}
        self._failing = False

    def _open(self) -> sqlite3.Connection:
        connection = sqlite.open_database(self.path, MIGRATIONS, APPLICATION_ID, alone_if_full=True)
        # A lost write is repaired when the zone is next opened, so it need not wait for the disk.
        connection.execute("PRAGMA synchronous = NORMAL")
        self._alone = sqlite.is_alone(connection)
        return connection

    @translating
    def share(self) -> None:
        """Let other processes read it again, if it was opened on a full disk and there is room now."""
        if self._alone:
            self._connection.close()
            self._connection = self._open()

    @translating
    def entries(self) -> dict[str, CatalogueEntry]:
        """Return all zones by name."""
        rows = self._connection.execute(
            "SELECT name, serial, input_serial, published_at, earliest_expiration, next_wake, records, "
            "verified_at, frozen, mark FROM zone"
        )
        return {row[0]: CatalogueEntry._make(row) for row in rows}

    def put(self, entry: CatalogueEntry) -> None:
        """Write one zone's entry, and entries that failed before; a failure is logged once."""
        self._unwritten[entry.name] = entry
        self._write(entry.name)

    def keep_serving(self, documents: Mapping[str, str]) -> None:
        """Write how zones are served, as :meth:`put` writes an entry: what fails is written with the next one."""
        self._unserved.update(documents)
        if documents:
            self._write(next(iter(documents)))

    def remove(self, names: Sequence[str]) -> None:
        """Forget zones; what fails is done with the next entry."""
        for name in names:
            self._unwritten.pop(name, None)
            self._unserved[name] = None
        if names:
            self._write(names[0])

    def _write(self, zone: str) -> None:
        """Write all that waits; a failure is logged once."""
        try:
            if self._unserved:
                self._write_serving()
            for waiting in list(self._unwritten.values()):
                self._connection.execute(
                    "INSERT OR REPLACE INTO zone VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", waiting
                )
                del self._unwritten[waiting.name]
        except sqlite3.Error as error:
            if not self._failing:
                log.error("the catalogue cannot be written", zone=zone, cause=str(error))
            self._failing = True
        else:
            self._failing = False

    def _write_serving(self) -> None:
        gone = [(name,) for name, document in self._unserved.items() if document is None]
        there = [(name, document) for name, document in self._unserved.items() if document is not None]
        with sqlite.transaction(self._connection) as connection:
            connection.executemany("DELETE FROM zone WHERE name = ?", gone)
            connection.executemany("DELETE FROM serving WHERE name = ?", gone)
            connection.executemany("INSERT OR REPLACE INTO serving VALUES (?, ?)", there)
        self._unserved.clear()

    @translating
    def forget(self, zones: Mapping[str, bool]) -> None:
        """Forget the served state of zones; their databases are verified at the next start. The value: frozen.

        Unlike other writes this one is synced to disk, completely or not at all: the caller then replaces the
        databases. Raise StoreError.
        """
        with self._synced() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO zone (name, frozen) VALUES (?, ?)",
                [(name, int(frozen)) for name, frozen in zones.items()],
            )
        for name in zones:
            self._unwritten.pop(name, None)

    @contextmanager
    def _synced(self) -> Iterator[sqlite3.Connection]:
        """Run a transaction that is on the disk when it ends."""
        self._connection.execute("PRAGMA synchronous = FULL")
        try:
            with sqlite.transaction(self._connection) as connection:
                yield connection
        finally:
            self._connection.execute("PRAGMA synchronous = NORMAL")

    @translating
    def added(self, *, removed: bool = False) -> dict[str, str]:
        """Return the documents of the zones that were added while the daemon ran, or of those that were removed."""
        sql = "SELECT name, document FROM added WHERE (removed_at IS NOT NULL) = ?"
        rows = self._connection.execute(sql, (removed,))
        return dict(rows.fetchall())

    @translating
    def put_added(self, documents: Mapping[str, str]) -> None:
        """Record added zones, on the disk: a zone that an operator added is not forgotten. Raise StoreError."""
        with self._synced() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO added (name, document) VALUES (?, ?)", documents.items()
            )

    @translating
    def end_added(self, names: Iterable[str], removed_at: int | None) -> None:
        """Record that added zones were removed; None: they are zones of the configuration file now."""
        with self._synced() as connection:
            if removed_at is None:
                connection.executemany("DELETE FROM added WHERE name = ?", [(name,) for name in names])
            else:
                connection.executemany(
                    "UPDATE added SET removed_at = ? WHERE name = ?", [(removed_at, name) for name in names]
                )

    @translating
    def put_serving(self, documents: dict[str, str]) -> None:
        """Record how zones are served, for zones that leave the configuration; in one transaction. Raise StoreError."""
        with sqlite.transaction(self._connection) as connection:
            connection.executemany("INSERT OR REPLACE INTO serving VALUES (?, ?)", documents.items())

    @translating
    def serving(self) -> dict[str, str]:
        """Return how zones are, or were last, served: one document for each."""
        return dict(self._connection.execute("SELECT name, document FROM serving").fetchall())

    @translating
    def sync(self) -> None:
        """Sync what was written to disk, through a separate connection, so in any thread. Raise StoreError."""
        if self._alone:
            raise DatabaseFailed(f"{self.path}: the disk was full when it was opened")
        with closing(sqlite.connect(self.path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    @translating
    def close(self) -> None:
        """Close the database."""
        self._connection.close()


class CatalogueCopy(NamedTuple):
    """The content of a catalogue: the last known serials of zones, and how zones were served."""

    serials: dict[str, int]
    documents: dict[str, str]
    names: frozenset[str]


def read_catalogue(path: Path) -> CatalogueCopy:
    """Read a catalogue that another process may be writing; change nothing. Raise StoreError."""
    with translated(path), closing(sqlite.connect(path, read_only=True)) as connection:
        serials = dict(connection.execute("SELECT name, serial FROM zone").fetchall())
        documents = dict(connection.execute("SELECT name, document FROM serving").fetchall())
    known = {name: serial for name, serial in serials.items() if serial is not None}
    return CatalogueCopy(known, documents, frozenset(serials) | frozenset(documents))


def database_name(zone: str) -> str:
    """Return the file name of a zone's database: the quoted zone name, shortened with a digest if too long."""
    name = quote(zone.rstrip("."), safe="-_*.") or "%2E"
    if len(name) > FILE_NAME_MAX:
        name = f"{name[:100]}-{sha256(zone.encode()).hexdigest()[:32]}"
    return f"{name}.sqlite"
