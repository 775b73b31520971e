"""The ZONEMD of a zone at a real primary, made by ldns: wrong, missing or of an unknown scheme, it is not believed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.integration.smallzone import ZONE, alert_text, small_zone, wait_event
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config, replace_file
from tests.peers.named import Named
from tests.peers.nameserver import PrimaryZone
from tests.peers.process import LOOPBACK, Servers, free_port, wait_until
from tests.peers.tools import run
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]


class Upstream:
    """BIND with a zone to which ldns gave a ZONEMD, and a daemon that signs it."""

    def __init__(self, servers: Servers, home: Path, key: TsigKey) -> None:
        self.home, self.path = home, home / "upstream.zone"
        self.path.write_text(self.digested(1))
        ports = DaemonPorts.free()
        zones = [PrimaryZone(ZONE, self.path, key, [ports.dns])]
        self.named = servers.start(Named(home / "upstream", zones, free_port()))
        self.config = daemon_config(home, ports, key, {ZONE: self.path})
        self.config["primary"] = {"up": {"address": f"{LOOPBACK}:{self.named.port}", "tsig": key.name}}
        del self.config["zone"][ZONE]["file"]
        self.config["zone"][ZONE] |= {"source": "primaries", "primaries": ["up"], "input_zonemd": "require"}
        self.daemon = servers.start(Dnssecd(home / "dnssecd", self.config, key))

    def digested(self, serial: int, extra: str = "") -> str:
        plain, output = self.home / "plain.zone", self.home / "digested.zone"
        plain.write_text(small_zone(serial, extra))
        done = run("ldns-signzone", "-Z", "-z", "simple:sha384", "-f", str(output), str(plain))
        assert done.ok, done
        return output.read_text()

    def publish(self, text: str) -> None:
        replace_file(self.path, text)
        self.named.reload()


def test_a_zonemd_is_checked_and_not_believed(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    up = Upstream(servers, peer_dir, tsig_key)
    daemon = up.daemon
    assert daemon.wait_serial_other_than(ZONE, None) == 1
    good = daemon.zone_content(ZONE)

    scheme = re.compile(r"(ZONEMD\s+\d+\s+)1(\s+1\s)")
    for serial, text, said in (
        (2, up.digested(2).replace("192.0.2.7", "192.0.2.77"), "does not verify"),
        (3, small_zone(3), "has no ZONEMD"),
        (4, scheme.sub(r"\g<1>240\2", up.digested(4)), "does not verify"),
    ):
        up.publish(text)
        wait_event(daemon, "input-error")
        wait_until(lambda words=said: words in alert_text(daemon), f"serial {serial}: {said}", 30)
        assert daemon.zone_content(ZONE) == good, "the last good version is served"

    # A digest that nobody can check is no error unless it is required: it counts as absent (RFC 8976 §4).
    up.config["zone"][ZONE]["input_zonemd"] = "check"
    daemon.write_config()
    assert daemon.cli("config", "reload").ok
    wait_until(lambda: daemon.serial(ZONE) == 4, "the version is published", 60)
    wait_event(daemon, "input-error", firing=False)
    assert "cannot be checked" in daemon.cli("status", ZONE).out
    up.publish(up.digested(5, "late A 192.0.2.7\n").replace("192.0.2.8", "192.0.2.88"))
    wait_event(daemon, "input-error")
    assert daemon.serial(ZONE) == 4
    up.publish(up.digested(6))
    wait_until(lambda: daemon.serial(ZONE) == 6, "a good one is published", 60)
    wait_event(daemon, "input-error", firing=False)
