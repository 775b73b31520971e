"""A changed configuration is applied as a whole or not at all, and no zone goes dark by a line that is missing."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.integration.smallzone import ZONE, small_zone, wait_event
from tests.peers.dnssecd import Dnssecd
from tests.peers.nsd import Nsd
from tests.peers.process import Servers, wait_until
from tests.peers.tsig import TsigKey
from tests.peers.world import World, start_world

pytestmark = pytest.mark.integration


@pytest.fixture
def world(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> World:
    made = start_world(servers, peer_dir, tsig_key, ZONE, small_zone(), kinds=(Nsd,))
    assert made.daemon.wait_serial_other_than(ZONE, None) == 1
    made.secondaries["nsd"].wait_serial(ZONE, 1)
    return made


def second_zone(daemon: Dnssecd, home: Path) -> None:
    """Add second.test. to the configuration file."""
    path = home / "second.zone"
    path.write_text(small_zone().replace(ZONE, "second.test."))
    daemon.config["zone"]["second.test."] = {**daemon.config["zone"][ZONE], "file": path, "secondaries": []}
    daemon.write_config()


def test_a_zone_is_added_and_removed_while_another_is_served(world: World, peer_dir: Path) -> None:
    daemon = world.daemon
    second_zone(daemon, peer_dir)
    assert "second.test." in daemon.cli("config", "diff").out
    assert daemon.cli("config", "reload").ok
    assert daemon.wait_serial_other_than("second.test.", None) == 1
    del daemon.config["zone"]["second.test."]
    daemon.write_config()
    refused = daemon.cli("config", "reload")
    assert refused.status == 1
    assert "--remove second.test." in refused.text
    assert daemon.serial("second.test.") == 1
    assert daemon.cli("config", "reload", "--remove", "second.test.").ok
    assert daemon.serial("second.test.") is None
    assert daemon.serial(ZONE) == 1


def test_a_faulty_file_changes_nothing_and_every_fault_is_named(world: World, peer_dir: Path) -> None:
    daemon = world.daemon
    second_zone(daemon, peer_dir)
    daemon.config["policy"]["default"]["denail"] = "nsec"
    daemon.config["zone"]["second.test."]["policy"] = "none"
    daemon.write_config()
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGHUP)
    wait_event(daemon, "config-rejected", "")
    told = daemon.cli("check-config").text
    assert "denail" in told
    assert '"none"' in told
    assert daemon.serial("second.test.") is None
    assert daemon.serial(ZONE) == 1
    del daemon.config["policy"]["default"]["denail"]
    daemon.config["zone"]["second.test."]["policy"] = "default"
    daemon.write_config()
    daemon.process.send_signal(signal.SIGHUP)
    wait_event(daemon, "config-rejected", "", firing=False)
    assert daemon.wait_serial_other_than("second.test.", None) == 1


def test_what_needs_a_restart_is_refused(world: World) -> None:
    daemon = world.daemon
    daemon.config["server"]["listen"] = ["127.0.0.1:1"]
    daemon.write_config()
    refused = daemon.cli("config", "reload")
    assert refused.status == 1
    assert "restart" in refused.text
    assert daemon.serial(ZONE) == 1


def test_a_stored_zone_without_configuration_is_still_served(world: World, peer_dir: Path) -> None:
    daemon, secondary = world.daemon, world.secondaries["nsd"]
    second_zone(daemon, peer_dir)
    daemon.stop()
    lost = daemon.config["zone"].pop(ZONE)
    daemon.start()
    assert daemon.serial(ZONE) == 1
    wait_event(daemon, "zone-not-configured")
    reloaded = daemon.cli("zone", "reload", ZONE)
    assert reloaded.status == 1
    assert f"config reload --remove {ZONE}" in reloaded.text
    secondary.stop()
    secondary.start()
    secondary.wait_serial(ZONE, 1)
    assert daemon.zone_content(ZONE) == secondary.zone_content(ZONE)
    daemon.stop()
    daemon.config["zone"][ZONE] = lost
    daemon.start()
    wait_event(daemon, "zone-not-configured", firing=False)
    world.put(small_zone(2, "new A 192.0.2.9\n"))
    secondary.wait_serial(ZONE, 2)
    refused = daemon.cli("config", "reload", "--remove", ZONE)
    assert refused.status == 1
    assert "still has" in refused.text
    assert daemon.serial(ZONE) == 2


def test_a_stored_zone_without_configuration_is_removed_on_request(world: World, peer_dir: Path) -> None:
    daemon = world.daemon
    second_zone(daemon, peer_dir)
    daemon.stop()
    del daemon.config["zone"][ZONE]
    daemon.start()
    wait_event(daemon, "zone-not-configured")
    unknown = daemon.cli("config", "reload", "--remove", "other.test.")
    assert unknown.status == 1
    assert "other.test." in unknown.text
    assert daemon.cli_json("config", "reload", "--remove", ZONE)["removed"] == [ZONE]
    assert daemon.serial(ZONE) is None
    wait_event(daemon, "zone-not-configured", firing=False)
    daemon.stop()
    daemon.start()
    assert daemon.serial(ZONE) is None


def test_signatures_are_renewed_before_they_expire(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    policy = {
        "signature_validity": "40s",
        "signature_refresh": "25s",
        "signature_jitter": "4s",
        "signature_inception": "-1s",
        "dnskey_ttl": "5s",
    }
    text = small_zone().replace("$TTL 300", "$TTL 5").replace("604800 60", "604800 5")
    world = start_world(servers, peer_dir, tsig_key, ZONE, text, kinds=(Nsd,), policy=policy)
    daemon = world.daemon
    first = daemon.wait_serial_other_than(ZONE, None)
    made = daemon.metric("dnssecd_signatures_total")
    earliest = daemon.metric("dnssecd_zone_rrsig_earliest_expiration_timestamp_seconds", zone=ZONE)
    second = daemon.wait_serial_other_than(ZONE, first, timeout=60)
    assert second > first
    world.secondaries["nsd"].wait_serial(ZONE, second)
    wait_until(
        lambda: (
            daemon.metric("dnssecd_zone_rrsig_earliest_expiration_timestamp_seconds", zone=ZONE) > earliest
        ),
        "the earliest expiration moves on",
        60,
    )
    assert daemon.metric("dnssecd_signatures_total") < 3 * made
