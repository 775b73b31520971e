"""How zones went dark by going back: a stand-by with other keys, a serial that fell. With a real secondary (NSD)."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from tests.integration.smallzone import ZONE, small_zone, wait_event
from tests.peers.dnssecd import Dnssecd
from tests.peers.nsd import Nsd
from tests.peers.process import LOOPBACK, Servers, free_port
from tests.peers.tools import Result
from tests.peers.tsig import TsigKey
from tests.peers.world import World, start_world

pytestmark = pytest.mark.integration


@pytest.fixture
def world(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> World:
    made = start_world(servers, peer_dir, tsig_key, ZONE, small_zone(), kinds=(Nsd,))
    assert made.daemon.wait_serial_other_than(ZONE, None) == 1
    made.secondaries["nsd"].wait_serial(ZONE, 1)
    (peer_dir / "passphrase").write_text("correct horse battery\n")
    return made


def back_up(world: World, name: str, *more: str) -> Path:
    path = world.home / name
    done = world.daemon.cli("backup", "-o", str(path), *more)
    assert done.ok, done
    return path


def with_keys(world: World) -> tuple[str, ...]:
    return ("--keys", "--passphrase-file", str(world.home / "passphrase"))


def edit(world: World, serial: int) -> None:
    """A version of the zone with this serial, at the secondary, too."""
    world.put(small_zone(serial, f"new{serial} A 192.0.2.9\n"))
    assert world.daemon.wait_serial_other_than(ZONE, serial - 1) == serial
    world.secondaries["nsd"].wait_serial(ZONE, serial)


def restore(daemon: Dnssecd, path: Path, *more: str) -> Result:
    daemon.write_config()
    return daemon.cli("restore", str(path), *more)


def came_back(world: World) -> set[str]:
    """Serial 4 is what was restored, above the secondary's 3; then comes what the zone file has had since."""
    world.secondaries["nsd"].wait_serial(ZONE, 5)
    published = [event["serial"] for event in world.daemon.log_events() if event["event"] == "zone published"]
    assert published[-2:] == [4, 5]
    return world.check_agreement(5)


def standby(world: World, servers: Servers) -> Dnssecd:
    """A second host, which the secondary takes for the primary once it runs."""
    home = world.home / "standby"
    home.mkdir()
    config: dict[str, Any] = copy.deepcopy(world.daemon.config)
    config["server"]["state_dir"] = home / "state"
    config["server"]["control_socket"] = home / "control.sock"
    config["keystore"]["local"]["directory"] = home / "keys"
    return servers.add(Dnssecd(home / "dnssecd", config, world.key))


def test_arin_2016_serial_went_backwards(world: World) -> None:
    """An older backup is refused by what the secondary serves; published it goes above, and is transferred."""
    old = back_up(world, "old.tar")
    edit(world, 2)
    edit(world, 3)
    in_use = restore(world.daemon, old)
    assert in_use.status == 1
    assert "another dnssecd process uses" in in_use.text
    world.daemon.stop()

    refused = restore(world.daemon, old)
    assert refused.status == 1
    assert "would decrease to 1: the state on this host has 3; nsd has 3" in refused.text
    assert "--raise-serial" in refused.text

    # The disk is lost: only the secondary knows of serial 3 now.
    database = Path(world.daemon.config["server"]["state_dir"]) / "zones" / "small.test.sqlite"
    kept = database.read_bytes()
    for path in database.parent.parent.rglob("*.sqlite*"):
        path.unlink()
    refused = restore(world.daemon, old)
    assert refused.status == 1
    assert "would decrease to 1: nsd has 3" in refused.text
    assert not database.exists()

    done = restore(world.daemon, old, "--raise-serial")
    assert done.ok, done
    assert "published above 3" in done.out
    assert database.read_bytes() != kept
    world.daemon.start()
    came_back(world)
    history = " ".join(world.daemon.cli("zone", "history", ZONE).out.split())
    assert "restored" in history
    assert "--raise-serial" in history


def test_apnic_2012_stand_by_signer_had_other_zsks(world: World, servers: Servers) -> None:
    """A standby whose keys nobody has publishes nothing, whatever is declared."""
    # A standby set up by hand: it signs the same zone with keys of its own.
    other = standby(world, servers)
    other.config["secondary"] = {}
    other.config["zone"][ZONE]["secondaries"] = []
    world.daemon.stop()
    other.start()
    assert other.wait_serial_other_than(ZONE, None) == 1
    theirs = world.home / "theirs.tar"
    assert other.cli("backup", "-o", str(theirs), *with_keys(world)).ok
    other.stop()

    second = servers.add(Dnssecd(world.home / "second", copy.deepcopy(world.daemon.config), world.key))
    second.config["server"]["state_dir"] = world.home / "second-state"
    second.config["keystore"]["local"]["directory"] = world.home / "second-keys"
    second.write_config()
    fenced = ("--standby", "--primary-fenced", *with_keys(world))
    refused = restore(second, theirs, *fenced)
    assert refused.status == 1
    assert "REFUSED (keys-not-live)" in refused.text
    assert "REFUSED (foreign-dnskey)" in refused.text
    assert "nsd does not have it in its DNSKEY RRset" in refused.text
    assert "A standby must not publish with other keys" in refused.text
    assert restore(second, theirs, *fenced, "--accept-other-keys").status == 2
    assert world.secondaries["nsd"].serial(ZONE) == 1


def test_a_stand_by_takes_over_with_the_live_keys_above_every_serial(world: World, servers: Servers) -> None:
    """It waits for a public server that does not answer, until a person says that this one is gone for good."""
    path = back_up(world, "backup.tar", *with_keys(world))
    edit(world, 2)
    edit(world, 3)
    keys = {line for line in world.secondaries["nsd"].zone_content(ZONE) if " IN DNSKEY " in line}
    world.daemon.stop()

    second = standby(world, servers)
    second.config["secondary"]["gone"] = {"address": f"{LOOPBACK}:{free_port()}", "tsig": world.key.name}
    second.config["zone"][ZONE]["secondaries"] = ["nsd", "gone"]
    not_fenced = restore(second, path, "--standby", *with_keys(world))
    assert not_fenced.status == 2
    assert "--standby --primary-fenced" in not_fenced.text
    without = restore(second, path, "--standby", "--primary-fenced")
    assert "REFUSED (keys-missing)" in without.text
    assert "--keys --passphrase-file" in without.text
    done = restore(second, path, "--standby", "--primary-fenced", *with_keys(world))
    assert done.ok, done
    assert "no answer from: gone" in done.out

    second.start()
    wait_event(second, "restored-waiting")
    assert second.serial(ZONE) is None
    assert (
        "it is unknown which version of small.test. these servers have: gone"
        in second.cli("explain", ZONE).text
    )
    assert second.cli("zone", "reload", ZONE, "--first-publication").ok
    world.daemon = second
    served = came_back(world)
    assert {line for line in served if " IN DNSKEY " in line} == keys
    assert not second.metric("dnssecd_event_firing", event="restored-waiting", zone=ZONE)
    history = " ".join(second.cli("zone", "history", ZONE).out.split())
    assert "--standby --primary-fenced" in history
    assert "first_publication=yes" in history
