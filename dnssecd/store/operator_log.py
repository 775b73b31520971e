"""The operator log: actions through the control socket with user, time, zones and resulting serials.

One small SQLite file of the daemon process, separate from the zones' databases: so an action is recorded immediately,
even while a worker writes to its zone, and is kept when a zone's database is replaced. The newest :data:`ACTS_KEPT`
actions are kept, and the newest :data:`ZONES_KEPT` relations of actions to zones.
"""

import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from dnssecd.store import sqlite
from dnssecd.store.sqlite import translating

APPLICATION_ID = 0x444E5341
ACTS_KEPT = 500_000
#: A changed configuration is an action on up to 10,000 zones.
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
    """One operator action: ``at`` in epoch seconds, the user's name and number, command, arguments and result."""

    at: int
    who: str
    uid: int
    what: str
    detail: str


class ActLog:
    """The database of operator actions. Methods raise StoreError. Any thread may use it; one waits for the other."""

    @translating
    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = self._open()
        # A lock of the caller is not enough: a task that waits for a thread can be cancelled; the thread continues.
        self._in_use = threading.Lock()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite.open_database(self.path, MIGRATIONS, APPLICATION_ID, alone_if_full=True)
        self._alone = sqlite.is_alone(connection)
        return connection

    @translating
    def share(self) -> None:
        """Let other processes read it again, if it was opened on a full disk and there is room now."""
        if self._alone:
            with self._in_use:
                self._connection.close()
                self._connection = self._open()

    @translating
    def record(self, act: Act, zones: Iterable[tuple[str, int | None]]) -> None:
        """Write an action and its zones with their serials after it, durably."""
        of = dict(zones)
        with self._in_use, sqlite.transaction(self._connection) as connection:
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
        """Return the newest actions on a zone, newest first, as entries of its history."""
        with self._in_use:
            return _entries(self._connection.execute(_OF_ZONE, (zone, limit)))

    @translating
    def of_daemon(self, limit: int) -> list[dict[str, object]]:
        """Return the newest actions without a zone, newest first."""
        with self._in_use:
            return _entries(self._connection.execute(_OF_DAEMON, (limit,)))

    @translating
    def close(self) -> None:
        """Close the database."""
        with self._in_use:
            self._connection.close()


def _entries(rows: Iterable[sqlite3.Row]) -> list[dict[str, object]]:
    return [dict(zip(("at", "who", "uid", "what", "serial", "detail"), row, strict=True)) for row in rows]
