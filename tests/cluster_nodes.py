"""Nodes of a cluster without daemons: each has a zone in a directory of its own, and all share one log."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from dnssecd.core.verify import inline_checker
from dnssecd.pipeline.follow.apply import CaughtUp, catch_up
from dnssecd.store.zone_log import ZoneLog
from dnssecd.store.zonedb import ZoneDatabase
from tests.memory_log import MemoryLog, NodeLog
from tests.pipeline_zone import PipelineZone

#: Of each table: what replaying must make equal. ``evidence`` and ``meta`` belong to the host and to the file.
TABLES = ("rrset", "denial", "rrsig", "journal", "journal_chunk", "state", "history")


def table_hashes(path: Path, tables: tuple[str, ...] = TABLES) -> dict[str, str]:
    """Return a hash of all rows of each table."""
    found = {}
    with closing(sqlite3.connect(path)) as connection:
        for table in tables:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            rows = connection.execute(f"SELECT * FROM {table} ORDER BY {', '.join(columns)}").fetchall()
            found[table] = f"{len(rows)} {hashlib.sha256(repr(rows).encode()).hexdigest()[:16]}"
    return found


class Node(PipelineZone):
    """example. on one node; ``NodeLog`` is its way to the shared log."""

    def __init__(self, home: Path, socket: str, shared: MemoryLog, name: str, **spec: Any) -> None:
        home.mkdir(parents=True, exist_ok=True)
        super().__init__(home, socket, **spec)
        self.name, self.shared = name, shared
        self.reader = NodeLog(shared, name)
        self.troubles: list[Exception] = []
        #: When the log is read: after all that is published.
        self.follow_at = 1 << 31
        self.log = ZoneLog(self.reader, self.spec.name, name, trouble=self.troubles.append)
        self.open()

    def open(self) -> None:
        """Open the database, as at a start."""
        self.db.close()
        self.db = ZoneDatabase(Path(self.spec.database), self.spec.origin, log=self.log)

    def take(self) -> None:
        """Become the owner."""
        self.follow()
        epoch = self.shared.take(self.spec.name, self.name)
        assert self.follow().position.epoch == epoch
        self.log.epoch = epoch

    def follow(self) -> CaughtUp:
        """Apply what the log has."""
        return catch_up(self.db, self.reader, self.spec, inline_checker, self.follow_at)

    def hashes(self, tables: tuple[str, ...] = TABLES) -> dict[str, str]:
        """Return a hash of all rows of each table."""
        return table_hashes(Path(self.spec.database), tables)
