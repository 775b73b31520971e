"""Schema of a zone database, and how an older one is brought up to date.

One file per zone. ``rrset`` holds content, ``denial`` the NSEC or NSEC3 chain, ``rrsig`` the signatures over
both, each keyed by owner key (core.names), so that an ordered walk is canonical order. ``journal`` has one row
per difference sequence and its RRs in ``journal_chunk``. ``state`` holds small named documents (JSON): the
version, the key set, the signing parameters in force. ``evidence`` is what was seen at secondaries and parents;
``history`` what was done, when, by whom. ``meta`` says which
database this is: ``origin`` is the zone's name (wire form, lower-cased), ``instance`` is random and made once, so that
two databases of one zone, under one file name at different times, can be told apart.

Crash rule: everything a version consists of is written in one transaction; a database holds the old version or
the new one.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from dnssecd.store.errors import SchemaTooNew, StoreError

APPLICATION_ID = 0x444E5353
FILE_MODE = 0o600
_MAGIC = b"SQLite format 3\0"

#: RRSIGs by expiration: what comes due. A large first version makes it at its end.
INDEX_EXPIRATION = "CREATE INDEX rrsig_expiration ON rrsig (expiration)"
DROP_EXPIRATION = "DROP INDEX rrsig_expiration"

_VERSION_1 = f"""
CREATE TABLE rrset (owner BLOB NOT NULL, rtype INTEGER NOT NULL, ttl INTEGER NOT NULL, rdata BLOB NOT NULL,
    PRIMARY KEY (owner, rtype)) WITHOUT ROWID;
CREATE TABLE denial (owner BLOB NOT NULL PRIMARY KEY, rtype INTEGER NOT NULL, ttl INTEGER NOT NULL,
    rdata BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE rrsig (owner BLOB NOT NULL, covered INTEGER NOT NULL, ttl INTEGER NOT NULL, rdata BLOB NOT NULL,
    expiration INTEGER NOT NULL, PRIMARY KEY (owner, covered)) WITHOUT ROWID;
{INDEX_EXPIRATION};
CREATE TABLE journal (sequence INTEGER PRIMARY KEY, from_serial INTEGER NOT NULL, to_serial INTEGER NOT NULL,
    at INTEGER NOT NULL, octets INTEGER NOT NULL, old_soa BLOB NOT NULL, old_soa_ttl INTEGER NOT NULL,
    new_soa BLOB NOT NULL, new_soa_ttl INTEGER NOT NULL);
CREATE INDEX journal_from ON journal (from_serial);
CREATE TABLE journal_chunk (sequence INTEGER NOT NULL, part INTEGER NOT NULL, added INTEGER NOT NULL,
    rrs BLOB NOT NULL, PRIMARY KEY (sequence, part));
CREATE TABLE state (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE evidence (source TEXT NOT NULL, subject TEXT NOT NULL, value TEXT NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (source, subject)) WITHOUT ROWID;
CREATE TABLE history (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL,
    serial INTEGER, detail TEXT NOT NULL);
"""

#: ``store/identity.py`` writes the origin when the database is opened for its zone: a script does not know it.
_VERSION_2 = """
CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
INSERT INTO meta (name, value) VALUES ('instance', lower(hex(randomblob(16))));
"""

#: One script per step; a database at version n has had the first n applied.
MIGRATIONS: tuple[str, ...] = (_VERSION_1, _VERSION_2)

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


def copy_database(source: Path, target: Path, *, durable: bool = True) -> None:
    """Copy a database as it is committed now, whoever uses it meanwhile, into a new file."""
    create_file(target)
    with closing(connect(source, read_only=True)) as reading, closing(sqlite3.connect(target)) as writing:
        writing.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        reading.backup(writing)


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for piece in script.split(";"):
        statement += piece + ";"
        if statement.strip(" \n;") and sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def connect(
    path: Path | str, *, read_only: bool = False, factory: type[sqlite3.Connection] | None = None
) -> sqlite3.Connection:
    """Open a connection with the settings every dnssecd database has."""
    uri = "file::memory:" if path == ":memory:" else f"{Path(path).absolute().as_uri()}"
    if read_only and path != ":memory:":
        uri += "?mode=ro"
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, timeout=10.0, cached_statements=128,
        factory=factory or sqlite3.Connection,
    )  # fmt: skip
    connection.execute("PRAGMA busy_timeout = 10000")
    if not read_only:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    # What a query sorts (counting signatures by key, in a zone of a million names) goes to a file, not to memory.
    connection.execute("PRAGMA temp_store = FILE")
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection
