"""Keys roll over while owners die, are paused and drained, under a load of updates: validators notice nothing.

Unbound is asked ten times a second. It trusts the key of the parent alone, which gets its DS by the nodes' own dynamic
updates: an earlier owner that went on would take a DS away again.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.cluster.daemons import Cluster
from tests.integration.cluster.nemesis import Checker, Load
from tests.integration.hsm.softhsm import SoftHsm
from tests.integration.rollover_world import CHILD, CHILD_ZONE, FAST, PARENT, RolloverWorld, SignedParent
from tests.peers.nameserver import PrimaryZone
from tests.peers.postgres import Postgres
from tests.peers.process import LOOPBACK, PeerError, Servers, wait_until
from tests.peers.tools import dig
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.timeout(3600)]
LEASE_S = 6
#: Signatures have to outlast a take-over. DS stay at the parent for longer than the policy says.
POLICY = {
    **FAST,
    "signature_validity": "90s",
    "signature_refresh": "60s",
    "signature_jitter": "4s",
    "ksk": {"algorithm": "ecdsap256sha256", "lifetime": "unlimited"},
}
TAKEN_S, STEP_S, ROLLED_S = 120.0, 300.0, 600.0
ALGORITHM = "ed25519"


class World:
    """Three nodes with a token that all reach, the parent, BIND as secondary of all nodes."""

    def __init__(self, servers: Servers, home: Path, postgres: Postgres, hsm: SoftHsm, key: TsigKey) -> None:
        parent_file = home / "parent.zone"
        parent_file.write_text(
            f"$ORIGIN {PARENT}\n$TTL 2\n@ SOA ns me 1 3600 600 604800 2\n@ NS ns\nns A {LOOPBACK}\n"
            f"roll NS ns1.roll\nns1.roll A {LOOPBACK}\n"
        )
        self.parent = servers.start(
            SignedParent(home / "parent", [PrimaryZone(PARENT, parent_file, key, updates=True)])
        )
        wait_until(
            lambda: "RRSIG" in dig(self.parent.port, PARENT, "SOA", "+dnssec").out, "the parent is signed"
        )
        self.cluster = Cluster(
            home, postgres, hsm, key, ("a", "b", "c"), (CHILD,), take_over_after=f"{LEASE_S}s"
        )
        self.cluster.ttl = 6
        for node in self.cluster.nodes.values():
            self.configure(node.config)
            Path(node.config["zone"][CHILD]["file"]).write_text(CHILD_ZONE)
            servers.start(node)
        servers.start(self.cluster.secondary)
        owner = self.cluster.wait_owner(CHILD, 120)
        first = self.cluster.nodes[owner]
        first.wait_serial_other_than(CHILD, None, 60)
        self.rolls = RolloverWorld(home, key, self.parent, {"named": self.cluster.secondary}, first, servers)

    def configure(self, config: dict) -> None:  # type: ignore[type-arg]
        config["server"]["clock_tolerance"] = "2s"
        config["policy"]["default"] |= POLICY
        config["zone"][CHILD]["parent"] = {
            "servers": [self.parent.address],
            "push": self.parent.address,
            "push_tsig": self.cluster.key.name,
        }

    def owner(self) -> str:
        """The owner; commands go to it from now on."""
        name = wait_until(lambda: self.cluster.owner(CHILD), "the zone has an owner", TAKEN_S)
        self.rolls.daemon = self.cluster.nodes[name]
        return str(name)

    def taken_from(self, earlier: str) -> None:
        """Wait until another node makes versions, and takes an update."""
        new = self.cluster.wait_owner(CHILD, TAKEN_S, other_than=earlier)
        number = int(time.time() * 10)
        wait_until(
            lambda: self.cluster.takes(new, f"taken{number}", zone=CHILD),
            "it takes updates",
            TAKEN_S,
        )

    def kill(self) -> None:
        owner = self.owner()
        self.cluster.nodes[owner].kill()
        self.taken_from(owner)
        self.cluster.nodes[owner].start()

    def pause(self) -> None:
        """It wakes with the plan of before, and perhaps a push that it had begun."""
        owner = self.owner()
        os.killpg(self.cluster.nodes[owner].pid, signal.SIGSTOP)
        try:
            self.taken_from(owner)
        finally:
            os.killpg(self.cluster.nodes[owner].pid, signal.SIGCONT)

    def drain(self) -> None:
        owner = self.owner()
        # As `node drain` and `node resume` do.
        self.cluster.sql(f"UPDATE node SET draining = true WHERE name = '{owner}'")
        self.taken_from(owner)
        self.cluster.sql(f"UPDATE node SET draining = false WHERE name = '{owner}'")

    def roll(
        self, begin: Callable[[], None], faults: list[Callable[[], None]], done: Callable[[], bool]
    ) -> None:
        """Begin a rollover; a fault at each of its first steps; wait until it is done."""
        self.owner()
        seen = [self.rolls.states()]

        def stepped() -> bool:
            now = self.states()
            return bool(now) and (now != seen[-1] or done())

        def ended() -> bool:
            return bool(self.states()) and self.rolls.is_settled() and done()

        begin()
        for fault in faults:
            self.rolls.wait(self.patient(stepped), "a step of the rollover", STEP_S)
            fault()
            seen.append(self.states() or seen[-1])
        self.rolls.wait(self.patient(ended), "it is done", ROLLED_S)

    @staticmethod
    def patient(probe: Callable[[], bool]) -> Callable[[], bool]:
        """Ask again when a command takes too long: its node may have been killed meanwhile."""

        def asked() -> bool:
            try:
                return probe()
            except PeerError:
                return False

        return asked

    def states(self) -> str:
        self.owner()
        try:
            return self.rolls.states()
        except PeerError:
            return ""

    def command(self, *words: str) -> None:
        wait_until(lambda: self.cluster.nodes[self.owner()].cli(*words).ok, f"{words} is done", TAKEN_S)

    def change_algorithm(self) -> None:
        pair = {role: {"algorithm": ALGORITHM, "lifetime": "unlimited"} for role in ("ksk", "zsk")}
        for node in self.cluster.nodes.values():
            node.config["policy"]["default"] |= pair
            node.write_config()
            node.signal(signal.SIGHUP)

    def tags(self, role: str) -> set[int]:
        return {key["tag"] for key in self.rolls.present() if key["role"] == role}


@pytest.mark.parametrize("what", ["ksk", "zsk", "algorithm"])
def test_keys_roll_while_owners_change(
    what: str,
    servers: Servers,
    peer_dir: Path,
    postgres: Postgres,
    tsig_key: TsigKey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    hsm = SoftHsm(peer_dir / "hsm")
    hsm.make_token("dns")
    world = World(servers, peer_dir, postgres, hsm, tsig_key)
    rolls = world.rolls
    rolls.wait(lambda: rolls.ds() and rolls.is_settled(), "the zone is secure", STEP_S)
    witness = rolls.witness()
    checker = Checker(world.cluster, CHILD)
    with Load(checker):
        world.owner()
        old = world.tags(what)
        if what == "algorithm":
            world.roll(
                world.change_algorithm,
                [world.drain, world.kill, world.pause],
                lambda: {key["algorithm"] for key in rolls.present()} == {15},
            )
        else:
            world.roll(
                lambda: world.command("key", "rollover", CHILD, "--role", what),
                [world.kill, world.pause],
                lambda: len(world.tags(what)) == 1 and not world.tags(what) & old,
            )
    checker.settle()
    witness.stop()
    assert not checker.faults, checker.faults
    assert len(rolls.ds()) == 1
    print(
        f"{what}: {len(checker.answered)} of {checker.sent} updates answered NOERROR; "
        f"{sum(witness.verdicts.values())} answers of Unbound, none bogus: {dict(witness.verdicts)}"
    )
