"""Zones that come from primaries: BIND, Knot and NSD by AXFR and IXFR, and one that lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config, replace_file
from tests.peers.knotd import Knotd
from tests.peers.named import Named
from tests.peers.nameserver import Nameserver, PrimaryZone
from tests.peers.nsd import Nsd
from tests.peers.process import LOOPBACK, Servers, wait_until
from tests.peers.tools import ldns_verify_zone
from tests.peers.tsig import TsigKey
from tests.peers.zones import difference, unsigned_content, zone_file

pytestmark = pytest.mark.integration

ZONE = "upstream.test."


def zone_text(serial: int, hosts: int = 40, extra: str = "", refresh: int = 600, retry: int = 1) -> str:
    lines = [
        "$TTL 300",
        f"@ IN SOA ns1 host {serial} {refresh} {retry} 86400 300",
        "@ IN NS ns1",
        "ns1 IN A 192.0.2.1",
        "sub IN NS ns.sub",
        "ns.sub IN A 192.0.2.2",
        'TXT.upper IN TXT "Some \\"Text\\"" "more"',
        "@ IN CAA 0 issue \"ca.example\"",
        "_s._tcp IN SRV 1 2 3 Host1.Upstream.Test.",
        *(f"host{number} IN A 192.0.2.{number % 250}" for number in range(hosts)),
        extra,
    ]
    return "\n".join(lines) + "\n"


@dataclass
class Upstream:
    """A daemon that has a zone from primaries."""

    daemon: Dnssecd
    home: Path
    zone: str = ZONE

    def check_equal(self, source: Path) -> set[str]:
        """What is served is the content of the primaries' file, signed so that everybody accepts it."""
        served = self.daemon.zone_content(self.zone)
        wanted = unsigned_content(zone_file(source, self.zone))
        assert difference(wanted, unsigned_content(served)) == ""
        exported = self.home / "exported"
        self.daemon.export(self.zone, exported)
        assert ldns_verify_zone(exported, self.zone).ok
        verdict = self.daemon.cli("verify", str(exported), "--origin", self.zone)
        assert verdict.ok, verdict
        return served

    def events(self) -> dict[str, str]:
        """What fires, with its cause."""
        return {alert["name"]: alert["cause"] for alert in self.daemon.zone_status(self.zone)["alerts"]}

    def wait_event(self, name: str, *, fires: bool = True) -> str:
        """The cause of an event, once it fires (or "" once it does not)."""
        wait_until(lambda: (name in self.events()) is fires, f"event {name} fires: {fires}", every=0.2)
        return self.events().get(name, "")

    def transfers(self) -> dict[str, int]:
        """Transfers in, by result."""
        kinds = ("axfr", "ixfr", "failed", "up-to-date")
        return {kind: int(self.daemon.metric("dnssecd_transfers_in_total", result=kind)) for kind in kinds}


def start_daemon(
    servers: Servers,
    home: Path,
    key: TsigKey,
    primaries: Sequence[int],
    ports: DaemonPorts | None = None,
    **zone: Any,
) -> Upstream:
    """The daemon with ZONE from the primaries at ports on loopback."""
    ports = ports or DaemonPorts.free()
    config = daemon_config(home, ports, key, {})
    config["primary"] = {
        f"p{number}": {"address": f"{LOOPBACK}:{port}", "tsig": key.name} for number, port in enumerate(primaries)
    }
    config["zone"] = {
        ZONE: {
            "policy": "default",
            "source": "primaries",
            "primaries": list(config["primary"]),
            "allow_transfer": [key.name],
            "parent": "none",
            **zone,
        }
    }
    daemon = servers.start(Dnssecd(home / "dnssecd", config, key))
    return Upstream(daemon, home)


@pytest.mark.parametrize("kind", [Named, Knotd, Nsd])
def test_real_primary(kind: type[Nameserver], servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    ports = DaemonPorts.free()
    source = peer_dir / "source.zone"
    source.write_text(zone_text(7))
    primary = kind(peer_dir / "primary", [PrimaryZone(ZONE, source, tsig_key, [ports.dns])])
    servers.start(primary)
    upstream = start_daemon(servers, peer_dir, tsig_key, [primary.port], ports)
    daemon = upstream.daemon
    assert daemon.wait_serial_other_than(ZONE, None) == 7
    upstream.check_equal(source)
    status = daemon.zone_status(ZONE)
    assert status["input_serial"] == 7
    assert [(p["name"], p["serial"]) for p in status["primaries"]] == [("p0", 7)]
    for serial, extra in ((8, "new IN A 192.0.2.9"), (9, "a.b.c IN TXT x\nsub IN DS 1 13 2 " + "00" * 32)):
        replace_file(source, zone_text(serial, 40 - serial, extra))
        primary.signal(1)  # SIGHUP
        primary.wait_serial(ZONE, serial)
        assert daemon.wait_serial_other_than(ZONE, serial - 1) == serial
        upstream.check_equal(source)
    assert upstream.transfers()["axfr"] == (3 if kind is Nsd else 1)
    assert upstream.transfers()["ixfr"] == (0 if kind is Nsd else 2)
    assert upstream.events() == {}
