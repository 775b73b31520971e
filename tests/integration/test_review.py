"""A version is published when its review says so; a file and a command follow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.smallzone import ZONE, alert_text, small_zone, wait_event
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config, replace_file
from tests.peers.process import Servers, wait_until
from tests.peers.tools import REFEREES
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

#: Reads from a file how it is to behave.
SCRIPT = """#!/bin/sh
mode=$(cat {home}/mode)
echo "$mode $DNSSECD_SERIAL $DNSSECD_PREVIOUS_SERIAL $DNSSECD_INPUT" >> {home}/reviews
case $mode in
  accept) cat > {home}/reviewed;;
  refuse) cat > /dev/null; echo "host9 is not ours"; exit 3;;
  hang) cat > /dev/null; sleep 600;;
  die) cat > /dev/null; echo "out of memory"; kill -9 $$;;
  lie) exit 0;;
esac
"""


class Reviewed:
    """A daemon with one zone, and everything that can surround a version."""

    def __init__(self, servers: Servers, home: Path, key: TsigKey, **keys: object) -> None:
        self.home = home
        self.input = home / "input.zone"
        self.output = home / "out/signed.zone"
        self.output.parent.mkdir()
        self.program = home / "review"
        self.be("accept")
        self.install()
        told = home / "published"
        told.write_text(f"#!/bin/sh\ncat >> {home}/told\n")
        told.chmod(0o755)
        self.input.write_text(small_zone())
        config = daemon_config(home, DaemonPorts.free(), key, {ZONE: self.input})
        config["zone"][ZONE] |= {
            "review": self.program,
            "review_timeout": "2s",
            "output_file": self.output,
            "published": told,
            **keys,
        }
        self.daemon = servers.start(Dnssecd(home / "dnssecd", config, key))

    def install(self) -> None:
        self.program.write_text(SCRIPT.format(home=self.home))
        self.program.chmod(0o755)

    def be(self, mode: str) -> None:
        replace_file(self.home / "mode", mode)

    def put(self, serial: int, extra: str = "") -> None:
        replace_file(self.input, small_zone(serial, extra))

    def follows(self, serial: int) -> None:
        """The file and the command have the version."""
        wait_until(lambda: f"hostmaster.{ZONE} {serial} " in self.written(), "the file has it", 30)
        wait_until(lambda: self.told()[-1:] == [serial], "the command was run", 30)

    def written(self) -> str:
        return self.output.read_text() if self.output.exists() else ""

    def told(self) -> list[int]:
        path = self.home / "told"
        return (
            [json.loads(line)["serial"] for line in path.read_text().splitlines() if line.endswith("}")]
            if path.exists()
            else []
        )


def test_a_program_has_the_last_word(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    zone = Reviewed(servers, peer_dir, tsig_key)
    daemon = zone.daemon
    assert daemon.wait_serial_other_than(ZONE, None) == 1
    zone.follows(1)
    assert zone.output.stat().st_mode & 0o777 == 0o644
    for referee in REFEREES:
        assert referee(zone.output, ZONE).ok
    assert zone.written() == (peer_dir / "reviewed").read_text()

    # It is gone: nothing is published without its verdict; what failed is tried again without a new input.
    zone.program.unlink()
    zone.put(2, "new2 A 192.0.2.9\n")
    wait_event(daemon, "review-failed")
    assert "No such file" in alert_text(daemon)
    assert daemon.serial(ZONE) == 1
    zone.install()
    assert daemon.wait_serial_other_than(ZONE, 1, 60) == 2
    wait_event(daemon, "review-failed", firing=False)
    zone.follows(2)

    # It says no, hangs, dies, or says yes to what it did not read: the last good version is served, with the reason.
    for serial, mode, event, said in (
        (3, "refuse", "review-rejected", "host9 is not ours"),
        (4, "hang", "review-failed", "within 2 s"),
        (5, "die", "review-failed", "out of memory"),
        (6, "lie", "review-failed", "before it had read all of its input"),
    ):
        zone.be(mode)
        zone.put(serial, f"new{serial} A 192.0.2.9\n")
        wait_event(daemon, event)
        wait_until(lambda text=said: text in alert_text(daemon), f"the reason is {said}", 30)
        assert daemon.serial(ZONE) == 2
    assert zone.told() == [1, 2]
    assert f"hostmaster.{ZONE} 2 " in zone.written()
    zone.be("accept")

    # A file that cannot be written stays as it was; the version is published all the same.
    zone.output.parent.rename(peer_dir / "away")
    zone.put(20, "new20 A 192.0.2.9\n")
    wait_event(daemon, "output-file-failed")
    assert daemon.serial(ZONE) == 20
    assert zone.told()[-1] == 2
    (peer_dir / "away").rename(zone.output.parent)
    wait_event(daemon, "output-file-failed", firing=False, timeout=60)
    zone.follows(20)

    # A restart writes nothing that is there, and runs nothing.
    before, told = zone.output.stat().st_ino, zone.told()
    daemon.stop()
    daemon.start()
    wait_until(lambda: '"zone unchanged"' in daemon.log_text().rpartition('"ready"')[2], "it is loaded", 60)
    assert zone.output.stat().st_ino == before
    assert zone.told() == told


def test_an_operator_decides(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    zone = Reviewed(servers, peer_dir, tsig_key, review="manual", review_input="difference")
    daemon = zone.daemon
    wait_event(daemon, "review-waiting")
    assert daemon.serial(ZONE) is None
    assert (peer_dir / "state/review/small.test.zone").exists()
    assert daemon.cli("zone", "approve", ZONE).ok
    assert daemon.serial(ZONE) == 1
    wait_event(daemon, "review-waiting", firing=False)
    assert not list((peer_dir / "state/review").iterdir())

    zone.put(2, "new A 192.0.2.9\n")
    wait_event(daemon, "review-waiting")
    assert "+new.small.test." in (peer_dir / "state/review/small.test.difference").read_text()
    assert daemon.cli("zone", "reject", ZONE).ok
    wait_event(daemon, "review-waiting", firing=False)
    wait_event(daemon, "review-rejected")
    again = daemon.cli("zone", "approve", ZONE)
    assert again.status == 1
    assert "no content" in again.text
    refused = daemon.cli("zone", "reload", ZONE)
    assert refused.status == 1
    assert "an operator refused" in refused.text
    assert daemon.serial(ZONE) == 1

    # A new serial is not a change of content.
    zone.put(3)
    wait_event(daemon, "review-rejected", firing=False)
    assert daemon.serial(ZONE) == 3
