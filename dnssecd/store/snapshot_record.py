"""Make the log record of a whole database: where a node without data starts, and what replaces many old records."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dnssecd.store import schema
from dnssecd.store.errors import StoreError
from dnssecd.store.position import POSITION, read_position
from dnssecd.store.record_codec import FRAME_ROWS, Header
from dnssecd.store.recorder import Recorder, SpooledRecord
from dnssecd.store.version_log import Kind
from dnssecd.store.writes import Operation

#: All rows of a database but those of the file and of the host (``meta``, ``evidence``) and the position in the log.
_ROWS: tuple[tuple[Operation, str], ...] = (
    (Operation.PUT_RRSETS, "SELECT owner, rtype, ttl, rdata FROM rrset ORDER BY owner, rtype"),
    (Operation.PUT_DENIAL, "SELECT owner, rtype, ttl, rdata FROM denial ORDER BY owner"),
    (
        Operation.PUT_RRSIGS,
        "SELECT owner, covered, ttl, rdata, expiration FROM rrsig ORDER BY owner, covered",
    ),
    (
        Operation.PUT_JOURNAL,
        "SELECT sequence, from_serial, to_serial, at, octets, old_soa, old_soa_ttl, new_soa, new_soa_ttl FROM journal "
        "ORDER BY sequence",
    ),
    (
        Operation.PUT_JOURNAL_CHUNKS,
        "SELECT sequence, part, added, rrs FROM journal_chunk ORDER BY sequence, part",
    ),
    (Operation.PUT_STATE, f"SELECT name, value FROM state WHERE name != '{POSITION}' ORDER BY name"),  # noqa: S608
    (Operation.PUT_HISTORY, "SELECT id, at, who, what, serial, detail FROM history ORDER BY id"),
)


def snapshot_record(
    connection: sqlite3.Connection, origin: bytes, node: str, directory: Path
) -> SpooledRecord:
    """Return the record of a database as the connection's read transaction sees it. The caller closes it.

    A large one is spooled in ``directory``. Raise StoreError (no version, or no position in a log), OSError.
    """
    at = read_position(connection)
    if not at.sequence:
        raise StoreError("the database has no position in a log: no snapshot of it can be made")
    header = Header(
        origin, Kind.SNAPSHOT, at.sequence, at.epoch, at.digest, node, len(schema.MIGRATIONS), whole=True
    )
    return whole_record(connection, header, directory)


def whole_record(connection: sqlite3.Connection, header: Header, directory: Path) -> SpooledRecord:
    """Return the record with all rows that a connection sees. The caller closes it. Raise StoreError, OSError."""
    recorder = Recorder(header, directory)
    try:
        for operation, sql in _ROWS:
            for rows in _portions(connection.execute(sql)):
                recorder.add(operation, rows)
        return recorder.finish()
    except BaseException:
        recorder.close()
        raise


def _portions(cursor: sqlite3.Cursor) -> Iterator[list[tuple[Any, ...]]]:
    while rows := cursor.fetchmany(FRAME_ROWS):
        yield rows
