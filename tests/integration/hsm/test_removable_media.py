"""Keys on a medium that is in a safe between uses: the daemon says when it is needed, and goes on when it is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config
from tests.peers.process import Servers, wait_until
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

ZONE = "example."
TEXT = """$TTL 300
@ IN SOA ns1 host 1 3600 600 7200 300
@ IN NS ns1
ns1 IN A 192.0.2.1
"""


def alerts(daemon: Dnssecd) -> dict[str, str]:
    return {alert["name"]: alert["cause"] for alert in daemon.cli_json("alerts", "list")["alerts"]}


def test_a_medium_is_asked_for_and_used_when_it_comes(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    medium, safe, file = peer_dir / "medium", peer_dir / "safe", peer_dir / "zone"
    file.write_text(TEXT)
    config = daemon_config(peer_dir, DaemonPorts.free(), tsig_key, {ZONE: file})
    config["keystore"]["local"] |= {"directory": medium, "removable": True}
    config["policy"]["default"]["signature_validity"] = "3d"
    daemon = servers.start(Dnssecd(peer_dir / "dnssecd", config, tsig_key))
    wait_until(lambda: "keystore-media-needed" in alerts(daemon), "the first keys need a place")
    assert daemon.serial(ZONE) is None
    assert not medium.exists(), "no key is made beside the medium"
    medium.mkdir(mode=0o700)
    serial = daemon.wait_serial_other_than(ZONE, None)
    wait_until(lambda: not alerts(daemon), "all events are over")

    medium.rename(safe)
    wait_until(
        lambda: "needed by 2" in alerts(daemon).get("keystore-media-needed", ""),
        "it is told by when the medium is needed",
    )
    assert {key["state"] for key in daemon.cli_json("key", "list", ZONE, "--stored")["keys"]} == {
        "unavailable"
    }
    assert daemon.cli("keystore", "test").status == 1
    file.write_text(TEXT + "more IN A 192.0.2.2\n")
    found = wait_until(lambda: "signing-failed" in (seen := alerts(daemon)) and seen, "it is needed now")
    assert "mount the medium" in found["signing-failed"]
    assert daemon.serial(ZONE) == serial, "the last version is served"

    safe.rename(medium)
    assert daemon.wait_serial_other_than(ZONE, serial) == serial + 1
    wait_until(lambda: not alerts(daemon), "all events are over")
    assert daemon.metric("dnssecd_keystore_available", keystore="local") == 1
