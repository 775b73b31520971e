"""Open SQLite files: settings, schema, and SQLite's errors as errors of the store. No other module opens one.

Every database of dnssecd is opened here, in one of three modes: to read and write (WAL, each commit durable), to
read only, and in memory. SQLite's exceptions do not leave the store: :func:`translated` turns them into
DatabaseFailed, or DatabaseDamaged if the file is damaged, with the file and the cause in the message.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import lru_cache, wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from dnssecd.store.errors import DatabaseDamaged, DatabaseFailed, SchemaTooNew, StoreError

Connection = sqlite3.Connection

FILE_MODE = 0o600
#: Maximum time that a statement waits for a lock of another process.
BUSY_TIMEOUT_S = 10.0
#: The same where a connection wants the database for itself: no process should use it then.
ALONE_TIMEOUT_S = 0.5
SIDE_FILES = ("-wal", "-shm")
#: Files that SQLite replays into a database beside them, or deletes if that is still empty.
_LOGS = ("-wal", "-journal")
_MAGIC = b"SQLite format 3\0"
#: The format versions in the header, and their value for a database with a write-ahead log (fileformat2.html §1.3).
_FORMAT_VERSIONS, _WAL_VERSIONS = slice(18, 20), b"\2\2"

#: SQLite's errors on a full disk.
_FULL = frozenset((sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE))
#: And those when there is no room for the index of a write-ahead log, on the disk or in memory.
_NO_ROOM = _FULL | {sqlite3.SQLITE_IOERR_SHMMAP}

Complete = Callable[[sqlite3.Connection], object]


def create_file(path: Path) -> None:
    """Create an empty file with its final mode, so that other users can never read it."""
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
    own: str = "",
    *,
    alone_if_full: bool = False,
) -> sqlite3.Connection:
    """Open a database at the newest schema; create it if missing. Raise StoreError, sqlite3.Error, OSError.

    ``complete`` writes additional data of a new or upgraded database, in the same transaction. ``own``: a statement
    that replaces random content of the schema in each new file, which begins as a copy of one image.
    ``alone_if_full``: on a full disk open it for this connection alone (:func:`is_alone`), so that it can be read.
    """
    if not path.exists() and not has_log(path):
        _create_whole(path, migrations, application_id, complete, own)
    create_file(path)
    _refuse_newer(path, len(migrations), application_id)
    connection = _connect_somehow(path, factory) if alone_if_full else connect(path, factory=factory)
    try:
        migrate(connection, path, migrations, application_id, complete)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect_somehow(path: Path, factory: type[sqlite3.Connection] | None) -> sqlite3.Connection:
    """Open a connection, on a full or read-only disk one that :func:`is_alone`. Raise sqlite3.Error."""
    try:
        return connect(path, factory=factory)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode in _NO_ROOM:
            return connect(path, factory=factory, alone=True)
        if is_read_only(path) and not _octets(f"{path}-wal"):
            return connect(path, factory=factory, alone=True, read_only=True)
        raise


def _octets(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def is_read_only(path: Path) -> bool:
    """Return whether a file is on a file system that the kernel does not write, as after an error of the disk."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _create_whole(
    path: Path, migrations: tuple[str, ...], application_id: int, complete: Complete | None, own: str
) -> None:
    """Create a database with its schema, synced before it gets its name; do nothing if that is not possible.

    SQLite syncs nine times on the way to the same file. A file without a name (O_TMPFILE) leaves nothing behind after a
    crash. Without such files, or on a full disk, SQLite creates the database, or says why not. Raise sqlite3.Error.

    Not beside the log of a database that was deleted or moved away: its content would be replayed into this one.
    """
    with closing(new_in_memory(migrations, application_id, complete, own)) as memory:
        content = octets_of(memory)
    with suppress(OSError):
        write_whole(path, content)
    if path.exists():
        sync_directory(path.parent)


def has_log(path: Path) -> bool:
    """Tell whether there is the log of a database at a path: SQLite replays it into one that is put there."""
    return any(os.path.lexists(f"{path}{suffix}") for suffix in _LOGS)


def write_whole(path: Path, content: bytes) -> None:
    """Write a database that gets its name when it is complete and synced; the caller syncs the directory.

    Raise FileExistsError if there is a file of that name, OSError without O_TMPFILE.
    """
    descriptor = os.open(path.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
        # A directory descriptor, which an absolute path ignores, makes this linkat(AT_SYMLINK_FOLLOW).
        os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor, follow_symlinks=True)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable. Raise OSError."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def new_in_memory(
    migrations: tuple[str, ...], application_id: int, complete: Complete | None = None, own: str = ""
) -> sqlite3.Connection:
    """Return a new database in memory, as :func:`open_database` makes it in a file."""
    memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        memory.deserialize(_image(migrations, application_id))
        if own:
            memory.execute(own)
        if complete is not None:
            complete(memory)
    except BaseException:
        memory.close()
        raise
    return memory


def octets_of(memory: sqlite3.Connection) -> bytes:
    """Return the octets of a file in WAL mode with the content of a database in memory."""
    content = bytearray(memory.serialize())
    content[_FORMAT_VERSIONS] = _WAL_VERSIONS
    return bytes(content)


@lru_cache(maxsize=8)
def _image(migrations: tuple[str, ...], application_id: int) -> bytes:
    """Return a database at the newest schema, the same for all files."""
    with closing(connect_memory(migrations)) as memory:
        memory.execute(f"PRAGMA application_id = {application_id}")
        return memory.serialize()


def _refuse_newer(path: Path, known: int, application_id: int) -> None:
    """Raise SchemaTooNew by the file's header (sqlite.org/fileformat2.html §1.3), before SQLite opens the file.

    Raise StoreError for a database of another kind, which has versions of its own.
    """
    with path.open("rb") as file:
        header = file.read(72)
    if header.startswith(_MAGIC) and len(header) == 72:
        version = int.from_bytes(header[60:64], "big")
        _check_kind(path, version, int.from_bytes(header[68:72], "big"), application_id)
        _check_known(path, version, known)


def _check_kind(path: Path, version: int, found: int, application_id: int) -> None:
    if version and found != application_id:
        raise StoreError(f"{path} is not a dnssecd database of the kind expected; it was not changed")


def _check_known(path: Path, version: int, known: int) -> None:
    if version > known:
        raise SchemaTooNew(
            f"{path} has schema {version}, this dnssecd supports {known}: run the newer dnssecd, or restore "
            "a backup made by this version; the file was not changed"
        )


def migrate(
    connection: sqlite3.Connection,
    path: Path,
    migrations: tuple[str, ...],
    application_id: int,
    complete: Complete | None = None,
) -> None:
    """Migrate a database to the newest schema in one transaction, and keep a copy of the older one next to it.

    Raise SchemaTooNew, without writing, when the database is newer than this program. Crash rule: the database has
    the old schema or the new one; the copy is complete before the migration starts.
    """
    if _version(connection, path, len(migrations), application_id) == len(migrations):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have migrated it while this one waited for the lock.
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
    _check_kind(path, version, found, application_id)
    return int(version)


def copy_name(path: Path, version: int) -> Path:
    """Return the path of the copy of a database with an older schema."""
    return path.with_name(f"{path.name}.schema-{version}")


def _keep_copy(path: Path, version: int) -> None:
    """Copy the committed state of a database; the copy gets its name when it is complete and synced."""
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
    """Decorate a method of a store: it raises StoreError when SQLite fails."""

    @wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(self, *args, **kwargs)
        except sqlite3.Error as error:
            raise failure(self.path or ":memory:", error) from error

    return call


def failure(path: Path | str, error: sqlite3.Error) -> DatabaseFailed:
    """Return an error of SQLite as an error of the store.

    OperationalError concerns the environment of the file (locks, space, permissions): its content may be intact. Other
    kinds of DatabaseError concern the file.
    """
    damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(
        error, sqlite3.OperationalError | sqlite3.ProgrammingError
    )
    full = getattr(error, "sqlite_errorcode", None) in _FULL
    why = "the disk is full" if full else str(error)
    return (DatabaseDamaged if damaged else DatabaseFailed)(f"{path}: {why}")


def connect(
    path: Path,
    *,
    read_only: bool = False,
    factory: type[sqlite3.Connection] | None = None,
    alone: bool = False,
) -> sqlite3.Connection:
    """Open a connection with the settings of all dnssecd databases. Raise sqlite3.Error.

    alone: keep the index of the write-ahead log in memory, not in a file of its own, for which a full disk has no room.
    Until it is closed, no other connection can use the database. With read_only there is no such log: the file is on a
    read-only file system. All threads read through this one, so it keeps no statements: since Python 3.12, sqlite3 can
    give one kept statement to two threads, and then one reads the rows that the other asked for.
    """
    uri = (
        path.absolute().as_uri()
        + ("?mode=ro" if read_only else "")
        + ("&immutable=1" if read_only and alone else "")
    )
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=0 if alone else 128,
        timeout=ALONE_TIMEOUT_S if alone else BUSY_TIMEOUT_S, factory=factory or sqlite3.Connection,
    )  # fmt: skip
    try:
        if alone:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        # Large sorts (counting signatures by key, in a zone of a million names) use a file, not memory.
        connection.execute("PRAGMA temp_store = FILE")
        connection.execute("PRAGMA trusted_schema = OFF")
    except BaseException:
        connection.close()
        raise
    return connection


def is_alone(connection: sqlite3.Connection) -> bool:
    """Return whether a connection is the only one that can use its database: there was no room for more."""
    mode: str = connection.execute("PRAGMA locking_mode").fetchone()[0]
    return mode == "exclusive"


def connect_as_it_is(path: Path) -> sqlite3.Connection:
    """Open a database that no other process uses, without changing its settings. Raise sqlite3.Error."""
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
    """Open a database whose loss is acceptable; a damaged one is renamed to ``NAME.damaged`` and a new one created.

    Return the connection and the path of the damaged file, or None. The file is made private; a symbolic link is
    refused. Raise StoreError, OSError.
    """

    def attempt() -> sqlite3.Connection:
        restrict_file(path)
        with translated(path):
            return open_database(path, migrations, application_id, alone_if_full=True)

    try:
        return attempt(), None
    except DatabaseDamaged:
        aside = path.with_name(f"{path.name}.damaged")
        for suffix in SIDE_FILES:
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        path.replace(aside)
        return attempt(), aside


def copy_to_memory(source: sqlite3.Connection, migrations: tuple[str, ...]) -> sqlite3.Connection:
    """Return a copy of a database in memory; an empty one if the source cannot be read."""
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
    """Replace the content of a private database on disk, and open it. Raise StoreError, OSError."""
    restrict_file(path)
    with translated(path):
        with closing(open_database(path, migrations, application_id)) as disk:
            source.backup(disk)
        return open_database(path, migrations, application_id)


def restrict_file(path: Path) -> None:
    """Create a file with mode 0600, or set this mode on an existing one; refuse a symbolic link. Raise OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    try:
        os.fchmod(descriptor, FILE_MODE)
    finally:
        os.close(descriptor)


def require_merged(path: Path) -> None:
    """Raise StoreError if a closed database has content in its write-ahead log: its file alone must not be moved.

    On a full disk, or while another program reads the database, SQLite leaves the log behind.
    """
    with suppress(FileNotFoundError):
        if os.stat(f"{path}-wal").st_size:
            raise StoreError(
                f"{path}: its write-ahead log could not be moved into it; check the disk's space"
            )


def copy_database(source: Path, target: Path, *, durable: bool = True) -> None:
    """Copy the committed state of a database in use into a new file. Raise sqlite3.Error, OSError."""
    create_file(target)
    with closing(connect(source, read_only=True)) as reading, closing(sqlite3.connect(target)) as writing:
        # In a transaction: else backup() waits for a lock of another program without end.
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        writing.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        reading.backup(writing)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Commit all writes of the block; roll them back when the block fails."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
