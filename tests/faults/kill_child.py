"""Loads a zone in a process that kills itself at a chosen statement: ``kill_child HOME SOCKET STEP before|after``."""

import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

from dnssecd.store.zonedb import ZoneDatabase
from tests.pipeline_zone import ZONE, PipelineZone

EDITED = ZONE.replace("192.0.2.2", "192.0.2.22") + "x.y IN A 192.0.2.9\n"


class Killer(sqlite3.Connection):
    """Counts the statements that write; ends the process without warning at one of them."""

    step = 0
    when = "before"
    count = 0

    def _counted(self, run: Any, sql: str, *args: Any) -> Any:
        writes = not sql.lstrip().startswith(("SELECT", "PRAGMA"))
        if writes:
            Killer.count += 1
        if writes and Killer.count == Killer.step and Killer.when == "before":
            os._exit(9)
        result = run(sql, *args)
        if writes and Killer.count == Killer.step:
            os._exit(9)
        return result

    def execute(self, sql: str, *args: Any) -> Any:
        return self._counted(super().execute, sql, *args)

    def executemany(self, sql: str, *args: Any) -> Any:
        return self._counted(super().executemany, sql, *args)


def main() -> None:
    home, socket, step, when = sys.argv[1:]
    zone = PipelineZone(Path(home), socket)
    zone.db.close()
    zone.db = ZoneDatabase(Path(zone.spec.database), zone.spec.origin, factory=Killer)
    Killer.count, Killer.step, Killer.when = 0, int(step), when
    outcome = zone.load(EDITED)
    print(outcome.result, Killer.count)


if __name__ == "__main__":
    main()
