"""Whatever transactions led there: replaying their records, or a snapshot and the rest, gives the same rows."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.keystate import Role
from dnssecd.core.keys.types import KeySpec, RolloverPolicy
from dnssecd.core.update.types import UpdatePolicy
from dnssecd.pipeline.jobs.update import commit_updates
from dnssecd.server.update_message import parse_update
from dnssecd.store.version_log import Kind
from tests.cluster_nodes import Node, table_hashes
from tests.memory_log import MemoryLog
from tests.pipeline_zone import ZONE
from tests.simulated_zone import DAY, SimulatedZone
from tests.unit.core_update import build
from tests.unit.core_update.build import EVERYTHING

DENIALS = (("nsec3", False), ("nsec3", True), ("nsec", False))


def random_zone(rng: random.Random) -> str:
    """A zone file: what never changes, and names that collide."""
    lines = []
    for label in rng.sample(("a", "b", "c.d", "e.f", "*.g", "cut", "h"), rng.randrange(7)):
        if label == "cut":
            lines += ["cut IN NS ns.cut", "ns.cut IN A 192.0.2.9"]
        else:
            lines.append(f'{label} {rng.choice((60, 300))} IN TXT "{rng.randrange(3)}"')
    return ZONE + "\n".join(lines) + "\n"


def update(rng: random.Random, node: Node) -> str:
    owner = text_to_wire(f"u{rng.randrange(4)}.example.")
    records = [build.RR(owner, 16, 1, 300, b"\x01" + bytes([rng.randrange(97, 110)]))]
    if rng.random() < 0.4:
        records = [build.RR(owner, 255, 255, 0, b"")]
    message = parse_update(build.message(records))
    return commit_updates(
        node.db, node.spec, [(message, UpdatePolicy(EVERYTHING))], node.tools()
    ).outcome.result


def act(rng: random.Random, node: Node) -> None:
    """Do one random thing that writes to the database."""
    choice = rng.randrange(8)
    if choice < 2:
        result = node.load(random_zone(rng), accept_change=True).result
    elif choice < 5:
        result = update(rng, node)
    elif choice == 5:
        node.now += 10 * DAY
        result = node.resign().result
    elif choice == 6:
        denial, opt_out = rng.choice(DENIALS)
        node.spec = msgspec.structs.replace(
            node.spec, denial=denial, opt_out=opt_out, zonemd=rng.random() < 0.3
        )
        result = node.resign().result
    else:
        result = "unchanged"
        with node.db.write() as transaction:
            if rng.random() < 0.5:
                transaction.forget_journal()
            transaction.add_history(node.now, "alice", "verified", 1, "the whole zone")
            transaction.set_state("removals", {"keys": [str(rng.randrange(5))]})
            transaction.commit_state()
    assert result in ("published", "unchanged")


@pytest.mark.parametrize("seed", range(8))
def test_replay_gives_the_same_rows(tmp_path: Path, signer: str, seed: int) -> None:
    rng = random.Random(seed)
    shared = MemoryLog()
    a, b, late, snap = (Node(tmp_path / name, signer, shared, name) for name in ("a", "b", "late", "snap"))
    for node in (b, late, snap):
        node.reader.chunk = rng.choice((1 << 20, 100, 7))
    a.take()
    a.load(ZONE)
    limits = msgspec.structs.replace(a.spec, journal_octets_max=5_000)
    for step in range(20):
        a.spec = limits if step == 10 else a.spec
        act(rng, a)
        if rng.random() < 0.5:
            followed = b.follow()
            assert not followed.stopped, followed
            assert b.hashes() == a.hashes(), f"seed {seed} step {step}"
    followed = late.follow()
    assert not followed.stopped, followed
    assert late.hashes() == a.hashes()
    with late.db.snapshot() as snapshot:
        record = snapshot.record("late", tmp_path)
        late.reader.put_snapshot(a.spec.name, snapshot.position, record)
        record.close()
    assert shared.zones[a.spec.name][0].kind is Kind.SNAPSHOT
    for _ in range(3):
        act(rng, a)
    assert not b.follow().stopped
    assert not (followed := snap.follow()).stopped, followed
    assert a.hashes() == b.hashes() == snap.hashes()
    for node in (a, b, late, snap):
        node.close()


def test_key_rollovers_are_followed(tmp_path: Path, signer: str) -> None:
    """Records of plans that publish nothing, of new keys, of their removal: all of them verify and replay."""
    shared = MemoryLog()
    a, b = (Node(tmp_path / name, signer, shared, name) for name in "ab")
    a.take()
    policy = RolloverPolicy(specs=(KeySpec(Role.KSK, 13, "local"), KeySpec(Role.ZSK, 13, "local")))
    zone = SimulatedZone(a, policy)
    zone.load()
    zone.run(3 * DAY)
    for role in (Role.ZSK, Role.KSK):
        zone.tell(lambda keyset, role=role: commands.roll_over(keyset, role))
        zone.run(40 * DAY)
        followed = b.follow()
        assert not followed.stopped, followed
        assert b.hashes() == a.hashes() == table_hashes(tmp_path / "a" / "zone.sqlite")
    assert len(zone.keyset.past) >= 2
    a.close()
    b.close()
