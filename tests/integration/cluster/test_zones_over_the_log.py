"""Real zones over a real log in PostgreSQL: a follower has the same rows and takes over; the first owner is fenced."""

from __future__ import annotations

import random
from pathlib import Path

from dnssecd.core.verify import inline_checker
from dnssecd.pipeline.follow.apply import CaughtUp, catch_up
from dnssecd.pipeline.jobs.follow import keep_snapshot
from dnssecd.store.zone_log import ZoneLog
from dnssecd.store.zonedb import ZoneDatabase
from tests.cluster_nodes import table_hashes
from tests.integration.cluster.world import Node, World
from tests.pipeline_zone import ZONE, PipelineZone

EXAMPLE = "example."


class Zone(PipelineZone):
    """example. on a node of the world."""

    def __init__(self, home: Path, socket: str, node: Node) -> None:
        home.mkdir()
        super().__init__(home, socket)
        self.node = node
        self.db.close()
        self.log = ZoneLog(node.log, EXAMPLE, node.name)
        self.db = ZoneDatabase(Path(self.spec.database), self.spec.origin, log=self.log)

    def follow(self) -> CaughtUp:
        found = catch_up(self.db, self.node.log, self.spec, inline_checker, self.now)
        assert not found.stopped, found
        return found

    def own(self) -> None:
        applied = self.follow().position.sequence
        self.node.membership.beat("", 0.0)
        taken = self.node.ownership.take_over({EXAMPLE: applied}) or self.node.ownership.claim([EXAMPLE])
        self.log.epoch = taken[0].epoch
        assert self.follow().position.epoch == taken[0].epoch

    def hashes(self) -> dict[str, str]:
        return table_hashes(Path(self.spec.database))


def large_zone(rng: random.Random) -> str:
    """Content that does not compress, so that its first version takes several pieces."""
    texts = (f'n{number} IN TXT "{rng.randbytes(100).hex()}"' for number in range(3_000))
    return ZONE + "\n".join(texts) + "\n"


def test_versions_over_postgresql(world: World, tmp_path: Path, signer: str) -> None:
    a, b = (Zone(tmp_path / name, signer, world[name]) for name in "ab")
    a.own()
    text = large_zone(random.Random(1))
    assert a.load(text).serial == 1
    ((octets,),) = world.sql("SELECT octets FROM log WHERE sequence = 2")
    assert int(str(octets)) > 1 << 20
    assert a.load(text + "more IN A 192.0.2.7\n").serial == 2
    assert b.follow().serial == 2
    assert a.hashes() == b.hashes()

    world.die("a")
    b.own()
    assert [problem.event for problem in b.load(text).problems] == ["input-stale"]
    assert b.load(text + "more IN A 192.0.2.7\nlast IN A 192.0.2.8\n").serial == 3
    outcome = a.load(text.replace("192.0.2.2", "192.0.2.3"))
    assert outcome.log_trouble is not None
    assert outcome.log_trouble.kind == "fenced"
    assert "node b (epoch 2) owns the zone" in outcome.problems[0].cause
    assert a.serial() == 2
    a.log.epoch = None
    assert a.follow().serial == 3
    assert a.hashes() == b.hashes()

    assert keep_snapshot(b.db, b.spec, world["b"].log, "b", b.tools()).problems == ()
    world.sql("DELETE FROM log WHERE sequence <= (SELECT sequence FROM snapshot)")
    late = Zone(tmp_path / "late", signer, world["a"])
    assert late.follow().serial == 3
    assert late.hashes() == b.hashes()
    for zone in (a, b, late):
        zone.close()
