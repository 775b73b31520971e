"""The history in a zone's database: changes of the zone with time and user.

Each published version is an entry, and clients decide how many there are: the newest :data:`PUBLISHED_KEPT` of them are
kept. All other entries are rare, and are kept.
"""

import sqlite3
from typing import Any

from dnssecd.store.writes import Operation, Writes

PUBLISHED = "published"
PUBLISHED_KEPT = 10_000
#: The oldest entries are removed every PRUNED_EVERY entries, a limited number at a time: a commit stays short.
PRUNED_EVERY, PRUNED_MAX = 100, 2_000

_NEWEST = "SELECT at, who, what, serial, detail FROM history ORDER BY id DESC LIMIT ?"


def append(writes: Writes, at: int, who: str, what: str, serial: int | None, detail: str) -> None:
    """Write an entry in the open transaction; ``at`` in epoch seconds."""
    number = writes.append_history(at, who, what, serial, detail)
    if number is not None and number % PRUNED_EVERY == 0:
        writes.one(Operation.PRUNE_HISTORY, number - PUBLISHED_KEPT, PUBLISHED, PRUNED_MAX)


def newest(connection: sqlite3.Connection, limit: int) -> list[dict[str, Any]]:
    """Return at most ``limit`` entries, newest first."""
    rows = connection.execute(_NEWEST, (limit,))
    return [dict(zip(("at", "who", "what", "serial", "detail"), row, strict=True)) for row in rows]
