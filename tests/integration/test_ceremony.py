"""Off-line KSKs in real time: two ceremonies, with a ZSK and a KSK rollover, and a validator that always asks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.integration.ceremony_machine import VAULT, CeremonyMachine, wait_ready
from tests.integration.rollover_world import CHILD, RolloverWorld, start_rollover_world
from tests.peers.dnssecd import Dnssecd
from tests.peers.process import Servers
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

ZSK = {"algorithm": "ecdsap256sha256", "lifetime": "16s"}
POLICY = {"ksk": {"keystore": "vault"}, "zsk": ZSK, "dnskey_ttl": "2s"}
SOAK_CEREMONIES = 8


def start(machine: CeremonyMachine, servers: Servers, home: Path, key: TsigKey) -> RolloverWorld:
    """Hold the first ceremony of a zone; return when the parent has its DS."""
    first = machine.keygen()

    def begin(daemon: Dnssecd) -> None:
        wait_ready(daemon, CHILD)
        machine.hold(daemon, "+60s", accept=first)

    world = start_rollover_world(servers, home, key, keystores=VAULT, begin=begin, **POLICY)

    def is_secure() -> bool:
        cds = world.cds()
        if cds and cds != world.ds():
            world.set_ds(cds)
        return bool(cds) and world.in_use("ksk")["ds"] == "omnipresent"

    world.wait(is_secure, "the zone is secure")
    return world


def roll_ksk(world: RolloverWorld, machine: CeremonyMachine, period: str) -> None:
    """Make a KSK, hold a ceremony, and wait until the new KSK took the place of the old one."""
    old = world.in_use("ksk")["tag"]
    new = machine.keygen()
    machine.hold(world.daemon, period)
    cds = world.wait_cds_new()
    assert cds[0].startswith(f"{new} ")
    world.set_ds(cds)

    def states() -> dict[int, str]:
        return {key["tag"]: key["dnskey"] for key in world.key_list() if key["role"] == "ksk"}

    world.wait(lambda: (states().get(old), states()[new]) == ("hidden", "omnipresent"), "the KSK rolled over")


def test_two_ceremonies_with_a_zsk_and_a_ksk_rollover(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    machine = CeremonyMachine(peer_dir / "ceremony", CHILD)
    world = start(machine, servers, peer_dir, tsig_key)
    witness = world.witness()
    old_zsk = world.in_use("zsk")["tag"]
    roll_ksk(world, machine, "+120s")
    world.wait(
        lambda: world.in_use("zsk")["tag"] != old_zsk, "the ZSK rolls over within what was signed ahead"
    )
    witness.stop()


@pytest.mark.soak
@pytest.mark.timeout(1_800)
def test_many_ceremonies_with_restarts_and_refused_responses(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    machine = CeremonyMachine(peer_dir / "ceremony", CHILD)
    world = start(machine, servers, peer_dir, tsig_key)
    witness = world.witness()
    retired: set[int] = set()
    for number in range(SOAK_CEREMONIES):
        hidden = {
            key["tag"] for key in world.key_list() if key["role"] == "ksk" and key["dnskey"] == "hidden"
        }
        gone = sorted(hidden - retired)
        if gone and number % 2:
            machine.retire(gone[0])
            retired.add(gone[0])
            roll_ksk(world, machine, "+120s")
        else:
            response = machine.sign(*machine.export(world.daemon, "+120s"))
            text = response.read_text()
            spoilt = response.with_suffix(".bad")
            spoilt.write_text(text.replace('"ttl": 2,', '"ttl": 3,', 1))
            refused = world.daemon.cli("skr", "import", str(spoilt))
            assert refused.status == 1, refused
            world.daemon.stop()
            world.daemon.start()
            # The key service is ready some time after the daemon.
            take_in = partial(world.daemon.cli, "skr", "import", str(response))
            world.wait(lambda take_in=take_in: take_in().ok, "the response is imported")
            if not gone and number == 0:
                roll_ksk(world, machine, "+120s")
    witness.stop()


@pytest.mark.soak
def test_a_ksk_moves_off_line(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    machine = CeremonyMachine(peer_dir / "ceremony", CHILD)
    world = start_rollover_world(servers, peer_dir, tsig_key, keystores=VAULT, dnskey_ttl="2s")
    world.secure()
    witness = world.witness()
    old, new = world.in_use("ksk")["tag"], machine.keygen()
    world.configure(ksk={"keystore": "vault"})
    world.reload()
    world.wait(lambda: "ksr keygen" in world.daemon.cli("explain", CHILD).out, "the KSK waits for a ceremony")
    machine.hold(world.daemon, "+120s", accept=new)
    cds = world.wait_cds_new()
    assert cds[0].startswith(f"{new} ")
    world.set_ds(cds)

    def states() -> dict[int, tuple[str, str]]:
        keys = world.key_list()
        return {key["tag"]: (key["keystore"], key["dnskey"]) for key in keys if key["role"] == "ksk"}

    moved = {old: ("local", "hidden"), new: ("vault", "omnipresent")}
    world.wait(lambda: states() == moved, "the KSK is off-line")
    witness.stop()
