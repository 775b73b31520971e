"""``kill -9`` at random moments of loads and edits: the old version or the new one, never a third.

The moments are random on purpose (the seed is printed): the test waits a random while and kills, whatever
the daemon is at. That each single write point is safe is shown by the store's own tests.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.peers.dnssecd import Dnssecd
from tests.peers.process import Servers
from tests.peers.rootzone import RootEditor, root_version
from tests.peers.tools import dnssec_verify, ldns_verify_zone
from tests.peers.tsig import TsigKey
from tests.peers.world import World, start_world
from tests.peers.zones import soa_serial, unsigned_content, zone_file

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

FIRST_LOAD_ROUNDS = 4
SEED = 20
LONGEST_SECONDS = 1.2  # from an edit to the kill: beyond the time an edit takes to be published


def kill(daemon: Dnssecd, chance: random.Random) -> None:
    """The whole process group as systemd does it, or the front process alone as an operator does it."""
    if chance.random() < 0.5:
        daemon.kill()
    else:
        daemon.kill_alone()


def judge(world: World, content: set[str]) -> None:
    path = world.home / "judged.zone"
    path.write_text("\n".join(sorted(content)) + "\n")
    for referee in (dnssec_verify, ldns_verify_zone):
        verdict = referee(path, world.zone)
        assert verdict.ok, verdict


@pytest.mark.parametrize(
    "rounds", [20, pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])]
)
def test_kills_during_edits(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey, shared: Path, rounds: int
) -> None:
    first = root_version(shared, 12)
    chance = random.Random(SEED)
    world = start_world(servers, peer_dir, tsig_key, ".", first)
    daemon, zone = world.daemon, world.zone
    published = daemon.wait_serial_other_than(zone, None, 60)
    world.check_agreement(published)
    survived = 0
    for round_, edit in enumerate(RootEditor(first, SEED).edits(rounds)):
        before = world.history[published]
        world.put(edit.text)
        moment = chance.uniform(0, LONGEST_SECONDS)
        time.sleep(moment)
        kill(daemon, chance)
        daemon.start()
        # What was committed without a note of how the file was left is verified before it is served.
        daemon.wait_serial_other_than(zone, None)
        found = daemon.zone_content(zone)
        label = f"round {round_} (seed {SEED}, {edit.what}, killed after {moment:.3f} s)"
        if soa_serial(found) == published:
            assert found == before, f"{label}: serial {published} came back with other content"
        judge(world, found)
        wanted = unsigned_content(zone_file(world.input, zone))
        if unsigned_content(found) != wanted:
            assert soa_serial(found) == published, f"{label}: a third version"
            daemon.wait_serial_other_than(zone, published)
        else:
            survived += soa_serial(found) != published
        published = daemon.serial(zone) or 0
        world.check_agreement(published)
    print(f"{survived} of {rounds} edits were published before the kill (or by the start)")
    world.check_export_and_referees(world.history[published])
    world.check_followed_by_ixfr()
    world.check_ixfr_from_every_serial()


def test_kills_during_the_first_load(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey, shared: Path
) -> None:
    """A zone that was never published is published once and whole, with one pair of keys."""
    chance = random.Random(SEED)
    first = root_version(shared, 12)
    world = start_world(servers, peer_dir, tsig_key, ".", first, start_daemon=False)
    for _ in range(FIRST_LOAD_ROUNDS):
        world.daemon.spawn()
        time.sleep(chance.uniform(0.3, 4.0))
        kill(world.daemon, chance)
    world.daemon.start()
    published = world.daemon.wait_serial_other_than(".", None, 60)
    served = world.check_agreement(published)
    world.check_export_and_referees(served)
    keys = world.daemon.cli_json("key", "list")["keys"]
    assert sorted(key["role"] for key in keys) == ["ksk", "zsk"]
    assert sum(" IN DNSKEY " in line for line in served) == 2
