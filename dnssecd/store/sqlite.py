"""The one way to open a SQLite file: its settings, its schema, and SQLite's errors as errors of the store.

Every database of dnssecd is opened here, in one of three modes: to read and write (WAL, each commit durable), to
read only, and in memory. SQLite's exceptions do not leave the store: :func:`translated` turns them into
DatabaseFailed, or DatabaseDamaged where the file itself is bad, with the file and the cause in the message.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from dnssecd.store.errors import DatabaseDamaged, DatabaseFailed, SchemaTooNew, StoreError

Connection = sqlite3.Connection

FILE_MODE = 0o600
#: How long a statement waits for a lock that another process holds.
BUSY_TIMEOUT_S = 10.0
SIDE_FILES = ("-wal", "-shm")
_MAGIC = b"SQLite format 3\0"

Complete = Callable[[sqlite3.Connection], object]


def create_file(path: Path) -> None:
    """Create an empty file with its final mode, so that no moment exists at which others can read it."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, FILE_MODE))
    except FileExistsError:
        return


def open_database(
    path: Path,
    migrations: tuple[str, ...],
    application_id: int,
    factory: type[sqlite3.Connection] | None = None,
    complete: Complete | None = None,
) -> sqlite3.Connection:
    """Open a database, made where it is missing, at the newest schema; StoreError, sqlite3.Error, OSError.

    ``complete`` writes what a new or upgraded database needs besides, in the same transaction.
    """
    create_file(path)
    _refuse_newer(path, len(migrations))
    connection = connect(path, factory=factory)
    try:
        migrate(connection, path, migrations, application_id, complete)
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_newer(path: Path, known: int) -> None:
    """SchemaTooNew by what the file's header says (sqlite.org/fileformat2.html §1.3), before SQLite touches it."""
    with path.open("rb") as file:
        header = file.read(64)
    if header.startswith(_MAGIC) and len(header) == 64:
        _check_known(path, int.from_bytes(header[60:64], "big"), known)


def _check_known(path: Path, version: int, known: int) -> None:
    if version > known:
        raise SchemaTooNew(
            f"{path} has schema {version}, this dnssecd knows {known}: run the newer dnssecd, or restore "
            "a backup made by this one; the file was not touched"
        )


def migrate(
    connection: sqlite3.Connection,
    path: Path,
    migrations: tuple[str, ...],
    application_id: int,
    complete: Complete | None = None,
) -> None:
    """Bring a database to the newest schema in one transaction, with a copy of the older one kept beside it.

    Raises SchemaTooNew, without writing, when the database is newer than this program. Crash rule: the database is
    at the old schema or at the new one; the copy is complete before the new one is begun.
    """
    if _version(connection, path, len(migrations), application_id) == len(migrations):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have done it while this one waited for the lock.
        version = _version(connection, path, len(migrations), application_id)
        if version < len(migrations):
            if version:
                _keep_copy(path, version)
            connection.execute(f"PRAGMA application_id = {application_id}")
            for script in migrations[version:]:
                for statement in _statements(script):
                    connection.execute(statement)
            if complete is not None:
                complete(connection)
            connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _version(connection: sqlite3.Connection, path: Path, known: int, application_id: int) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    _check_known(path, version, known)
    (found,) = connection.execute("PRAGMA application_id").fetchone()
    if version and found != application_id:
        raise StoreError(f"{path} is not a dnssecd database of the kind expected; it was not touched")
    return int(version)


def copy_name(path: Path, version: int) -> Path:
    """Return where the copy of a database at an older schema is kept."""
    return path.with_name(f"{path.name}.schema-{version}")


def _keep_copy(path: Path, version: int) -> None:
    """Copy a database as it is committed; the copy appears when it is whole and on the disk."""
    target = copy_name(path, version)
    partial = target.with_name(f"{target.name}.tmp")
    partial.unlink(missing_ok=True)
    copy_database(path, partial)
    os.replace(partial, target)


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for piece in script.split(";"):
        statement += piece + ";"
        if statement.strip(" \n;") and sqlite3.complete_statement(statement):
            yield statement
            statement = ""


@contextmanager
def translated(path: Path | str) -> Iterator[None]:
    """Raise SQLite's errors as DatabaseFailed or DatabaseDamaged, with the file and the cause."""
    try:
        yield
    except sqlite3.Error as error:
        raise failure(path, error) from error


class Stored(Protocol):
    """An object that keeps its data in one file; ``path``: None in memory."""

    @property
    def path(self) -> Path | None:
        """Where the file is."""
        ...


S = TypeVar("S", bound=Stored)
P = ParamSpec("P")
R = TypeVar("R")


def translating(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Have a method of a store raise StoreError where SQLite fails."""

    @wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(self, *args, **kwargs)
        except sqlite3.Error as error:
            raise failure(self.path or ":memory:", error) from error

    return call


def failure(path: Path | str, error: sqlite3.Error) -> DatabaseFailed:
    """Return an error of SQLite as an error of the store.

    OperationalError is about what surrounds the file (locks, space, permissions): its content may be good. The other
    kinds of DatabaseError are about the file.
    """
    damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(
        error, sqlite3.OperationalError | sqlite3.ProgrammingError
    )
    return (DatabaseDamaged if damaged else DatabaseFailed)(f"{path}: {error}")


def connect(
    path: Path, *, read_only: bool = False, factory: type[sqlite3.Connection] | None = None
) -> sqlite3.Connection:
    """Open a connection with the settings every dnssecd database has; sqlite3.Error."""
    uri = path.absolute().as_uri() + ("?mode=ro" if read_only else "")
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_S, cached_statements=128,
        factory=factory or sqlite3.Connection,
    )  # fmt: skip
    try:
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        # What a query sorts (counting signatures by key, in a zone of a million names) goes to a file, not to memory.
        connection.execute("PRAGMA temp_store = FILE")
        connection.execute("PRAGMA trusted_schema = OFF")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_as_it_is(path: Path) -> sqlite3.Connection:
    """Open a database that nobody else uses, without a change of its settings; sqlite3.Error."""
    return sqlite3.connect(path, isolation_level=None)


def connect_memory(migrations: tuple[str, ...] = ()) -> sqlite3.Connection:
    """Open a database in memory, at the newest schema."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    for script in migrations:
        connection.executescript(script)
    connection.execute(f"PRAGMA user_version = {len(migrations)}")
    return connection


def open_or_set_aside(
    path: Path, migrations: tuple[str, ...], application_id: int
) -> tuple[sqlite3.Connection, Path | None]:
    """Open a database that can be done without; a damaged one is moved to ``NAME.damaged`` and a new one begun.

    Return the connection and where the damaged one is, None where there was none. The file is made private; a
    symbolic link is refused. StoreError, OSError.
    """

    def attempt() -> sqlite3.Connection:
        restrict_file(path)
        with translated(path):
            return open_database(path, migrations, application_id)

    try:
        return attempt(), None
    except DatabaseDamaged:
        aside = path.with_name(f"{path.name}.damaged")
        for suffix in SIDE_FILES:
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        path.replace(aside)
        return attempt(), aside


def copy_to_memory(source: sqlite3.Connection, migrations: tuple[str, ...]) -> sqlite3.Connection:
    """Return a copy of a database in memory; an empty one where the source cannot be read."""
    memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        source.backup(memory)
    except sqlite3.Error:
        memory.close()
        memory = connect_memory(migrations)
    return memory


def replace_content(
    path: Path, source: sqlite3.Connection, migrations: tuple[str, ...], application_id: int
) -> sqlite3.Connection:
    """Replace what a private database on the disk holds by the source's content, and open it; StoreError, OSError."""
    restrict_file(path)
    with translated(path):
        with closing(open_database(path, migrations, application_id)) as disk:
            source.backup(disk)
        return open_database(path, migrations, application_id)


def restrict_file(path: Path) -> None:
    """Create a file that its owner alone can read, or make an existing one so; a symbolic link is refused. OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    try:
        os.fchmod(descriptor, FILE_MODE)
    finally:
        os.close(descriptor)


def copy_database(source: Path, target: Path, *, durable: bool = True) -> None:
    """Copy a database as it is committed now into a new file, while others use it; sqlite3.Error, OSError."""
    create_file(target)
    with closing(connect(source, read_only=True)) as reading, closing(sqlite3.connect(target)) as writing:
        writing.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        reading.backup(writing)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Commit what the block writes, all of it; roll it back when the block fails."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
