"""The owner of a zone keeps its log short: a snapshot when it grew, and no record that a live node still needs."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import Counter

from dnssecd.cluster import database, retention
from dnssecd.cluster.membership import EXPORTED
from dnssecd.cluster.retention import Progress
from dnssecd.daemon.cluster.retention import LogRetention
from dnssecd.daemon.zones.machine import State
from dnssecd.pipeline.jobs.follow import keep_snapshot
from dnssecd.pipeline.jobs.outcome import Outcome
from tests.integration.cluster.test_zones_over_the_log import EXAMPLE, Zone
from tests.integration.cluster.world import World
from tests.pipeline_zone import ZONE


class Runner:
    """Does the job that a worker would do."""

    def __init__(self, zone: Zone) -> None:
        self.zone, self.kinds = zone, list[str]()

    def job(self, zone: Any, kind: str) -> str:
        return kind

    async def run(self, zone: Any, kind: str, octets: int) -> Outcome:
        self.kinds.append(kind)
        return keep_snapshot(
            self.zone.db, self.zone.spec, self.zone.node.log, self.zone.node.name, self.zone.tools()
        )


def changing_zone(rng: random.Random) -> str:
    names = (f'n{number} IN TXT "{rng.randbytes(100).hex()}"' for number in range(150))
    return ZONE + "\n".join(names) + "\n"


def test_a_log_that_grew_is_replaced(
    world: World, tmp_path: Path, signer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SNAPSHOT_OCTETS_MIN", 1)
    a, b = (Zone(tmp_path / name, signer, world[name]) for name in "ab")
    a.own()
    rng = random.Random(2)
    assert a.load(changing_zone(rng)).serial == 1
    runner = Runner(a)
    front = SimpleNamespace(
        name=EXAMPLE, serial=1, state=State.SERVED, spec=a.spec, gone=False, doubt=None, held=None,
        orphan=False, frozen=False, owned=True,
    )  # fmt: skip
    link = SimpleNamespace(
        database=world["a"].database, config=SimpleNamespace(node="a"), run=asyncio.to_thread
    )
    failures = Counter("failures", "", ("task",), registry=None)
    keeper = LogRetention(link, {EXAMPLE: front}, runner, failures)  # type: ignore[dict-item, arg-type]
    asyncio.run(keeper.look())
    assert runner.kinds == [], "the log is not larger than the zone"
    a.db.checkpoint()
    for serial in range(2, 40):
        assert a.load(changing_zone(rng), accept_change=True).serial == serial
        if retention.log_size(world["a"].database, EXAMPLE).wants_snapshot(
            Path(a.spec.database).stat().st_size
        ):
            break
    asyncio.run(keeper.look())
    assert runner.kinds == ["snapshot"]
    records = world.sql("SELECT count(*) FROM log")
    assert records == [(serial + 1,)], "b is alive, and has applied nothing"

    assert b.follow().serial == serial
    last = b.follow().position.sequence
    for name in "ab":
        retention.report_applied(world["a"].database, name, {EXAMPLE: Progress(last)})
    asyncio.run(keeper.look())
    assert runner.kinds == ["snapshot"], "one is enough"
    assert world.sql("SELECT count(*) FROM log") == [(1,)], "the newest record stays"
    assert a.load(ZONE, accept_change=True).serial == serial + 1
    late = Zone(tmp_path / "late", signer, world["b"])
    assert late.follow().serial == serial + 1
    assert b.follow().serial == serial + 1
    assert a.hashes() == b.hashes() == late.hashes()
    for zone in (a, b, late):
        zone.close()


def fill_log(world: World, zone: str, records: int) -> None:
    """A log of many records that a snapshot replaced, and that every node has applied."""
    world["a"].ownership.claim([zone])
    with world["a"].database.own_session() as session:
        session.execute("SET statement_timeout = 0")
        session.execute("SET session_replication_role = replica")  # without the triggers
        session.execute(
            "INSERT INTO log (zone, sequence, epoch, kind, node, incarnation, digest, octets, body) "
            "SELECT %s, n, 1, 'version', 'a', %s::text::uuid, 'd', 100, decode(repeat('00', 100), 'hex') "
            "FROM generate_series(2, %s::int) AS n",
            (zone, world["a"].incarnation, records),
        )
        session.execute(
            "INSERT INTO snapshot (zone, sequence, epoch, upload, digest, octets, node) "
            "VALUES (%s, %s, 1, gen_random_uuid(), '', 1, 'a')",
            (zone, records),
        )
        session.execute("ANALYZE log")
    for name in "ab":
        retention.report_applied(world[name].database, name, {zone: Progress(records)})


def test_a_long_log_is_removed_within_the_deadline_of_a_statement(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a node that was away for a day: one statement for all would fail each time, and the log grow."""
    fill_log(world, EXAMPLE, 150_000)
    with (
        monkeypatch.context() as short
    ):  # for this node alone: others have to look at the log, and remove the tables
        short.setattr(database, "_SESSION", {**database._SESSION, "statement_timeout": "100ms"})
        keeper = world.node("keeper").database
        for _ in range(3):
            retention.prune(keeper, EXAMPLE)
    assert world.sql("SELECT count(*) FROM log") == [(1,)]


def test_large_logs_are_found_in_pages_and_without_reading_old_records(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "ZONES_AT_ONCE", 2)
    monkeypatch.setattr(retention, "SNAPSHOT_OCTETS_MIN", 5)
    names = [f"z{number}.example." for number in range(5)]
    world["a"].ownership.claim(names)
    for name in names[1:]:
        world["a"].append(name, 2, 1, name.encode())
    fill_log(world, EXAMPLE, 10_000)
    found = retention.large_logs(world["a"].database, "a")
    assert found == {name: retention.LogSize(len(name), 0) for name in names[1:]}


def test_the_node_of_exported_zones_keeps_no_records(world: World) -> None:
    """It never applies any, and its lease lasts for a century."""
    fill_log(world, EXAMPLE, 10)
    world.node(EXPORTED).join()
    assert retention.prune(world["a"].database, EXAMPLE) == 9
