"""What people did through the control socket: who, when, what, on which zones, which serial came of it.

One small SQLite file of the front's, apart from the zones' databases: an act is written down at once, whatever a
worker is doing to its zone, and stays when a zone's database is replaced. The newest :data:`ACTS_KEPT` are kept, and
the newest :data:`ZONES_KEPT` notes of which zone an act was done to.
"""

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from dnssecd.store import sqlite
from dnssecd.store.sqlite import translating

APPLICATION_ID = 0x444E5341
ACTS_KEPT = 500_000
#: A changed configuration is an act on each of perhaps 10,000 zones.
ZONES_KEPT = 1_000_000
PRUNED_EVERY = 1_000

_VERSION_1 = """
CREATE TABLE act (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, who TEXT NOT NULL, uid INTEGER NOT NULL,
    what TEXT NOT NULL, detail TEXT NOT NULL, zones INTEGER NOT NULL) STRICT;
CREATE INDEX act_daemon ON act (id) WHERE zones = 0;
CREATE TABLE act_zone (zone TEXT NOT NULL, act INTEGER NOT NULL, serial INTEGER, PRIMARY KEY (zone, act))
    STRICT, WITHOUT ROWID;
CREATE INDEX act_zone_act ON act_zone (act);
"""
MIGRATIONS: tuple[str, ...] = (_VERSION_1,)

_OF_ZONE = (
    "SELECT at, who, uid, what, serial, detail FROM act_zone JOIN act ON act.id = act_zone.act WHERE zone = ? "
    "ORDER BY act.id DESC LIMIT ?"
)
_OF_DAEMON = "SELECT at, who, uid, what, NULL, detail FROM act WHERE zones = 0 ORDER BY id DESC LIMIT ?"
_DROP_BEYOND = (
    "DELETE FROM act_zone WHERE act <= (SELECT act FROM act_zone ORDER BY act DESC LIMIT 1 OFFSET ?)"
)


class Act(NamedTuple):
    """One act: ``at`` in epoch seconds, the user's name and number, the command, its arguments and how it ended."""

    at: int
    who: str
    uid: int
    what: str
    detail: str


class ActLog:
    """The acts' database; StoreError when it cannot be used. Calls may come from any one thread."""

    @translating
    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = sqlite.open_database(path, MIGRATIONS, APPLICATION_ID)

    @translating
    def record(self, act: Act, zones: Iterable[tuple[str, int | None]]) -> None:
        """Write an act and the zones it was done to with the serial each has after it, durably."""
        of = dict(zones)
        with sqlite.transaction(self._connection) as connection:
            number = connection.execute(
                "INSERT INTO act (at, who, uid, what, detail, zones) VALUES (?, ?, ?, ?, ?, ?)",
                (*act, len(of)),
            ).lastrowid
            rows = [(zone, number, serial) for zone, serial in of.items()]
            connection.executemany("INSERT INTO act_zone (zone, act, serial) VALUES (?, ?, ?)", rows)
            if number is not None and (number % PRUNED_EVERY == 0 or len(rows) >= PRUNED_EVERY):
                self._prune(number - ACTS_KEPT)

    def _prune(self, before: int) -> None:
        self._connection.execute("DELETE FROM act WHERE id <= ?", (before,))
        self._connection.execute("DELETE FROM act_zone WHERE act <= ?", (before,))
        self._connection.execute(_DROP_BEYOND, (ZONES_KEPT,))

    @translating
    def of_zone(self, zone: str, limit: int) -> list[dict[str, object]]:
        """Return the newest acts on a zone, newest first, as entries of its history."""
        return _entries(self._connection.execute(_OF_ZONE, (zone, limit)))

    @translating
    def of_daemon(self, limit: int) -> list[dict[str, object]]:
        """Return the newest acts that were on no zone, newest first."""
        return _entries(self._connection.execute(_OF_DAEMON, (limit,)))

    @translating
    def close(self) -> None:
        """Close the database."""
        self._connection.close()


def _entries(rows: Iterable[sqlite3.Row]) -> list[dict[str, object]]:
    return [dict(zip(("at", "who", "uid", "what", "serial", "detail"), row, strict=True)) for row in rows]
