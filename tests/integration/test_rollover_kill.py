"""kill -9 of the daemon at every change of a key's state: the roll-over goes on, and nobody notices.

Every kind of roll-over there is; changes of denial, which no key's state tells of, are cut around the moment they come.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.integration.rollover_world import CHILD, CHILD_ZONE, RolloverWorld, is_moving, start_rollover_world
from tests.integration.test_rollover_types import KINDS, LATE_S, changes_denial, roll
from tests.peers.process import Servers
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.timeout(900)]

DENIAL_CUTS = 6
#: A reload and its first version take about so long with so many names; from there the cuts look for the moment.
CUT_AFTER_S, HOSTS = 0.1, 150


def drive_killing(
    world: RolloverWorld, before: str, done: Callable[[RolloverWorld], bool], timeout: float = 600.0
) -> None:
    """As `drive`, but the daemon is killed and started again whenever a state changed; some kill was mid-way.

    before: what the states were before anything was asked for. AssertionError when no kill met a record in transition.
    """
    kills, midway, differs, last = 0, 0, 0.0, before
    ends = time.monotonic() + timeout
    while time.monotonic() < ends:
        assert world.daemon.running, f"it ended by itself with {world.daemon.returncode()}"
        states = world.states()
        if states != last:
            last = states
            world.daemon.kill()
            world.daemon.start()
            kills += 1
            midway += is_moving(states)
            continue
        wanted = world.asked_of_parent()
        if wanted is None or wanted == world.ds():
            differs = 0.0
        elif not differs:
            differs = time.monotonic()
        elif time.monotonic() - differs > LATE_S:
            world.set_ds(wanted)
        if states != before and world.is_settled() and done(world):
            print(f"{kills} kills, {midway} while a record was on its way")
            assert midway, f"{kills} kills, and at none of them a record was on its way"
            return
        time.sleep(0.2)
    raise AssertionError(
        f"not within {timeout} s\n{world.daemon.cli('explain', CHILD).out}\n{world.states()}"
    )


def check_keys(world: RolloverWorld, *, revoked: bool = False) -> None:
    """No key was made twice, and none is left over that the daemon knows nothing of."""
    keys = world.key_list()
    entries = [key["label"] for key in keys if key["role"] != "ksk" or not revoked]
    assert len(set(entries)) == len(entries), "no key was made twice"  # a revoked key is an entry besides
    stored = world.daemon.cli_json("key", "list", CHILD, "--stored")["keys"]
    assert {key["id"] for key in stored} == {key["label"] for key in keys}, "none is left over"


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if not changes_denial(kind)])
def test_no_validator_notices(name: str, servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    kind = KINDS[name]
    world = start_rollover_world(servers, peer_dir, tsig_key, **kind.start)
    world.secure()
    witness = world.witness()
    before = world.states()
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
    drive_killing(world, before, kind.done)
    check_keys(world, revoked=name == "ksk revoked")
    witness.stop()


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if changes_denial(kind)])
def test_no_validator_notices_an_interrupted_change_of_denial(
    name: str, servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    """There and back, killed a little earlier or later in each reload; one chain or the other is served."""
    kind, chance = KINDS[name], Random(name)
    back = {setting: kind.start.get(setting) for setting in kind.change}
    hosts = "".join(f"host{number} A 192.0.2.{number}\n" for number in range(HOSTS))
    world = start_rollover_world(
        servers, peer_dir, tsig_key, zone=CHILD_ZONE + kind.more + hosts, **kind.start
    )
    world.secure()
    witness = world.witness()
    witness.opt_out = "nsec3_opt_out" in kind.change
    midway, after = 0, CUT_AFTER_S
    for _ in range(DENIAL_CUTS):
        world.configure(**kind.change)
        world.daemon.signal(signal.SIGHUP)
        time.sleep(after)
        world.daemon.kill()
        early = not kind.done(world)
        midway += early
        after *= chance.uniform(1.1, 1.5) if early else chance.uniform(0.5, 0.8)
        world.daemon.start()
        world.wait(lambda: kind.done(world), name)
        world.configure(**back)
        world.reload()
        world.wait(lambda: not kind.done(world), f"back from {name}")
    print(f"{DENIAL_CUTS} kills, {midway} before the change was at the secondaries")
    assert midway, "no kill was before the change was at the secondaries"
    check_keys(world)
    time.sleep(LATE_S)
    witness.stop()


def test_no_validator_notices_a_zone_go_insecure_and_return(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    world = start_rollover_world(servers, peer_dir, tsig_key)
    world.secure()
    witness = world.witness()
    witness.insecure = True
    before = world.states()
    world.configure(signed=False)
    world.reload()
    drive_killing(world, before, lambda world: not world.present() and not world.ds())
    world.wait(lambda: witness.resolver.verdict(f"www.{CHILD}", "A") == ("NOERROR", False), "it is insecure")
    before = world.states()
    world.configure(signed=True)
    world.reload()
    drive_killing(world, before, lambda world: len(world.present()) == 2 and bool(world.ds()))
    world.wait(lambda: witness.resolver.verdict(f"www.{CHILD}", "A") == ("NOERROR", True), "it is secure")
    check_keys(world)
    witness.stop()


def test_validators_follow_a_ksk_without_a_parent(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    """RFC 5011: the hold-down continues over kills, and Unbound follows from the old KSK to the new one."""
    world = start_rollover_world(servers, peer_dir, tsig_key, island=True, rfc5011=True)
    world.wait(lambda: {k["dnskey"] for k in world.key_list()} == {"omnipresent"}, "the first keys")
    witness = world.follower()
    old = world.in_use("ksk")["tag"]
    before = world.states()
    assert world.daemon.cli(*roll("ksk")(world)).ok
    drive_killing(
        world,
        before,
        lambda world: world.dnskey_flags() == [256, 257] and old not in {k["tag"] for k in world.present()},
    )
    world.wait(lambda: witness.resolver.verdict(f"www.{CHILD}", "A") == ("NOERROR", True), "it is trusted")
    assert world.in_use("ksk")["tag"] != old
    witness.stop()
