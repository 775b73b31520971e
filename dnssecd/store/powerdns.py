"""The database of PowerDNS's gsqlite3 backend, read only: zones, their metadata and keys, TSIG keys; no private key.

A database without a write-ahead log is opened as one that no program changes, so that SQLite makes no file beside it.
With a log, PowerDNS may be running: it is read as any other client reads it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from dnssecd.store.errors import StoreError
from dnssecd.store.sqlite import BUSY_TIMEOUT_S, translated

MAGIC = b"SQLite format 3\0"
ROWS_MAX = 2_000_000

#: Of a private key in BIND's format: the algorithm, and the modulus, which is public.
_KEYS = """
SELECT domain_id, flags, active,
  CAST(substr(content, instr(content, 'Algorithm: ') + 11, 3) AS INTEGER),
  CASE WHEN instr(content, 'Modulus: ') THEN
    substr(substr(content, instr(content, 'Modulus: ') + 9), 1,
           instr(substr(content, instr(content, 'Modulus: ') + 9), char(10)) - 1)
  ELSE '' END
FROM cryptokeys ORDER BY domain_id, id
"""


class Rows(Struct, frozen=True):
    """What is in the database.

    zones: id, name, type; meta: id of the zone, kind, content; keys: id of the zone, flags, whether active, algorithm,
    modulus in base64 ("" without one); tsig: name, algorithm, secret.
    """

    zones: list[tuple[int, str, str]]
    meta: list[tuple[int, str, str]]
    keys: list[tuple[int, int, bool, int, str]]
    tsig: list[tuple[str, str, str]]


def is_database(path: Path) -> bool:
    """Tell whether a file is a database of SQLite; False if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def read(path: Path) -> Rows:
    """Return what is in the database; raise StoreError."""
    log = path.with_name(f"{path.name}-wal")
    alone = "" if log.exists() and log.stat().st_size else "&immutable=1"
    with translated(path):
        place = f"file:{quote(str(path))}?mode=ro{alone}"
        with closing(sqlite3.connect(place, uri=True, timeout=BUSY_TIMEOUT_S)) as connection:
            return Rows(
                zones=_rows(connection, path, "SELECT id, name, type FROM domains ORDER BY name"),
                meta=_rows(
                    connection, path, "SELECT domain_id, kind, content FROM domainmetadata ORDER BY id"
                ),
                keys=[(z, f, bool(on), n, m) for z, f, on, n, m in _rows(connection, path, _KEYS)],
                tsig=_rows(connection, path, "SELECT name, algorithm, secret FROM tsigkeys ORDER BY name"),
            )


def _rows(connection: sqlite3.Connection, path: Path, query: str) -> list[Any]:
    rows = connection.execute(query).fetchmany(ROWS_MAX + 1)
    if len(rows) > ROWS_MAX:
        raise StoreError(f"{path} has more than {ROWS_MAX} rows in a table")
    return rows
