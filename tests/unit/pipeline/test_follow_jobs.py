"""The jobs of a zone worker on a zone's log: follow, snapshot, and how any other job ends when its commit fails."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dnssecd.pipeline.jobs.follow import follow
from dnssecd.pipeline.jobs.outcome import LogTrouble, Outcome
from dnssecd.pipeline.workers import frames, worker
from dnssecd.store.log_place import LogPlace
from dnssecd.store.version_log import Kind
from tests.cluster_nodes import Node
from tests.memory_log import MemoryLog
from tests.pipeline_zone import DATE, ZONE

EDITED = ZONE.replace("192.0.2.2", "192.0.2.3")


class Workers(Node):
    """A node whose jobs a worker does, as the daemon would send them."""

    def __init__(self, home: Path, socket: str, shared: MemoryLog, name: str) -> None:
        super().__init__(home, socket, shared, name)
        self.worker = worker.Worker()

    def job(self, kind: str, text: str = "", **more: Any) -> Outcome:
        self.db.close()
        self.file.write_text(text)
        place = LogPlace(node=self.name, uri="postgresql:///none")
        job = frames.Job(
            kind=kind,
            spec=self.spec,
            now=self.now,
            date=DATE,
            path=str(self.file),
            log=frames.LogUse(place, self.log.epoch),
            **more,
        )
        body = frames.encode(job)[frames.LENGTH_OCTETS :]
        outcome = self.worker.run(frames.decode(body, frames.Job))
        self.worker.rest()
        self.open()
        back = frames.decode(frames.encode(outcome)[frames.LENGTH_OCTETS :], Outcome)
        assert back == outcome
        return outcome


@pytest.fixture
def nodes(tmp_path: Path, signer: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Workers, Workers]]:
    shared = MemoryLog()
    a, b = (Workers(tmp_path / name, signer, shared, name) for name in "ab")
    logs = {node.name: node.reader for node in (a, b)}
    monkeypatch.setattr(worker, "open_node_log", lambda place: logs[place.node])
    a.take()
    yield a, b
    a.close()
    b.close()


def test_a_worker_follows(nodes: tuple[Workers, Workers]) -> None:
    a, b = nodes
    assert a.job("load", ZONE).result == "published"
    assert a.job("load", EDITED).serial == 2
    followed = b.job("follow")
    assert (followed.result, followed.serial, followed.problems) == ("published", 2, ())
    assert followed.earliest_expiration is not None
    assert followed.log is not None
    assert (followed.log.applied, followed.log.position.sequence, followed.log.node) == (3, 3, "a")
    assert b.job("follow").result == "unchanged"
    assert a.hashes() == b.hashes()


def test_a_large_record_is_left_for_a_worker(nodes: tuple[Workers, Workers]) -> None:
    a, b = nodes
    a.job("load", ZONE)
    b.job("follow")
    a.job("load", EDITED)
    a.job("load", EDITED + "".join(f"n{number} IN A 192.0.2.1\n" for number in range(50)))
    small, large = (len(record.octets) for record in a.shared.zones["example."][2:])
    assert small < large
    outcome = follow(b.db, b.spec, b.reader, b.tools(), small)
    assert outcome.log is not None
    assert (outcome.serial, outcome.log.larger, outcome.log.applied) == (2, True, 1)
    outcome = b.job("follow")
    assert outcome.log is not None
    assert (outcome.serial, outcome.log.larger) == (3, False)


def test_a_refused_record_is_a_problem_of_the_follower(nodes: tuple[Workers, Workers]) -> None:
    a, b = nodes
    a.job("load", ZONE)
    a.shared.change("example.", 2, octets=b"dnsv")
    followed = b.job("follow")
    assert (followed.result, followed.serial) == ("failed", None)
    assert [problem.event for problem in followed.problems] == ["log-record-refused"]
    assert "cannot take the zone over" in followed.problems[0].remedy
    assert followed.log is not None
    assert (followed.log.stopped, followed.log.position.sequence) == ("unverified", 1)


@pytest.mark.parametrize(
    ("faults", "event", "trouble"),
    [
        (["lost before", "lost before"], "log-in-doubt", LogTrouble("in doubt", 3, 1)),
        (["lost after", "lost after"], "log-in-doubt", LogTrouble("in doubt", 3, 1)),
        (["away"], "database-unreachable", None),
    ],
)
def test_how_a_job_ends_when_the_log_does_not_answer(
    nodes: tuple[Workers, Workers], faults: list[str], event: str, trouble: LogTrouble | None
) -> None:
    a, _ = nodes
    a.job("load", ZONE)
    a.shared.faults += faults
    outcome = a.job("load", EDITED)
    assert (outcome.result, outcome.serial, outcome.log_trouble) == ("failed", 1, trouble)
    assert [problem.event for problem in outcome.problems] == [event]


def test_how_a_job_ends_when_another_node_has_the_zone(nodes: tuple[Workers, Workers]) -> None:
    a, b = nodes
    a.job("load", ZONE)
    b.take()
    assert a.job("load", EDITED).log_trouble == LogTrouble("fenced", 3, 1)
    a.log.epoch = None
    outcome = a.job("load", EDITED)
    assert outcome.log_trouble == LogTrouble("not owner")
    assert outcome.problems[0].event == "log-fenced"


def test_a_snapshot_replaces_the_records(nodes: tuple[Workers, Workers]) -> None:
    a, b = nodes
    a.job("load", ZONE)
    a.job("load", EDITED)
    assert a.job("snapshot").problems == ()
    assert [record.kind for record in a.shared.zones["example."]] == [Kind.SNAPSHOT]
    assert b.job("follow").serial == 2
    assert a.hashes() == b.hashes()


def test_a_database_with_a_log_is_proven_and_left_as_it_is(nodes: tuple[Workers, Workers]) -> None:
    """Its journal is the log's: it is verified as far as it can be, and not deleted."""
    a, b = nodes
    a.job("load", ZONE)
    a.job("load", EDITED)
    b.job("follow")
    before = b.hashes()
    assert b.job("prove", serial_floor=9).whole
    assert b.hashes() == before
    b.db.close()
    with closing(sqlite3.connect(b.spec.database)) as connection:
        connection.execute("UPDATE journal_chunk SET added = 1 - added")
        connection.commit()
    outcome = b.job("prove")
    assert [problem.event for problem in outcome.problems] == ["verification-failed"]
    assert "does not fit" in outcome.problems[0].cause


def without_log(node: Workers) -> None:
    """Publish on a single host: the database has no position in a log."""
    log, node.log = node.log, None  # type: ignore[assignment]
    node.open()
    assert node.load(ZONE).serial == 1
    assert node.load(EDITED).serial == 2
    node.log = log
    node.open()


def test_a_zone_of_a_single_host_enters_the_log_as_a_whole(
    tmp_path: Path, signer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = MemoryLog()
    a, b, other = (Workers(tmp_path / name, signer, shared, name) for name in ("a", "b", "other"))
    logs = {node.name: node.reader for node in (a, b, other)}
    monkeypatch.setattr(worker, "open_node_log", lambda place: logs[place.node])
    without_log(a)
    a.take()
    assert a.job("share").problems == ()
    assert a.load(ZONE).serial == 3
    followed = b.job("follow")
    assert (followed.serial, followed.problems) == (3, ())
    assert a.hashes() == b.hashes()
    with b.db.snapshot() as snapshot:
        assert [step.from_serial for step in snapshot.steps()] == [1, 2]
        assert "put into the log of the cluster" in {entry["what"] for entry in snapshot.history()}
    for node in (a, b, other):
        node.close()


def test_the_first_version_after_the_claim_enters_as_a_whole(tmp_path: Path, signer: str) -> None:
    shared = MemoryLog()
    a, b = (Workers(tmp_path / name, signer, shared, name) for name in "ab")
    without_log(a)
    a.take()
    assert a.load(ZONE).serial == 3
    assert b.follow().serial == 3
    assert a.load(EDITED).serial == 4
    assert b.follow().applied == 1
    assert a.hashes() == b.hashes()
    a.close()
    b.close()


def test_rows_that_are_not_from_the_log_are_not_mixed_with_its_records(tmp_path: Path, signer: str) -> None:
    """A node that had the zone on its own keeps its version until a whole record replaces it."""
    shared = MemoryLog()
    a, b = (Workers(tmp_path / name, signer, shared, name) for name in "ab")
    without_log(b)
    a.take()
    assert a.load(ZONE).serial == 1
    followed = b.follow()
    assert (followed.stopped, followed.serial) == ("unverified", 2)
    assert "not from the log" in followed.cause
    assert a.load(EDITED).serial == 2
    assert a.load(ZONE).serial == 3
    with a.db.snapshot() as snapshot:
        record = snapshot.record("a", tmp_path)
        assert a.reader.put_snapshot("example.", snapshot.position, record)
        record.close()
    assert b.follow().serial == 3
    assert a.hashes() == b.hashes()
    a.close()
    b.close()
