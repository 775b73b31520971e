"""kill -9 of the daemon at every change of a key's state: the roll-over goes on, and nobody notices."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.integration.rollover_world import CHILD, RolloverWorld, start_rollover_world
from tests.integration.test_rollover_types import KINDS, LATE_S
from tests.peers.process import Servers
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.timeout(900)]


def drive_killing(world: RolloverWorld, name: str, timeout: float = 600.0) -> int:
    """As `drive`, but the daemon is killed and started again whenever a state changed; return how often."""
    kind, kills, differs = KINDS[name], 0, 0.0
    before = last = world.states()
    ends = time.monotonic() + timeout
    while time.monotonic() < ends:
        assert world.daemon.running, f"it ended by itself with {world.daemon.returncode()}"
        states = world.states()
        if states != last:
            last = states
            world.daemon.kill()
            world.daemon.start()
            kills += 1
            continue
        cds = world.cds()
        if not cds or cds == world.ds():
            differs = 0.0
        elif not differs:
            differs = time.monotonic()
        elif time.monotonic() - differs > LATE_S:
            world.set_ds(cds)
        if states != before and world.is_settled() and kind.done(world):
            return kills
        time.sleep(0.2)
    raise AssertionError(
        f"not within {timeout} s\n{world.daemon.cli('explain', CHILD).out}\n{world.states()}"
    )


@pytest.mark.parametrize("name", [name for name in KINDS if "nsec" not in name])
def test_nobody_notices(name: str, servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    kind = KINDS[name]
    world = start_rollover_world(servers, peer_dir, tsig_key, **kind.start)
    world.secure()
    witness = world.witness()
    for command in kind.commands:
        done = world.daemon.cli(*command(world))
        assert done.ok, done
    if kind.change:
        world.configure(**kind.change)
        world.reload()
    if kind.again:
        world.wait(lambda: len({k["algorithm"] for k in world.present()}) == 2, "it is under way")
        world.configure(**kind.again)
        world.reload()
    kills = drive_killing(world, name)
    assert kills >= 1  # on a slow machine states change several at a time
    keys = world.key_list()
    entries = [key["label"] for key in keys if key["role"] != "ksk" or name != "ksk revoked"]
    assert len(set(entries)) == len(entries), "no key was made twice"  # a revoked key is an entry besides
    stored = world.daemon.cli_json("key", "list", CHILD, "--stored")["keys"]
    assert {key["id"] for key in stored} == {key["label"] for key in keys}, "none is left over"
    witness.stop()
