"""One zone's database: snapshots to serve from, and the one transaction that makes the next version."""

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from dnssecd.core.dns.rrset import RRset, Rrsigs, count
from dnssecd.core.dns.rrtypes import RRSIG, SOA
from dnssecd.core.zone.changeset import Change
from dnssecd.core.zone.zoneview import JournalChunk, JournalStep
from dnssecd.store import history, schema, sqlite
from dnssecd.store.errors import JournalGap, StaleVersion, StoreError
from dnssecd.store.identity import claim
from dnssecd.store.interface import Identity, OldVersion, State
from dnssecd.store.journal import PRUNE_EVERY, JournalWriter, prune
from dnssecd.store.remembered import RememberedView
from dnssecd.store.sqlite import failure, translating
from dnssecd.store.view import SqliteView

#: Idle read connections kept per zone.
READERS_IDLE_MAX = 4
#: At most this many snapshots of one zone at a time; transfers beyond it wait or are refused by the listener.
READERS_MAX = 64

#: Commits after which the write-ahead log is moved into the database: when there is time, and at the latest. Done by
#: SQLite itself it would happen inside a commit, where our own snapshot of the version before keeps it from ever
#: ending: then every commit waits for the disk twice.
CHECKPOINT_COMMITS, CHECKPOINT_COMMITS_MAX = 64, 256
#: A longer write-ahead log (a bulk load's) is moved at once, and cut to this afterwards.
WAL_OCTETS_MAX = 16 << 20

#: A first version of more RRsets has its RRSIGs sorted by expiration once, when all are there: an index kept up to date
#: RRSIG by RRSIG takes as long as all the rest of writing them, since expirations are scattered.
INDEX_LATER_RRSETS = 10_000


def identity_of(path: Path) -> Identity | None:
    """Return which file lies at a path; None where there is none. OSError."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def read_state(connection: sqlite3.Connection, name: str) -> State | None:
    """Return one named document of the zone's state."""
    text = _state_text(connection, name)
    return None if text is None else json.loads(text)


def _state_text(connection: sqlite3.Connection, name: str) -> str | None:
    row = connection.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
    return None if row is None else row[0]


def _records(rrset: RRset | Rrsigs | None) -> int:
    return 0 if rrset is None else count(rrset.rdata)


class Snapshot(SqliteView):
    """A published version, unchanging while it is held (core.zoneview.ServedVersion)."""

    def __init__(self, connection: sqlite3.Connection, origin: bytes) -> None:
        super().__init__(connection, origin)
        self.version: State | None = read_state(connection, "version")

    @property
    def serial(self) -> int:
        """The SOA serial of this version; StoreError when nothing has been published."""
        if self.version is None:
            raise StoreError("the zone has no published version yet")
        return int(self.version["serial"])

    def state(self, name: str) -> State | None:
        """Return a named state document as of this version."""
        return read_state(self._connection, name)

    def _steps(self, from_serial: int) -> list[tuple[int, int, int, int]]:
        """Return (sequence, from, to, octets) of the sequences from ``from_serial`` on; [] if there is a gap."""
        row = self._connection.execute(
            "SELECT max(sequence) FROM journal WHERE from_serial = ?", (from_serial,)
        ).fetchone()
        if row[0] is None:
            return []
        steps = self._connection.execute(
            "SELECT sequence, from_serial, to_serial, octets FROM journal WHERE sequence >= ? ORDER BY sequence",
            (row[0],),
        ).fetchall()
        chained = all(a[2] == b[1] for a, b in pairwise(steps))
        return steps if chained and steps[-1][2] == self.serial else []

    def journal_size(self, from_serial: int) -> int | None:
        """Return the octets of RRs in the journal from ``from_serial`` to this version; None if it has a gap."""
        if from_serial == self.serial:
            return 0
        steps = self._steps(from_serial)
        return sum(step[3] for step in steps) if steps else None

    def journal(self, from_serial: int) -> Iterator[JournalStep]:
        """Yield the difference sequences from ``from_serial`` to this version, oldest first (JournalGap)."""
        if from_serial == self.serial:
            return
        steps = self._steps(from_serial)
        if not steps:
            raise JournalGap(f"no journal from serial {from_serial} to {self.serial}")
        for sequence, _, _, _ in steps:
            row = self._connection.execute(
                "SELECT from_serial, to_serial, old_soa, old_soa_ttl, new_soa, new_soa_ttl FROM journal "
                "WHERE sequence = ?",
                (sequence,),
            ).fetchone()
            before, after, old_soa, old_ttl, new_soa, new_ttl = row
            yield JournalStep(before, after, old_soa, old_ttl, new_soa, new_ttl, self._chunks(sequence))

    def _chunks(self, sequence: int) -> Iterator[JournalChunk]:
        """Yield the chunks of one sequence: removed ones first, as the journal format wants them."""
        for added in (0, 1):
            rows = self._connection.execute(
                "SELECT rrs FROM journal_chunk WHERE sequence = ? AND added = ? ORDER BY part",
                (sequence, added),
            )
            for (rrs,) in rows:
                yield JournalChunk(bool(added), rrs)

    def journal_serials(self) -> list[int]:
        """Return the serials from which an IXFR to this version is possible, oldest first."""
        rows = self._connection.execute("SELECT from_serial FROM journal ORDER BY sequence").fetchall()
        return [row[0] for row in rows if self._steps(row[0])]

    def integrity(self) -> str:
        """Return "ok" when SQLite finds tables and indexes whole and in agreement, else the first fault."""
        verdict: str = self._connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        return verdict

    def rrsig_dates(self) -> Iterator[tuple[bytes, int, bytes, int]]:
        """Yield (owner, type covered, packed RDATA, noted expiration) of all RRSIGs."""
        yield from self._connection.execute("SELECT owner, covered, rdata, expiration FROM rrsig")

    def history(self, limit: int = 100) -> list[State]:
        """Return the newest entries of the zone's history, newest first."""
        return history.newest(self._connection, limit)


class OldSnapshot(RememberedView, Snapshot):
    """The version a transaction starts from."""

    def __init__(self, connection: sqlite3.Connection, origin: bytes) -> None:
        super().__init__(connection, origin)
        self.forget_reads()


S = TypeVar("S", bound=Snapshot)


class WriteTransaction(RememberedView):
    """The next version in the making: reads see what was written. Nothing is visible to others before commit.

    ``old`` is the version it starts from. ``generation`` rises with every write, so that a verification can be
    tied to exactly what it saw. ``records_delta`` is how many records more it has than ``old``.
    """

    def __init__(
        self, connection: sqlite3.Connection, origin: bytes, old: Snapshot, journal: JournalWriter | None
    ) -> None:
        super().__init__(connection, origin)
        self.forget_reads()
        self._documents: dict[str, str | None] = {}
        self.old: OldVersion = old
        self.generation = 0
        self.records_delta = 0
        self._content_written = False
        self._index_later = False
        self._journal = journal
        self.touched: set[tuple[bytes, int]] | None = set() if journal else None

    def start_from(self, old: OldVersion) -> None:
        """Take another signer's version, which was written here before, for the version to start from."""
        self.old = old

    def _note(
        self, owner: bytes, rtype: int, old: RRset | Rrsigs | None, new: RRset | Rrsigs | None, wire_type: int
    ) -> None:
        if self._journal is not None:
            self._journal.record(owner, wire_type, old and (old.ttl, old.rdata), new and (new.ttl, new.rdata))
        if self.touched is not None:
            self.touched.add((owner, rtype))

    def apply_content(self, changes: Iterable[Change], *, journalled: bool = True) -> None:
        """Write content RRsets; the SOA is left to commit's journal frame, all else is journalled.

        journalled=False is for an RRset that is written again, with its final RDATA, before the commit.
        """
        self.generation += 1
        self._content_written = True
        removed, put = [], []
        for change in changes:
            if change.new is None:
                removed.append((change.owner, change.rtype))
            else:
                put.append(change.new)
            if journalled:
                self.records_delta += _records(change.new) - _records(change.old)
            if change.rtype != SOA and journalled:
                self._note(change.owner, change.rtype, change.old, change.new, change.rtype)
        if len(put) > INDEX_LATER_RRSETS and self.old.version is None and not self._index_later:
            self._index_later = True
            self._connection.execute(schema.DROP_EXPIRATION)
        self._content.clear()  # only now: what yields the changes may read what is to be replaced
        self._connection.executemany("DELETE FROM rrset WHERE owner = ? AND rtype = ?", removed)
        self._connection.executemany(
            "INSERT OR REPLACE INTO rrset (owner, rtype, ttl, rdata) VALUES (?, ?, ?, ?)", put
        )

    def apply_denial(self, changes: Iterable[Change]) -> None:
        """Write NSEC or NSEC3 RRsets."""
        self.generation += 1
        self._content_written = True
        removed, put = [], []
        for change in changes:
            if change.new is None:
                removed.append((change.owner,))
                self.records_delta -= 1
            else:
                put.append(change.new)
                self.records_delta += change.old is None
            if change.old is not None and change.new is not None and change.old.rtype != change.new.rtype:
                self._note(change.owner, change.old.rtype, change.old, None, change.old.rtype)
                self._note(change.owner, change.new.rtype, None, change.new, change.new.rtype)
            else:
                self._note(change.owner, change.rtype, change.old, change.new, change.rtype)
        self._links.clear()
        self._connection.executemany("DELETE FROM denial WHERE owner = ?", removed)
        self._connection.executemany(
            "INSERT OR REPLACE INTO denial (owner, rtype, ttl, rdata) VALUES (?, ?, ?, ?)", put
        )

    def put_rrsigs(self, rows: Iterable[tuple[Rrsigs | None, Rrsigs, int]]) -> None:
        """Write RRSIGs given as (old, new, expiration in epoch seconds)."""
        self.generation += 1
        self._content_written = True
        put = []
        for old, new, expiration in rows:
            put.append((*new, expiration))
            self.records_delta += _records(new) - _records(old)
            self._note(new.owner, new.covered, old, new, RRSIG)
        self._signatures.clear()
        self._connection.executemany(
            "INSERT OR REPLACE INTO rrsig (owner, covered, ttl, rdata, expiration) VALUES (?, ?, ?, ?, ?)",
            put,
        )

    def delete_rrsigs(self, rows: Iterable[Rrsigs]) -> None:
        """Remove RRSIGs."""
        self.generation += 1
        self._content_written = True
        gone = []
        for old in rows:
            gone.append((old.owner, old.covered))
            self.records_delta -= _records(old)
            self._note(old.owner, old.covered, old, None, RRSIG)
        self._signatures.clear()
        self._connection.executemany("DELETE FROM rrsig WHERE owner = ? AND covered = ?", gone)

    def set_state(self, name: str, value: State) -> None:
        """Write a named state document, in the same transaction as the version; one that stands so is left."""
        self.generation += 1
        text = json.dumps(value, sort_keys=True)
        if self._documents.get(name) == text:
            return
        self._documents[name] = text
        self._connection.execute("INSERT OR REPLACE INTO state (name, value) VALUES (?, ?)", (name, text))

    def state(self, name: str) -> State | None:
        """Return a named state document as this transaction sees it."""
        if name not in self._documents:
            self._documents[name] = _state_text(self._connection, name)
        text = self._documents[name]
        return None if text is None else json.loads(text)

    def add_history(self, at: int, who: str, what: str, serial: int | None, detail: str) -> None:
        """Append to the zone's history."""
        history.append(self._connection, at, who, what, serial, detail)

    def close_journal(
        self, at: int, old_soa: RRset | None, new_soa: RRset, serials: tuple[int, int] | None
    ) -> None:
        """Frame the difference sequence with the two SOAs; a first version has none."""
        if self._journal is not None and old_soa is not None and serials is not None:
            self._journal.close(
                at, *serials, (old_soa.ttl, old_soa.rdata[2:]), (new_soa.ttl, new_soa.rdata[2:])
            )

    def forget_journal(self) -> None:
        """Drop all difference sequences: transfers are whole ones until the next version."""
        self.generation += 1
        self._connection.execute("DELETE FROM journal")
        self._connection.execute("DELETE FROM journal_chunk")

    def prune_journal(self, octets_max: int, older_than: int) -> int:
        """Keep the journal within its bounds; return how many sequences went."""
        journal = self._journal
        if journal is None or (journal.sequence % PRUNE_EVERY and journal.octets < octets_max // PRUNE_EVERY):
            return 0
        return prune(self._connection, octets_max, older_than)

    def commit_state(self) -> None:
        """Commit state documents and history alone; StaleVersion when content was written: that takes verifying."""
        if self._content_written:
            raise StaleVersion("zone content was written; only a verified version can be committed with it")
        self._connection.execute("COMMIT")

    def commit_if(self, generation: int) -> None:
        """Make this the published version; StaleVersion if anything was written after ``generation``."""
        if generation != self.generation:
            raise StaleVersion("the version was changed after it was verified; nothing was published")
        if self._index_later:
            self._connection.execute(schema.INDEX_EXPIRATION)
        self._connection.execute("COMMIT")


def _unheard() -> None:
    return None


class ZoneDatabase:
    """The database file of one zone. Snapshots may be taken in any thread; one write transaction at a time."""

    @translating
    def __init__(
        self,
        path: Path,
        origin: bytes,
        factory: type[sqlite3.Connection] | None = None,
        on_write: Callable[[], object] = _unheard,
    ) -> None:
        """Open or create; StoreError (WrongZone when it is another zone's), OSError.

        on_write: called when the file or its log was written by this object.
        """
        self.path = path
        self._on_write = on_write
        self.origin = origin
        self._factory = factory
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._closed = False
        self._slots = threading.BoundedSemaphore(READERS_MAX)
        self._writer = sqlite.open_database(
            path, schema.MIGRATIONS, schema.APPLICATION_ID, factory, lambda made: claim(made, path, origin)
        )
        self._commits = 0
        self._held = 0
        self._writing = 0
        self._shut = False
        try:
            self.identity = identity_of(path)
            self._writer.execute("PRAGMA wal_autocheckpoint = 0")
            self._writer.execute(f"PRAGMA journal_size_limit = {WAL_OCTETS_MAX}")
            #: Random, made with the database: another database under this path has another.
            self.instance = claim(self._writer, path, origin)
        except BaseException:
            self._writer.close()
            raise

    def retire(self) -> None:
        """Let nobody begin to use it: its file is about to go elsewhere, and SQLite opens files by their names."""
        with self._lock:
            self._closed = True

    @property
    def held(self) -> int:
        """How many snapshots are held, by readers and by who writes the next version."""
        return self._held

    @property
    def in_use(self) -> bool:
        """Whether somebody reads or writes at this moment, in any thread."""
        return self._held > 0 or self._writing > 0

    @translating
    def close(self) -> None:
        """Let nobody begin to use it, and close it when the last who writes has ended.

        Snapshots still held stay usable until they are released. SQLite crashes the process when a connection is
        closed while another thread works with it.
        """
        with self._lock:
            idle, self._idle = self._idle, []
            self._closed = True
        for connection in idle:
            connection.close()
        self._close_writer()

    def _close_writer(self) -> None:
        """Close the connection that writes, once, unless somebody is writing: who writes last comes here again."""
        with self._lock:
            if self._writing or self._shut or not self._closed:
                return
            self._shut = True
        if self._commits:
            with suppress(sqlite3.Error):
                self._checkpoint()
        self._writer.close()
        self._on_write()

    @contextmanager
    def _writer_in_use(self) -> Iterator[sqlite3.Connection]:
        """Keep the connection that writes open meanwhile; StoreError when the database is closed."""
        with self._lock:
            if self._closed:
                raise StoreError(f"{self.path}: the database is closed")
            self._writing += 1
        try:
            yield self._writer
        finally:
            with self._lock:
                self._writing -= 1
            self._close_writer()

    def _reader(self) -> sqlite3.Connection:
        with self._lock:
            if self._closed:
                raise StoreError(f"{self.path}: the database is closed")
            self._held += 1
            if self._idle:
                return self._idle.pop()
        try:
            if identity_of(self.path) != self.identity:
                raise StoreError(f"{self.path} was replaced by another file while it was open")
            return sqlite.connect(self.path, read_only=True, factory=self._factory)
        except BaseException:
            self._let_go()
            raise

    def _release(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("ROLLBACK")
            with self._lock:
                if not self._closed and len(self._idle) < READERS_IDLE_MAX:
                    self._idle.append(connection)
                    return
            connection.close()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        with self._lock:
            self._held -= 1

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Hold one published version for reading; StoreError when too many are held already, or when SQLite fails."""
        return self._hold(Snapshot)

    @contextmanager
    def _hold(self, kind: type[S]) -> Iterator[S]:
        if not self._slots.acquire(blocking=False):
            raise StoreError(f"{self.path}: {READERS_MAX} snapshots are held already")
        try:
            connection = self._reader()
            try:
                connection.execute("BEGIN")
                yield kind(connection, self.origin)  # its first read is what holds the version
            finally:
                with suppress(sqlite3.ProgrammingError):
                    self._release(connection)
        except sqlite3.Error as error:
            raise failure(self.path, error) from error
        finally:
            self._slots.release()

    @contextmanager
    def write(self) -> Iterator[WriteTransaction]:
        """Begin the next version; whatever is not committed with ``commit_if`` is rolled back."""
        with self._writer_in_use() as connection, self._transaction(connection) as transaction:
            yield transaction

    @contextmanager
    def _transaction(self, connection: sqlite3.Connection) -> Iterator[WriteTransaction]:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: another process is writing this zone: {error}") from error
        try:
            try:
                with self._hold(OldSnapshot) as old:
                    yield WriteTransaction(connection, self.origin, old, self._journal(old))
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                self._wrote()
        except sqlite3.Error as error:
            raise failure(self.path, error) from error

    def _journal(self, old: Snapshot) -> JournalWriter | None:
        if old.version is None:
            return None
        (last,) = self._writer.execute("SELECT coalesce(max(sequence), 0) FROM journal").fetchone()
        return JournalWriter(self._writer, self.origin, last + 1)

    def _wrote(self) -> None:
        """Count a commit. That the log cannot be moved now is no harm: what was committed is in it."""
        self._commits += 1
        self._on_write()
        with suppress(OSError, sqlite3.Error):
            octets = os.stat(f"{self.path}-wal").st_size
            if octets > WAL_OCTETS_MAX or self._commits >= CHECKPOINT_COMMITS_MAX:
                self._checkpoint()

    @property
    def untidy(self) -> bool:
        """Whether enough was committed for a :meth:`checkpoint` to be worth it."""
        return self._commits >= CHECKPOINT_COMMITS

    @translating
    def set_evidence(self, source: str, subject: str, value: State, at: int) -> None:
        """Record what was seen at a secondary or parent server."""
        with self._writer_in_use() as writer:
            writer.execute(
                "INSERT OR REPLACE INTO evidence (source, subject, value, at) VALUES (?, ?, ?, ?)",
                (source, subject, json.dumps(value, sort_keys=True), at),
            )
            self._wrote()

    @translating
    def evidence(self) -> list[tuple[str, str, State, int]]:
        """Return all evidence as (source, subject, value, when)."""
        with self._writer_in_use() as writer:
            rows = writer.execute(
                "SELECT source, subject, value, at FROM evidence ORDER BY source, subject"
            ).fetchall()
        return [(source, subject, json.loads(value), at) for source, subject, value, at in rows]

    @translating
    def checkpoint(self) -> None:
        """Move the write-ahead log into the database file, as far as no snapshot pins it; nobody may be writing."""
        with self._writer_in_use():
            self._checkpoint()

    def _checkpoint(self) -> None:
        self._commits = 0
        self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)")
        self._on_write()
