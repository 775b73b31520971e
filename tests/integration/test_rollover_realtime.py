"""Roll-overs in real time: nothing but authenticated answers from a validator that is asked all the time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.rollover_world import CHILD, RolloverWorld, start_rollover_world
from tests.peers.process import Servers
from tests.peers.tsig import TsigKey

pytestmark = pytest.mark.integration


def roll(world: RolloverWorld, role: str) -> tuple[int, int]:
    """Ask for a rollover; return the tags of the old and the new key."""
    old = world.in_use(role)["tag"]
    done = world.daemon.cli("key", "rollover", CHILD, "--role", role)
    assert done.ok, done
    new = world.wait(
        lambda: (key := world.in_use(role))["tag"] != old and key["tag"], f"a successor of {role} {old}"
    )
    return old, new


def test_zsk_and_ksk_roll_over_without_anybody_noticing(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    world = start_rollover_world(servers, peer_dir, tsig_key)
    world.secure()
    witness = world.witness()
    old, new = roll(world, "zsk")
    world.wait_settled()
    states = {key["tag"]: key["dnskey"] for key in world.key_list() if key["role"] == "zsk"}
    assert states == {old: "hidden", new: "omnipresent"}
    old, new = roll(world, "ksk")
    cds = world.wait_cds_new()
    assert cds[0].startswith(f"{new} ")
    explained = world.daemon.cli("explain", CHILD, "--rules").out
    assert f"DS with key tag {new} (now: DS with key tags {old};" in explained, explained
    world.set_ds(cds)
    world.wait_settled()
    states = {key["tag"]: key["ds"] for key in world.key_list() if key["role"] == "ksk"}
    assert states == {old: "hidden", new: "omnipresent"}
    witness.stop()
