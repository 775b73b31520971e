"""What was seen at secondaries and parent servers, as rows of a zone's database."""

import json
import sqlite3
from collections.abc import Iterable

from dnssecd.store.interface import EvidenceRow

_PUT = "INSERT OR REPLACE INTO evidence (source, subject, value, at) VALUES (?, ?, ?, ?)"
_ALL = "SELECT source, subject, value, at FROM evidence ORDER BY source, subject"


def write_evidence(connection: sqlite3.Connection, rows: Iterable[EvidenceRow]) -> None:
    """Write rows; each replaces an earlier one of its source and subject."""
    connection.executemany(
        _PUT,
        [(source, subject, json.dumps(value, sort_keys=True), at) for source, subject, value, at in rows],
    )


def read_evidence(connection: sqlite3.Connection) -> list[EvidenceRow]:
    """Return all rows."""
    rows = connection.execute(_ALL).fetchall()
    return [(source, subject, json.loads(value), at) for source, subject, value, at in rows]
