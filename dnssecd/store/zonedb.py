"""One zone's database: its file and connections, who reads and writes it, and its write-ahead log.

Readers hold a snapshot (``store/snapshot.py``); a transaction (``store/transaction.py``) builds the next version.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from dnssecd.store import schema, sqlite
from dnssecd.store.errors import DatabaseFailed, NotOwner, StoreError
from dnssecd.store.evidence import read_evidence, write_evidence
from dnssecd.store.identity import claim
from dnssecd.store.interface import EvidenceRow, Identity, LogSizes
from dnssecd.store.journal import JournalWriter
from dnssecd.store.old_version import Documents, OldVersionView
from dnssecd.store.position import read_position
from dnssecd.store.replay import ReplayTransaction
from dnssecd.store.snapshot import OldSnapshot, Snapshot
from dnssecd.store.sqlite import failure, translating
from dnssecd.store.transaction import WriteTransaction
from dnssecd.store.version_log import VersionLog
from dnssecd.store.writes import Writes
from dnssecd.store.zone_log import ZoneLog

#: Idle read connections kept per zone.
READERS_IDLE_MAX = 4
#: Maximum number of snapshots of one zone at a time; the listener lets further transfers wait or refuses them.
WRITER_WAIT_S = 5.0
READERS_MAX = 64

#: Number of commits after which the write-ahead log is moved into the database: when idle, and at the latest. SQLite's
#: automatic checkpoint would run within a commit, where the snapshot of the previous version prevents its completion:
#: then every commit would wait for the disk twice.
CHECKPOINT_COMMITS, CHECKPOINT_COMMITS_MAX = 64, 256
#: A longer write-ahead log (of a bulk load) is moved immediately, and then truncated to this size.
WAL_OCTETS_MAX = 16 << 20


def identity_of(path: Path) -> Identity | None:
    """Return the identity of the file at a path, None if absent. Raise OSError."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


S = TypeVar("S", bound=Snapshot)


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
        log: ZoneLog[VersionLog] | None = None,
        *,
        alone_if_full: bool = False,
    ) -> None:
        """Open or create. Raise StoreError (WrongZone for the database of another zone), OSError.

        on_write: called after this object wrote the file or its write-ahead log. log: the zone's log, which gets every
        version first; None on a single host. alone_if_full: open it also on a full or read-only disk, to be read.
        """
        self.path = path
        self.log = log
        self._on_write = on_write
        self.origin = origin
        self._factory = factory
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._closed = False
        self._slots = threading.BoundedSemaphore(READERS_MAX)
        self._writer = sqlite.open_database(
            path,
            schema.MIGRATIONS,
            schema.APPLICATION_ID,
            factory,
            lambda made: claim(made, path, origin),
            schema.OWN,
            alone_if_full=alone_if_full,
        )
        self._documents = Documents()
        self._commits = 0
        self._held = 0
        self._writing = 0
        self._shut = False
        try:
            self.identity = identity_of(path)
            #: There was no room for more than one connection: that one is for all readers, and no thread writes.
            self.alone = sqlite.is_alone(self._writer)
            self._writer.execute("PRAGMA wal_autocheckpoint = 0")
            self._writer.execute(f"PRAGMA journal_size_limit = {WAL_OCTETS_MAX}")
            #: Random, created with the database: another database at this path has a different one.
            self.instance = claim(self._writer, path, origin)
            self._of_log = read_position(self._writer).sequence > 0
        except BaseException:
            self._writer.close()
            raise

    def retire(self) -> None:
        """Refuse new users: the file is about to be moved, and SQLite opens files by name."""
        with self._lock:
            self._closed = True

    @property
    def held(self) -> int:
        """The number of snapshots held, by readers and by the transaction."""
        return self._held

    @property
    def in_use(self) -> bool:
        """Whether any thread reads or writes at this moment."""
        return self._held > 0 or self._writing > 0

    @translating
    def close(self) -> None:
        """Refuse new users, and close the database after the last writer has ended.

        Held snapshots stay usable until they are released. SQLite crashes the process if a connection is closed while
        another thread uses it.
        """
        with self._lock:
            idle, self._idle = self._idle, []
            self._closed = True
        for connection in idle:
            connection.close()
        self._close_writer()

    def _close_writer(self) -> None:
        """Close the writing connection once, unless a writer is active: the last writer calls this again."""
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
        """Keep the writing connection open during the block, and other threads away from it.

        All threads write through one connection: what one leaves uncommitted, another must not commit, roll back or
        read. Raise StoreError when the database is closed, or another thread keeps the connection for too long.
        """
        with self._lock:
            if self._closed:
                raise StoreError(f"{self.path}: the database is closed")
            if self.alone:
                raise DatabaseFailed(
                    f"{self.path}: the disk is full or read-only, so the zone is only served"
                )
            self._writing += 1
        try:
            if not self._write_lock.acquire(timeout=WRITER_WAIT_S):
                raise StoreError(f"{self.path}: another thread is writing this zone")
            try:
                yield self._writer
            finally:
                self._write_lock.release()
        finally:
            with self._lock:
                self._writing -= 1
            self._close_writer()

    def _reader(self) -> sqlite3.Connection:
        with self._lock:
            if self._closed:
                raise StoreError(f"{self.path}: the database is closed")
            self._held += 1
            if self.alone:
                self._writing += 1  # the connection stays open
                return self._writer
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
        if self.alone:
            with self._lock:
                self._writing -= 1
            self._let_go()
            self._close_writer()
            return
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
        """Hold one published version for reading. Raise StoreError when too many are held, or when SQLite fails."""
        return self._hold(Snapshot)

    @contextmanager
    def _hold(self, kind: type[S]) -> Iterator[S]:
        if not self._slots.acquire(blocking=False):
            raise StoreError(f"{self.path}: {READERS_MAX} snapshots are held, no more are allowed")
        try:
            connection = self._reader()
            try:
                if not self.alone:
                    connection.execute("BEGIN")
                yield kind(connection, self.origin)  # the first read pins the version
            finally:
                with suppress(sqlite3.ProgrammingError):
                    self._release(connection)
        except sqlite3.Error as error:
            raise failure(self.path, error) from error
        finally:
            self._slots.release()

    @contextmanager
    def write(self) -> Iterator[WriteTransaction]:
        """Start the next version; writes that are not committed with ``commit_if`` are rolled back."""
        with self._writer_in_use() as connection, self._transaction(connection) as transaction:
            yield transaction

    @contextmanager
    def replaying(self) -> Iterator[ReplayTransaction]:
        """Start the version of a log record; it is rolled back unless it is committed."""
        with self._writer_in_use() as connection, self._begun(connection), self._hold(OldSnapshot) as old:
            yield ReplayTransaction(connection, self.origin, old)

    @contextmanager
    def _transaction(self, connection: sqlite3.Connection) -> Iterator[WriteTransaction]:
        if self.log is None and self._of_log:
            raise NotOwner(
                f"{self.path} belongs to the log of a cluster, and [cluster] is absent: other nodes may make versions. "
                "Stop dnssecd and run `dnssecd cluster export`, or `dnssecd node detach` if the log is lost"
            )
        with self._begun(connection):
            logged = None if self.log is None else self.log.begin(connection, self.origin, self.path)
            writes = Writes(connection, None if logged is None else logged.recorder)
            try:
                with ExitStack() as stack:
                    old = OldVersionView(
                        connection,
                        self.origin,
                        self._documents,
                        lambda: stack.enter_context(self._hold(Snapshot)),
                    )
                    journal = self._journal(old, writes)
                    yield WriteTransaction(connection, self.origin, old, journal, writes, logged)
            finally:
                if logged is not None:
                    logged.close()

    @contextmanager
    def _begun(self, connection: sqlite3.Connection) -> Iterator[None]:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: another process is writing this zone: {error}") from error
        try:
            try:
                yield
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                self._wrote()
        except sqlite3.Error as error:
            raise failure(self.path, error) from error

    def _journal(self, old: OldVersionView, writes: Writes) -> JournalWriter | None:
        if old.version is None:
            return None
        return JournalWriter(writes, self.origin, old.sequence + 1)

    def _wrote(self) -> None:
        """Count a commit. If the log cannot be moved now, nothing is lost: it contains the commits."""
        self._commits += 1
        self._on_write()
        with suppress(OSError, sqlite3.Error):
            octets = os.stat(f"{self.path}-wal").st_size
            if octets > WAL_OCTETS_MAX or self._commits >= CHECKPOINT_COMMITS_MAX:
                self._checkpoint()

    @property
    def untidy(self) -> bool:
        """Whether enough was committed to make a :meth:`checkpoint` useful."""
        return self._commits >= CHECKPOINT_COMMITS

    @translating
    def set_evidence(self, rows: Iterable[EvidenceRow]) -> None:
        """Record what was seen at secondaries and parent servers, in one commit."""
        with self._writer_in_use() as writer:
            with sqlite.transaction(writer):
                write_evidence(writer, rows)
            self._wrote()

    @translating
    def evidence(self) -> list[EvidenceRow]:
        """Return all evidence. It does not wait for a transaction."""
        with self.snapshot() as snapshot:
            return read_evidence(snapshot.reader)

    @translating
    def checkpoint(self) -> None:
        """Move the write-ahead log into the database file, as far as snapshots permit; no transaction may be open."""
        with self._writer_in_use():
            self._checkpoint()

    def log_sizes(self) -> LogSizes:
        """Return the octets of the database's file and of its write-ahead log. Raise OSError."""
        with suppress(FileNotFoundError):
            return LogSizes(os.stat(self.path).st_size, os.stat(f"{self.path}-wal").st_size)
        return LogSizes(os.stat(self.path).st_size, 0)

    @translating
    def cut_log(self) -> bool:
        """Move all of the write-ahead log and truncate it; return False if a snapshot prevents it.

        It does not wait for snapshots. No transaction may be open.
        """
        with self._writer_in_use() as writer:
            self._commits = 0
            writer.execute("PRAGMA busy_timeout = 0")
            try:
                busy: int = writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            finally:
                writer.execute(f"PRAGMA busy_timeout = {int(sqlite.BUSY_TIMEOUT_S * 1000)}")
            self._on_write()
            return not busy

    def _checkpoint(self) -> None:
        self._commits = 0
        self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)")
        self._on_write()
