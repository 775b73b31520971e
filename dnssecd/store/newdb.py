"""The database of a zone that has no version yet: made in memory, and written to its file once, with the version.

SQLite writes a first version several times: the empty database, the write-ahead log, and the log's pages into the
database, each synced. A small zone's whole database is a few pages, so it is made and verified in memory; the commit
writes all of it to a file without a name, syncs, links and syncs the directory.

Crash rule: there is a whole database with the verified version, or no file.
"""

import errno
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import lru_cache
from pathlib import Path

from dnssecd.store import filemark, schema, sqlite
from dnssecd.store.errors import StoreError
from dnssecd.store.filemark import FileMark
from dnssecd.store.identity import claim
from dnssecd.store.interface import EvidenceRow, LogSizes
from dnssecd.store.old_version import Documents, OldVersionView
from dnssecd.store.replay import ReplayTransaction
from dnssecd.store.snapshot import Snapshot
from dnssecd.store.sqlite import failure
from dnssecd.store.transaction import WriteTransaction
from dnssecd.store.writes import Writes

#: A larger database is made by SQLite in its file: it is not written in one go, and takes no memory.
PAGES_MAX = 2_048
_FULL = sqlite3.SQLITE_FULL


class NewDatabase:
    """A store without a version, for one attempt to make the first. ``mark``: of the file, when it was written.

    ``unfit``: the version is too large for memory, there is a file meanwhile, or it cannot be written like this.
    Nothing was written then: SQLite makes it in its file, or says why not.
    """

    def __init__(self, path: Path, origin: bytes) -> None:
        self.path, self.origin = path, origin
        self.log = None
        self.mark: FileMark | None = None
        self.unfit = False

    @contextmanager
    def write(self) -> Iterator[WriteTransaction]:
        """Start the first version; without its commit nothing remains of it."""
        with ExitStack() as stack:
            try:
                connection = self._open(stack)
                connection.execute(f"PRAGMA max_page_count = {PAGES_MAX}")
                connection.execute("BEGIN IMMEDIATE")
                old = OldVersionView(connection, self.origin, Documents(), self._nothing)
                ending = _Ending(self, connection)
                yield WriteTransaction(connection, self.origin, old, None, Writes(connection), ending)
            except sqlite3.Error as error:
                self.unfit = self.unfit or getattr(error, "sqlite_errorcode", None) == _FULL
                raise failure(self.path, error) from error

    def _open(self, stack: ExitStack) -> sqlite3.Connection:
        def complete(made: sqlite3.Connection) -> object:
            return claim(made, self.path, self.origin)

        made = sqlite.new_in_memory(schema.MIGRATIONS, schema.APPLICATION_ID, complete, schema.OWN)
        return stack.enter_context(closing(made))

    def put(self, content: bytes) -> None:
        """Write the file durably, and take its mark. Raise StoreError if that is not possible, OSError."""
        try:
            if sqlite.has_log(self.path):
                raise FileExistsError(errno.EEXIST, "there is the log of a database")
            sqlite.write_whole(self.path, content)
        except OSError as error:
            self.unfit = True
            raise StoreError(f"{self.path}: {error.strerror or error}") from error
        sqlite.sync_directory(self.path.parent)
        self.mark = filemark.take(str(self.path))

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Hold what is stored: nothing."""
        yield self._nothing()

    def _nothing(self) -> Snapshot:
        return Snapshot(_empty(), self.origin)

    def evidence(self) -> list[EvidenceRow]:
        """Return none: nothing was seen of a new zone."""
        return []

    def set_evidence(self, rows: Iterable[EvidenceRow]) -> None:
        """Keep nothing: a job keeps there what saves work for large files only."""

    def replaying(self) -> AbstractContextManager[ReplayTransaction]:
        """Refuse: the databases of a log are made in their files."""
        raise StoreError(f"{self.path} has no log")

    @property
    def untidy(self) -> bool:
        """Return False: there is no log."""
        return False

    def checkpoint(self) -> None:
        """Do nothing: there is no log."""

    def log_sizes(self) -> LogSizes:
        """Return the size of the file. Raise OSError."""
        return LogSizes(os.stat(self.path).st_size, 0)

    def cut_log(self) -> bool:
        """Return True: there is no log."""
        return True


@lru_cache(maxsize=1)
def _empty() -> sqlite3.Connection:
    """Return an empty database for reading: what any zone has before its first version."""
    made = sqlite.new_in_memory(schema.MIGRATIONS, schema.APPLICATION_ID)
    made.execute("PRAGMA query_only = ON")
    return made


class _Ending:
    """The commit of the first version."""

    epoch = None

    def __init__(self, database: NewDatabase, connection: sqlite3.Connection) -> None:
        self._database, self._connection = database, connection

    def commit(self) -> None:
        """Write the database with the version to its file; nothing is published if that fails."""
        self._connection.execute("COMMIT")
        self._database.put(sqlite.octets_of(self._connection))


def can_be_made(path: Path) -> bool:
    """Tell whether a database can be made in memory for a path: there is none, nor a log of one."""
    return bool(getattr(os, "O_TMPFILE", 0)) and not os.path.lexists(path) and not sqlite.has_log(path)
