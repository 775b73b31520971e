"""Never a second truth: before a zone's first publication the daemon looks what is out there already."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.smallzone import ZONE, alert_text, small_zone, unsigned_zone_file, wait_event
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config, settled
from tests.peers.named import Named
from tests.peers.nameserver import PrimaryZone
from tests.peers.nsd import Nsd
from tests.peers.process import LOOPBACK, Servers, free_port, wait_until
from tests.peers.tools import dnssec_signzone
from tests.peers.tsig import TsigKey
from tests.peers.world import start_world

pytestmark = pytest.mark.integration


def daemon_beside(servers: Servers, home: Path, key: TsigKey, secondary_port: int) -> Dnssecd:
    """A daemon with the small zone, started, whose one secondary is the server at ``secondary_port``."""
    (home / "input.zone").write_text(small_zone())
    config = daemon_config(
        home, DaemonPorts.free(), key, {ZONE: home / "input.zone"}, {"public": secondary_port}
    )
    return servers.start(Dnssecd(home / "dnssecd", config, key))


def daemon_below(
    servers: Servers, home: Path, key: TsigKey, parent_port: int, source: str = "file"
) -> Dnssecd:
    """A daemon with the small zone, started, whose parent is the server at ``parent_port``."""
    (home / "input.zone").write_text(small_zone())
    config = daemon_config(home, DaemonPorts.free(), key, {ZONE: home / "input.zone"})
    config["zone"][ZONE] |= {"parent": {"servers": [f"{LOOPBACK}:{parent_port}"]}, "source": source}
    return servers.start(Dnssecd(home / "dnssecd", config, key))


def test_a_zone_signed_by_others_is_not_published(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    theirs = dnssec_signzone(unsigned_zone_file(peer_dir, 5), ZONE, peer_dir)
    public = servers.start(Named(peer_dir / "public", [PrimaryZone(ZONE, theirs, tsig_key)]))
    daemon = daemon_beside(servers, peer_dir, tsig_key, public.port)
    wait_event(daemon, "foreign-dnskey")
    assert settled(lambda: daemon.serial(ZONE), 1.0) is None
    text = alert_text(daemon) + daemon.cli("status").text
    assert "key import" in text, "says how to adopt the zone"


def test_the_first_serial_exceeds_what_secondaries_serve(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    theirs = unsigned_zone_file(peer_dir, 700)
    public = servers.start(Named(peer_dir / "public", [PrimaryZone(ZONE, theirs, tsig_key)]))
    daemon = daemon_beside(servers, peer_dir, tsig_key, public.port)
    assert daemon.wait_serial_other_than(ZONE, None) == 701


def test_a_secondary_that_was_down_gets_the_zone_when_it_returns(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    world = start_world(servers, peer_dir, tsig_key, ZONE, small_zone(), kinds=(Nsd,))
    second = world.secondaries["nsd"]
    assert world.daemon.wait_serial_other_than(ZONE, None) == 1
    second.wait_serial(ZONE, 1)
    second.kill()
    world.put(small_zone(2, "new A 192.0.2.9\n"))
    assert world.daemon.wait_serial_other_than(ZONE, 1) == 2
    wait_event(world.daemon, "secondary-unreachable")
    second.start()
    second.wait_serial(ZONE, 2, timeout=60)
    wait_event(world.daemon, "secondary-unreachable", firing=False, timeout=60)
    status = world.daemon.zone_status(ZONE)["secondaries"]
    assert [(each["name"], each["serial"]) for each in status] == [("nsd", 2)]


def test_secondaries_that_missed_a_version_are_notified_after_a_restart(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    world = start_world(servers, peer_dir, tsig_key, ZONE, small_zone())
    daemon = world.daemon
    assert daemon.wait_serial_other_than(ZONE, None) == 1
    for second in world.secondaries.values():
        second.wait_serial(ZONE, 1)
        second.kill()
    world.put(small_zone(2, "new A 192.0.2.9\n"))
    assert daemon.wait_serial_other_than(ZONE, 1) == 2
    daemon.stop()
    for second in world.secondaries.values():
        second.start()
    daemon.start()
    for second in world.secondaries.values():
        second.wait_serial(ZONE, 2)
    wait_until(lambda: daemon.metric("dnssecd_notify_total", result="answered") == 3, "all answer a NOTIFY")


def test_a_parent_that_cannot_be_asked_makes_the_first_publication_wait(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    daemon = daemon_below(servers, peer_dir, tsig_key, free_port())
    wait_event(daemon, "first-publication-waiting")
    assert daemon.serial(ZONE) is None
    released = daemon.cli("zone", "reload", ZONE, "--first-publication")
    assert released.ok, released
    assert daemon.wait_serial_other_than(ZONE, None) == 1
    wait_event(daemon, "first-publication-waiting", firing=False)


def test_a_person_releases_the_first_publication_of_a_dynamic_zone(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    """The remedy that the alert names works for it as well; later its file is read no more, nor when it is frozen."""
    daemon = daemon_below(servers, peer_dir, tsig_key, free_port(), source="dynamic")
    wait_event(daemon, "first-publication-waiting")
    assert daemon.cli("zone", "freeze", ZONE).ok
    assert daemon.zone_status(ZONE)["frozen"]
    assert f"zone thaw {ZONE}" in daemon.cli("status").out
    assert "frozen" in daemon.cli("zone", "reload", ZONE, "--first-publication").text
    assert daemon.serial(ZONE) is None
    assert daemon.cli("zone", "thaw", ZONE).ok
    assert daemon.cli("zone", "reload", ZONE, "--first-publication").ok
    assert daemon.wait_serial_other_than(ZONE, None) == 1
    again = daemon.cli("zone", "reload", ZONE)
    assert again.status == 1
    assert "zone import" in again.text


def test_a_ds_of_others_at_the_parent_stops_the_first_publication(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    parent_file = peer_dir / "test.zone"
    ds = f"small DS 60485 13 2 {'D4B7D520' * 8}\n"
    head = "$ORIGIN test.\n$TTL 300\n@ SOA ns me 1 3600 600 604800 60\n@ NS ns\nns A 127.0.0.1\nsmall NS ns1.small\n"
    parent_file.write_text(head + "ns1.small A 127.0.0.1\n" + ds)
    parent = servers.start(Named(peer_dir / "parent", [PrimaryZone("test.", parent_file, tsig_key)]))
    daemon = daemon_below(servers, peer_dir, tsig_key, parent.port)
    wait_event(daemon, "ds-mismatch")
    assert settled(lambda: daemon.serial(ZONE), 1.0) is None
    assert "60485" in alert_text(daemon)
