"""Several zones move from BIND or Knot by the configuration that was made of theirs; a validator watches throughout."""

from __future__ import annotations

import json
import threading
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dnssecd.replacing import replace
from tests.integration.migration_world import run
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config
from tests.peers.knotd import Knotd
from tests.peers.named import Named
from tests.peers.nameserver import Nameserver, PrimaryZone, SecondaryZone, Zone, ask
from tests.peers.nsd import Nsd
from tests.peers.process import LOOPBACK, Servers, wait_until
from tests.peers.tsig import TsigKey
from tests.peers.unbound import Unbound

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

ZONES = ("z1.test.", "z2.test.", "z3.test.")
ALGORITHM = "ECDSAP256SHA256"
WATCH_S = 0.1


class OldNamed(Named):
    """BIND with one policy for all its zones."""

    name = "old"

    def configuration(self) -> str:
        policy = """dnssec-policy "house" {
    keys { ksk lifetime unlimited algorithm ecdsap256sha256; zsk lifetime 90d algorithm ecdsap256sha256; };
    dnskey-ttl 1h; max-zone-ttl 1d; nsec3param iterations 0 optout no salt-length 0;
};
"""
        return policy + super().configuration()

    def _zone(self, zone: Zone) -> str:
        signed = f'inline-signing yes; dnssec-policy "house"; key-directory "{self.directory}";'
        return super()._zone(zone).replace("ixfr-from-differences yes;", signed)


class OldKnot(Knotd):
    """Knot with one policy for all its zones."""

    name = "old"

    def configuration(self) -> str:
        policy = """policy:
  - id: house
    dnskey-ttl: 1h
    zsk-lifetime: 90d
    nsec3: on
    nsec3-iterations: 0
    nsec3-salt-length: 0
    rrsig-lifetime: 14d
    rrsig-refresh: 7d
"""
        return super().configuration().replace("zone:\n  - domain", policy + "zone:\n  - domain")

    def _zone(self, number: int, zone: Zone) -> tuple[str, str, str]:
        remote, acl, body = super()._zone(number, zone)
        return remote, acl, body + "    dnssec-signing: on\n    dnssec-policy: house\n"


def zone_text(zone: str) -> str:
    head = f"$ORIGIN {zone}\n$TTL 300\n@ SOA ns1 hostmaster 1 3600 600 604800 60\n@ NS ns1\n"
    return head + f"ns1 A {LOOPBACK}\nwww A 192.0.2.1\n*.wild TXT w\n"


def is_signed(port: int, zone: str) -> bool:
    answer = ask(port, zone, "SOA", dnssec=True)
    return answer is not None and any(rrset.rdtype == 46 for rrset in answer.answer)


class Validator(Unbound):
    """Asks any of several servers, of which one may be down."""

    def __init__(self, directory: Path, ports: list[int], anchors: list[str]) -> None:
        super().__init__(directory, "test.", ports[0], anchors)
        self.others = ports[1:]

    def configuration(self) -> str:
        more = "".join(f"    stub-addr: {LOOPBACK}@{port}\n" for port in self.others)
        return super().configuration().replace("    stub-no-cache: yes\n", more + "    stub-no-cache: yes\n")


class Watch(threading.Thread):
    """Asks a validator for names of all zones, one after the other; counts what it says."""

    def __init__(self, validator: Unbound) -> None:
        super().__init__(daemon=True)
        self.validator, self.seen, self.ended = validator, Counter[tuple[str, bool]](), threading.Event()

    def run(self) -> None:
        while not self.ended.wait(WATCH_S):
            for zone in ZONES:
                for name in ("www", "nothing", "x.wild"):
                    self.seen[self.validator.verdict(f"{name}.{zone}", "A")] += 1

    def stop(self) -> None:
        """End, and check that every answer was secure."""
        self.ended.set()
        self.join(30)
        assert {("NOERROR", True), ("NXDOMAIN", True)} == self.seen.keys(), self.seen
        assert self.seen.total() >= 50


def start_old(servers: Servers, home: Path, key: TsigKey, old: Nameserver) -> list[Nsd]:
    """Start the old signer and two secondaries of it; return these when they serve all zones, signed."""
    files = {zone: home / f"{zone}zone" for zone in ZONES}
    for zone, file in files.items():
        file.write_text(zone_text(zone))
    seconds = [
        Nsd(home / name, [SecondaryZone(zone, old.port, key) for zone in ZONES]) for name in ("n1", "n2")
    ]
    ports = [second.port for second in seconds]
    old.zones = [PrimaryZone(zone, file, key, notify=ports) for zone, file in files.items()]
    servers.start(old)
    for zone in ZONES:
        wait_until(lambda zone=zone: is_signed(old.port, zone), f"{zone} is signed")
    for second in seconds:
        servers.start(second)
        for zone in ZONES:
            wait_until(lambda s=second, z=zone: is_signed(s.port, z), f"{second.directory} serves {zone}")
    return seconds


def make_daemon(servers: Servers, home: Path, key: TsigKey, signer: str, old: Nameserver) -> Dnssecd:
    """Let dnssecd make its configuration of the old signer's, and start with it; places and ports are ours."""
    base = daemon_config(home, DaemonPorts.free(), key, {})
    daemon = Dnssecd(home / "dnssecd", base, key)
    (home / "dnssecd").mkdir(exist_ok=True)
    daemon.write_config()
    made = home / "made.toml"
    words = ("--from", signer, str(old.config_path), "-o", str(made), "--old", f"{LOOPBACK}:{old.port}")
    report = daemon.cli_json("migrate", "config", *words, "--old-tsig", key.name)
    assert (report["ok"], report["zones"], report["secondaries"]) == (True, len(ZONES), 2)
    assert made.stat().st_mode & 0o777 == 0o600
    config: dict[str, Any] = tomllib.loads(made.read_text())
    daemon.config_path.write_text(made.read_text())
    assert daemon.cli("check-config").ok
    assert not daemon.cli("migrate", "config", *words).ok, "nothing is overwritten"
    for zone in config["zone"].values():
        zone["parent"] = "none"
    daemon.config = {**config, **{part: base[part] for part in ("server", "metrics", "log", "keystore")}}
    return servers.start(daemon)


def move_all(daemon: Dnssecd, seconds: list[Nsd], servers: Servers, home: Path, anchors: list[str]) -> None:
    """Check and adopt all zones, have the secondaries follow, one after the other, and watch."""
    ports = [second.port for second in seconds]
    watch = Watch(servers.start(Validator(home / "unbound", ports, anchors)))
    watch.start()
    checked = daemon.cli_json("migrate", "check", "--all", "--against", "old")
    assert [row["zone"] for row in checked["zones"]] == list(ZONES)
    adopted = daemon.cli_json("migrate", "adopt", "--all", "--against", "old", "--at-once", "2")
    assert [(row["zone"], row["published"], row["differing"]) for row in adopted["zones"]] == [
        (zone, True, 0) for zone in ZONES
    ]
    again = daemon.cli("migrate", "adopt", "--all", "--against", "old")
    assert "no zone waits" in again.err
    for second in seconds:
        zones = [zone for zone in second.zones if isinstance(zone, SecondaryZone)]
        second.zones = [replace(zone, primary=daemon.port) for zone in zones]
        second.stop()
        second.start()
        for zone in ZONES:
            wait_until(
                lambda s=second, z=zone: s.serial(z) == daemon.serial(z),
                f"{second.directory} follows in {zone}",
            )
    counted = watch.seen.total()
    wait_until(lambda: watch.seen.total() > counted + 20, "the validator has seen the zones from here")
    watch.stop()


def test_zones_move_from_bind(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    old = OldNamed(peer_dir / "old", [])
    ago, anchors = "now-30d", []
    (peer_dir / "old").mkdir(exist_ok=True)
    for zone in ZONES:
        for options in (("-f", "KSK"), ()):
            times = ("-L", "3600", "-P", ago, "-A", ago)
            base = run(peer_dir / "old", "dnssec-keygen", "-q", "-a", ALGORITHM, *times, *options, zone)
            records = (
                ("-r", "OMNIPRESENT", ago, "-d", "OMNIPRESENT", ago)
                if options
                else ("-z", "OMNIPRESENT", ago)
            )
            settime = ("dnssec-settime", "-s", "-g", "OMNIPRESENT", "-k", "OMNIPRESENT", ago, *records)
            run(peer_dir / "old", *settime, base)
            if options:
                anchors.append(run(peer_dir / "old", "dnssec-dsfromkey", "-2", base))
    seconds = start_old(servers, peer_dir, tsig_key, old)
    daemon = make_daemon(servers, peer_dir, tsig_key, "bind", old)
    for zone in ZONES:
        keys = sorted(str(path) for path in (peer_dir / "old").glob(f"K{zone}*.key"))
        daemon.cli_json("key", "import", zone, *keys)
    move_all(daemon, seconds, servers, peer_dir, anchors)


def test_zones_move_from_knot(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    old = OldKnot(peer_dir / "old", [])
    seconds = start_old(servers, peer_dir, tsig_key, old)
    daemon = make_daemon(servers, peer_dir, tsig_key, "knot", old)
    anchors = []
    for zone in ZONES:
        keymgr = ("keymgr", "-c", str(old.config_path), zone)
        listed = peer_dir / f"{zone}keys"
        listed.write_text(run(peer_dir, *keymgr, "list", "-j"))
        anchors += [line for line in run(peer_dir, *keymgr, "ds").splitlines() if " 13 2 " in line]
        places = ("--keys", str(peer_dir / "old" / "keys" / "keys"))
        daemon.cli_json("key", "import", zone, "--from", "knot", str(listed), *places)
        assert len(json.loads(listed.read_text())) == 2
    move_all(daemon, seconds, servers, peer_dir, anchors)
