"""Zones that BIND or ldns signed, served as they are: a real secondary follows, and a bad version never reaches it."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.smallzone import ZONE, alert_text, small_zone, wait_event
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config, replace_file, secondaries_of
from tests.peers.named import Named
from tests.peers.nameserver import PrimaryZone
from tests.peers.process import LOOPBACK, Servers, free_port, wait_until
from tests.peers.tools import dnssec_signzone, ldns_verify_zone, program, run
from tests.peers.tsig import TsigKey
from tests.peers.world import start_world
from tests.peers.zones import canonical_zone, difference, ixfr, zone_file

#: How long short-lived signatures last: long enough for a loaded machine.
LASTS_S = 40

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]


def test_a_file_signed_by_bind(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    keys = peer_dir / "signing"
    keys.mkdir()

    plain = keys / "plain.zone"
    plain.write_text(small_zone(5))

    def signed(serial: int, extra: str = "") -> str:
        """Sign again, and keep the signatures that are still good, as a signer does."""
        signed = dnssec_signzone(plain, ZONE, keys, nsec3=True).read_text()
        plain.write_text(re.sub(r"\d+(\s+; serial)", rf"{serial}\1", signed) + extra)
        return dnssec_signzone(plain, ZONE, keys, nsec3=True).read_text()

    world = start_world(servers, peer_dir, tsig_key, ZONE, signed(5), kinds=(Named,), start_daemon=False)
    daemon, second = world.daemon, world.secondaries["named"]
    daemon.config["zone"][ZONE]["signing"] = "verify-only"
    daemon.write_config()
    assert daemon.cli("check-config").ok
    daemon.start()
    second.wait_serial(ZONE, 5, 60)
    first = daemon.zone_content(ZONE)
    assert difference(first, zone_file(world.input, ZONE)) == ""
    assert difference(first, second.zone_content(ZONE)) == ""
    assert daemon.cli_json("key", "list", ZONE)["keys"] == []

    world.put(signed(6, "late A 192.0.2.7\n"))
    second.wait_serial(ZONE, 6, 60)
    good = daemon.zone_content(ZONE)
    assert difference(good, zone_file(world.input, ZONE)) == ""
    assert difference(good, second.zone_content(ZONE)) == ""
    answer = ixfr(daemon.port, ZONE, 5, tsig_key, daemon.directory)
    assert answer.incremental
    assert difference(good, answer.apply(first)) == ""

    later = signed(7, "later A 192.0.2.8\n")
    world.put(later.replace("192.0.2.8", "192.0.2.9"))
    wait_event(daemon, "input-error")
    assert "rrsig-bad" in alert_text(daemon)
    status = daemon.zone_status(ZONE)
    assert status["serial"] == 6
    assert "signed elsewhere" in daemon.cli("status", ZONE).text
    assert daemon.zone_content(ZONE) == good

    refused = daemon.cli("key", "rollover", ZONE, "--role", "zsk")
    assert not refused.ok
    assert "verify-only" in refused.text
    assert daemon.cli("audit", ZONE).status in (0, 1)

    daemon.stop()
    daemon.start()
    assert daemon.wait_serial_other_than(ZONE, None) == 6
    assert daemon.zone_content(ZONE) == good
    world.put(later)
    wait_event(daemon, "input-error", firing=False)
    second.wait_serial(ZONE, 7, 60)
    exported = peer_dir / "exported.zone"
    daemon.export(ZONE, exported)
    assert ldns_verify_zone(exported, ZONE).ok


def test_a_restored_version_that_expired_waits_for_its_input(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    keys = peer_dir / "signing"
    keys.mkdir()
    plain = keys / "plain.zone"

    def signed(serial: int, lasts_s: int | None = None) -> str:
        plain.write_text(small_zone(serial))
        return dnssec_signzone(plain, ZONE, keys, lasts_s=lasts_s).read_text()

    world = start_world(
        servers, peer_dir, tsig_key, ZONE, signed(5, LASTS_S), kinds=(Named,), start_daemon=False
    )
    daemon, second = world.daemon, world.secondaries["named"]
    daemon.config["zone"][ZONE]["signing"] = "verify-only"
    daemon.write_config()
    daemon.start()
    second.wait_serial(ZONE, 5, 60)
    assert daemon.cli("backup", "-o", str(peer_dir / "b.tar")).ok
    world.put(signed(6, LASTS_S))
    ended = time.time() + LASTS_S + 1
    second.wait_serial(ZONE, 6, 60)
    daemon.stop()
    restored = daemon.cli("restore", str(peer_dir / "b.tar"), "--raise-serial")
    assert restored.ok, restored
    wait_until(lambda: time.time() > ended, "the signatures have expired", LASTS_S + 5)
    daemon.start()
    wait_event(daemon, "input-error")
    assert daemon.serial(ZONE) is None
    assert "rrsig-expired" in daemon.cli("status", ZONE).text
    daemon.stop()
    daemon.start()
    wait_event(daemon, "input-error")
    assert daemon.serial(ZONE) is None, "nor is it served after a restart"
    world.put(signed(7))
    second.wait_serial(ZONE, 7, 60)
    wait_event(daemon, "input-error", firing=False)
    assert "restored" not in daemon.cli("explain", ZONE).text


def test_a_zone_signed_by_ldns_from_a_primary_by_its_anchor(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    keys = peer_dir / "signing"
    keys.mkdir()
    command = [program("ldns-keygen"), "-a", "ECDSAP256SHA256", "-k", ZONE]
    made = subprocess.run(command, cwd=keys, capture_output=True, text=True, timeout=60, check=True)
    key = keys / made.stdout.split()[-1]
    anchor = " ".join(key.with_name(key.name + ".ds").read_text().split()[-4:])

    def signed(serial: int, extra: str = "") -> str:
        plain = keys / "plain.zone"
        plain.write_text(f"$ORIGIN {ZONE}\n" + small_zone(serial, extra))
        output = keys / "signed.zone"
        done = run("ldns-signzone", "-f", str(output), str(plain), str(key))
        assert done.ok, done
        return output.read_text()

    served = peer_dir / "upstream.zone"
    served.write_text(signed(3))
    ports = DaemonPorts.free()
    zones = [PrimaryZone(ZONE, served, tsig_key, [ports.dns])]
    upstream = servers.start(Named(peer_dir / "upstream", zones, free_port()))
    seconds = secondaries_of(peer_dir, [ZONE], ports.dns, tsig_key, (Named,))
    second = servers.start(seconds["named"])
    config = daemon_config(peer_dir, ports, tsig_key, {ZONE: served}, {"named": second.port})
    config["primary"] = {"up": {"address": f"{LOOPBACK}:{upstream.port}", "tsig": tsig_key.name}}
    del config["zone"][ZONE]["file"]
    config["zone"][ZONE] |= {
        "source": "primaries",
        "primaries": ["up"],
        "signing": "verify-only",
        "input_anchor": [anchor[:-1] + ("0" if anchor[-1] != "0" else "1")],
    }
    daemon = servers.add(Dnssecd(peer_dir / "dnssecd", config, tsig_key))
    daemon.start()
    wait_event(daemon, "input-error")
    assert "input_anchor" in alert_text(daemon)
    assert daemon.serial(ZONE) is None

    config["zone"][ZONE]["input_anchor"] = [anchor]
    daemon.write_config()
    assert daemon.cli("config", "reload").ok
    second.wait_serial(ZONE, 3, 90)
    assert canonical_zone("\n".join(second.zone_content(ZONE))) == canonical_zone(
        "\n".join(daemon.zone_content(ZONE))
    )
    assert daemon.cli_json("status", ZONE)["zones"][0]["security"] == "secure"

    replace_file(served, signed(4, "late A 192.0.2.7\n"))
    upstream.reload()
    second.wait_serial(ZONE, 4, 90)
