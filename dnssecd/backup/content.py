"""What a zone's database says of itself; whatever is wrong with it is one error."""

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec

from dnssecd.core.keys.keyset import Keyset
from dnssecd.pipeline.version import state
from dnssecd.store import schema
from dnssecd.store.zonedb import read_state


class Unreadable(Exception):
    """The database is none of a zone, or what is in it cannot be understood; the message says why."""


def read(connection: sqlite3.Connection) -> tuple[state.VersionState | None, Keyset | None]:
    """Return version and key set; None: never published, never had keys. Unreadable."""
    try:
        version = state.from_document(read_state(connection, state.VERSION), state.VersionState)
        return version, state.keyset_from(read_state(connection, state.KEYSET))
    except (sqlite3.Error, ValueError, TypeError, msgspec.MsgspecError) as error:
        raise Unreadable(str(error)) from error


def stored(path: Path) -> tuple[int | None, Keyset | None]:
    """Return serial and key set of a zone's database. Unreadable."""
    try:
        connection = schema.connect(path, read_only=True)
    except sqlite3.Error as error:
        raise Unreadable(str(error)) from error
    with closing(connection):
        version, keyset = read(connection)
    return (None if version is None else version.serial), keyset
