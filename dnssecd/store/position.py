"""The position of a database in its zone's log: a state document, written in the transaction of the record it names."""

import json
import sqlite3

import msgspec

from dnssecd.store.version_log import Position

#: Name of the state document with the position; it is in no record.
POSITION = "log"
_PUT = "INSERT OR REPLACE INTO state (name, value) VALUES (?, ?)"
_GET = "SELECT value FROM state WHERE name = ?"


def read_position(connection: sqlite3.Connection) -> Position:
    """Return the position of a database in its log."""
    row = connection.execute(_GET, (POSITION,)).fetchone()
    return Position() if row is None else msgspec.convert(json.loads(row[0]), Position)


def write_position(connection: sqlite3.Connection, at: Position) -> None:
    """Write the position of a database, in the open transaction."""
    connection.execute(_PUT, (POSITION, json.dumps(msgspec.to_builtins(at), sort_keys=True)))
