"""The history of a zone's database: what was done to the zone, when, by whom.

Each version that is published is an entry, and clients decide how many there are: of these the newest
:data:`PUBLISHED_KEPT` are kept. Whatever else was done is rare, and stays.
"""

import sqlite3
from typing import Any

PUBLISHED = "published"
PUBLISHED_KEPT = 10_000
#: After so many entries the oldest are removed, at most so many at once: a commit stays short.
PRUNED_EVERY, PRUNED_MAX = 100, 2_000

_APPEND = "INSERT INTO history (at, who, what, serial, detail) VALUES (?, ?, ?, ?, ?)"
_PRUNE = (
    "DELETE FROM history WHERE id IN (SELECT id FROM history WHERE id <= ? AND what = ? ORDER BY id LIMIT ?)"
)
_NEWEST = "SELECT at, who, what, serial, detail FROM history ORDER BY id DESC LIMIT ?"


def append(
    connection: sqlite3.Connection, at: int, who: str, what: str, serial: int | None, detail: str
) -> None:
    """Write an entry in the transaction that is open; ``at`` in epoch seconds."""
    number = connection.execute(_APPEND, (at, who, what, serial, detail)).lastrowid
    if number is not None and number % PRUNED_EVERY == 0:
        connection.execute(_PRUNE, (number - PUBLISHED_KEPT, PUBLISHED, PRUNED_MAX))


def newest(connection: sqlite3.Connection, limit: int) -> list[dict[str, Any]]:
    """Return at most so many entries, newest first."""
    rows = connection.execute(_NEWEST, (limit,))
    return [dict(zip(("at", "who", "what", "serial", "detail"), row, strict=True)) for row in rows]
