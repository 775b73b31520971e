"""Bad input never reaches the public: the last good version is served, and the fault is named where people look."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.smallzone import ZONE, alert_text, small_zone, wait_event
from tests.peers.dnssecd import replace_file, settled
from tests.peers.process import Servers, wait_until
from tests.peers.tsig import TsigKey
from tests.peers.world import World, start_world
from tests.peers.zones import difference, unsigned_content

pytestmark = pytest.mark.integration

# (what is wrong, what the file is then, what `status` must name)
FAULTS = [
    ("cut in a record", small_zone(2)[:-25] + " (", "input.zone"),
    ("garbage", "\0\1\2 not a zone\n", "input.zone"),
    (
        "an address that is none",
        small_zone(2, "bad A 192.0.2.999\n"),
        f"input.zone:{small_zone().count(chr(10)) + 1}",
    ),
    ("no SOA", "\n".join(line for line in small_zone(2).splitlines() if "SOA" not in line) + "\n", "SOA"),
    ("no NS at the apex", small_zone(2).replace("@ NS ns1\n", ""), "NS"),
    ("CNAME and other data", small_zone(2, "host1 CNAME host2\n"), "CNAME"),
    ("empty", "", "input.zone"),
]


@pytest.fixture
def world(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> World:
    """The small zone, published at serial 1; no secondaries: what is served is asked of the daemon."""
    world = start_world(servers, peer_dir, tsig_key, ZONE, small_zone(), kinds=())
    assert world.daemon.wait_serial_other_than(ZONE, None) == 1
    return world


def test_each_fault_is_named_and_the_last_good_version_served(world: World) -> None:
    daemon = world.daemon
    good = daemon.zone_content(ZONE)
    for what, text, named in FAULTS:
        replace_file(world.input, text)
        wait_event(daemon, "input-error")
        assert named in alert_text(daemon), what
        assert daemon.zone_content(ZONE) == good, what
        if text.endswith("\n"):  # else it may still be being written, and a reload waits to see
            assert not daemon.cli("zone", "reload", ZONE).ok, what
        replace_file(world.input, small_zone())
        wait_event(daemon, "input-error", firing=False)
    assert daemon.serial(ZONE) == 1, "coming back to what is served already is no change"
    replace_file(world.input, small_zone(2, "late A 192.0.2.7\n"))
    assert daemon.wait_serial_other_than(ZONE, 1) == 2


def test_a_file_that_is_gone_or_unreadable_takes_nothing_away(world: World) -> None:
    daemon = world.daemon
    world.input.unlink()
    world.input.mkdir()
    assert not daemon.cli("zone", "reload", ZONE).ok
    assert "input.zone" in alert_text(daemon)
    assert daemon.serial(ZONE) == 1
    world.input.rmdir()
    replace_file(world.input, small_zone(2))
    assert daemon.wait_serial_other_than(ZONE, 1) == 2
    wait_event(daemon, "input-error", firing=False)


def test_a_file_written_in_place_bit_by_bit_is_taken_when_it_is_whole(world: World) -> None:
    """Whatever is read between the writes is either not taken (cut) or an honest smaller zone, never garbage."""
    daemon = world.daemon
    whole = small_zone(9, "last TXT end\n")
    with world.input.open("w") as out:
        for start in range(0, len(whole), 200):
            out.write(whole[start : start + 200])
            out.flush()
    wait_until(lambda: daemon.serial(ZONE) == 9, "the whole file is published", 20)
    wanted = {line for line in unsigned_content(daemon.zone_content(ZONE)) if line.startswith("last.")}
    assert wanted == {'last.small.test. 300 IN TXT "end"'}


def test_the_delta_guard_holds_back_and_can_be_overridden(world: World) -> None:
    daemon = world.daemon
    good = daemon.zone_content(ZONE)
    replace_file(world.input, small_zone(2, names=20))
    wait_event(daemon, "delta-guard")
    assert daemon.zone_content(ZONE) == good
    assert "--accept-change" in daemon.cli("status", ZONE).text
    accepted = daemon.cli("zone", "reload", ZONE, "--accept-change")
    assert accepted.ok, accepted
    assert daemon.wait_serial_other_than(ZONE, 1) == 2
    wait_event(daemon, "delta-guard", firing=False)
    assert "delta guard overridden" in daemon.cli("zone", "history", ZONE).text, (
        "who let it pass is on record"
    )


def test_dnssec_records_of_the_input_are_left_out_and_counted(world: World, peer_dir: Path) -> None:
    daemon = world.daemon
    signed = peer_dir / "signed.zone"
    daemon.export(ZONE, signed)
    exported = signed.read_text()
    before = unsigned_content(daemon.zone_content(ZONE))
    replace_file(world.input, exported.replace(" 1 3600 600 ", " 5 3600 600 "))
    wait_until(
        lambda: daemon.metric("dnssecd_zone_stripped_records_total") > 0, "stripped records counted", 20
    )
    assert difference(before, unsigned_content(daemon.zone_content(ZONE))) == ""
    assert sum(" IN DNSKEY " in line for line in daemon.zone_content(ZONE)) == 2


def test_an_unchanged_reload_changes_and_signs_nothing(world: World) -> None:
    daemon = world.daemon
    made = daemon.metric("dnssecd_signatures_total")
    for text in (small_zone(), small_zone() + "; a comment\n\n", small_zone().replace("host7 ", "HOST7 ")):
        replace_file(world.input, text)
        reloaded = daemon.cli("zone", "reload", ZONE)
        assert reloaded.ok, reloaded
    settled(lambda: daemon.serial(ZONE), 0.5)
    assert daemon.serial(ZONE) == 1
    assert daemon.metric("dnssecd_signatures_total") == made
