"""How many SQL statements a dynamic update costs: pinned, so that a trip to the database is never added unseen."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.update.types import UpdatePolicy
from dnssecd.pipeline.jobs.update import Committed, commit_updates
from dnssecd.store.zonedb import ZoneDatabase
from tests.pipeline_zone import ZONE, PipelineZone
from tests.unit.core_update import build
from tests.unit.pipeline.test_every_code_every_way import EVERYTHING, parse_update

#: Of one update that adds a TXT RRset at a new name, in an NSEC3 zone: all of it, and what is read of the two versions.
STATEMENTS, READS = 25, 7

statements: list[str] = []


class Traced(sqlite3.Connection):
    """A connection that notes each statement it runs, one for each row of those that write many."""

    def __init__(self, *values: Any, **more: Any) -> None:
        super().__init__(*values, **more)
        self.set_trace_callback(statements.append)


def add_txt(zone: PipelineZone, label: str) -> Committed:
    owner = text_to_wire(f"{label}.example.")
    update = parse_update(build.message([build.RR(owner, 16, 1, 300, b"\x01x")]))
    return commit_updates(zone.db, zone.spec, [(update, UpdatePolicy(EVERYTHING))], zone.tools())


def test_statements_of_one_update(signer: str, tmp_path: Path) -> None:
    zone = PipelineZone(tmp_path, signer)
    zone.db.close()
    zone.db = ZoneDatabase(Path(zone.spec.database), zone.spec.origin, factory=Traced)
    try:
        assert zone.load(ZONE).result == "published"
        for label in ("one", "two"):
            assert add_txt(zone, label).answers[0].rcode == 0
        statements.clear()
        made = add_txt(zone, "three")
        found = list(statements)
    finally:
        zone.close()
    assert made.answers[0].rcode == 0
    assert (made.outcome.result, made.outcome.serial) == ("published", 4)
    assert made.outcome.earliest_expiration is not None
    reads = [text for text in found if text.startswith("SELECT")]
    assert (len(found), len(reads)) == (STATEMENTS, READS), "\n".join(found)
