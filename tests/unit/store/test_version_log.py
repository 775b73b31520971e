"""One log, two databases: what the owner commits, the follower has, row by row; how a commit can fail."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.update.types import NOERROR, SERVFAIL, UpdateMessage, UpdatePolicy
from dnssecd.pipeline.jobs.outcome import LogTrouble
from dnssecd.pipeline.jobs.update import commit_updates
from dnssecd.server.update_message import parse_update
from dnssecd.store.errors import LogInDoubt
from dnssecd.store.zonedb import ZoneDatabase
from tests.cluster_nodes import Node
from tests.memory_log import MemoryLog
from tests.pipeline_zone import ZONE
from tests.unit.core_update import build
from tests.unit.core_update.build import EVERYTHING


@pytest.fixture
def nodes(tmp_path: Path, signer: str) -> Iterator[tuple[Node, Node]]:
    shared = MemoryLog()
    a, b = (Node(tmp_path / name, signer, shared, name) for name in "ab")
    a.take()
    yield a, b
    a.close()
    b.close()


def edited(number: int) -> str:
    return ZONE.replace("192.0.2.2", f"192.0.2.{number}")


def test_a_follower_has_the_same_rows(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    assert a.load(ZONE).result == "published"
    assert a.load(edited(77) + "new.x IN A 192.0.2.9\n").result == "published"
    a.now += 20 * 86_400
    assert a.resign().result == "published"
    followed = b.follow()
    assert (followed.applied, followed.stopped, followed.serial) == (4, "", 3)
    assert b.hashes() == a.hashes()
    assert b.follow().applied == 0


def test_only_the_owner_makes_versions(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    a.load(ZONE)
    b.follow()
    outcome = b.load(edited(3))
    assert outcome.result == "failed"
    assert "belongs to another node" in outcome.problems[0].cause
    assert b.serial() == 1


def test_a_fenced_owner_commits_nothing(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    a.load(ZONE)
    b.take()
    before = a.hashes()
    outcome = a.load(edited(3))
    assert outcome.result == "failed"
    assert "node b (epoch 2) owns the zone" in outcome.problems[0].cause
    assert a.hashes() == before
    assert b.load(edited(4)).serial == 2
    a.log.epoch = None
    assert a.follow().node == "b"
    assert a.hashes() == b.hashes()


@pytest.mark.parametrize(("fault", "there"), [("lost after", True), ("lost before", False)])
def test_a_commit_in_doubt_is_decided_by_the_log(nodes: tuple[Node, Node], fault: str, there: bool) -> None:
    a, b = nodes
    a.load(ZONE)
    a.shared.faults += [fault, fault]
    outcome = a.load(edited(3))
    assert outcome.result == "failed"
    assert "record 3 is perhaps in the log" in outcome.problems[0].cause
    assert a.serial() == 1
    a.reader.settle("example.", 3, 1)
    assert a.follow().serial == (2 if there else 1)
    assert a.load(edited(4)).serial == (3 if there else 2)
    assert not b.follow().stopped
    assert a.hashes() == b.hashes()


@pytest.mark.parametrize("fault", ["lost after", "lost before"])
def test_a_connection_that_broke_once_is_no_doubt(nodes: tuple[Node, Node], fault: str) -> None:
    a, b = nodes
    a.load(ZONE)
    a.shared.faults.append(fault)
    assert a.load(edited(3)).serial == 2
    assert b.follow().serial == 2
    assert a.hashes() == b.hashes()


def test_a_doubt_stays_while_the_log_is_away(nodes: tuple[Node, Node]) -> None:
    """That the second try wrote nothing says nothing of the first."""
    a, b = nodes
    a.load(ZONE)
    a.shared.faults += ["lost after", "away"]
    outcome = a.load(edited(3))
    assert outcome.log_trouble == LogTrouble("in doubt", 3, 1)
    assert [type(trouble) for trouble in a.troubles] == [LogInDoubt]
    assert a.follow().serial == b.follow().serial == 2


def test_while_the_log_is_away_nothing_is_committed(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    a.load(ZONE)
    a.shared.faults.append("away")
    assert a.load(edited(3)).result == "failed"
    assert (a.serial(), a.troubles) == (1, [])
    assert a.load(edited(3)).serial == 2
    b.follow()
    assert a.hashes() == b.hashes()


@pytest.mark.parametrize("faults", [["away"], ["lost after", "lost after"]])
def test_answers_to_messages_judged_by_a_version_that_failed(
    nodes: tuple[Node, Node], faults: list[str]
) -> None:
    """A repetition of a message of the same failed group changes nothing: it is not done either."""
    a, _ = nodes
    a.load(ZONE)

    def txt(label: str) -> tuple[UpdateMessage, UpdatePolicy]:
        owner = text_to_wire(f"{label}.example.")
        return parse_update(build.message([build.RR(owner, 16, 1, 300, b"\x01x")])), UpdatePolicy(EVERYTHING)

    assert commit_updates(a.db, a.spec, [txt("old")], a.tools()).answers[0].rcode == 0
    a.shared.faults += faults
    updates = [txt("old"), txt("new"), txt("new"), txt("old")]
    made = commit_updates(a.db, a.spec, updates, a.tools())
    assert [answer.rcode for answer in made.answers] == [NOERROR, SERVFAIL, SERVFAIL, SERVFAIL]
    assert made.outcome.failed_by_log
    assert made.outcome.log_away is (faults == ["away"])


class FullDisk(sqlite3.Connection):
    """Fails at COMMIT when told to."""

    fail = False

    def execute(self, sql: str, *args: Any) -> Any:
        if FullDisk.fail and sql == "COMMIT":
            raise sqlite3.OperationalError("database or disk is full")
        return super().execute(sql, *args)


def test_a_record_that_could_not_be_committed_here_is_replayed(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    a.load(ZONE)
    a.db.close()
    a.db = ZoneDatabase(Path(a.spec.database), a.spec.origin, factory=FullDisk, log=a.log)
    FullDisk.fail = True
    try:
        outcome = a.load(edited(3))
    finally:
        FullDisk.fail = False
    assert "in the log, but not in the local database" in outcome.problems[0].cause
    assert a.serial() == 1
    b.follow()
    assert b.serial() == 2
    assert a.follow().applied == 1
    assert a.hashes() == b.hashes()
    assert a.load(edited(4)).serial == 3
