"""Kea's DDNS server puts leases into zones: A, DHCID and PTR by RFC 4703, with conflicts between clients."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.peers.dnssecd import Dnssecd
from tests.peers.named import Named
from tests.peers.paths import program
from tests.peers.process import LOOPBACK, ServerProcess, Servers, free_port, wait_until
from tests.peers.tools import ldns_verify_zone
from tests.peers.tsig import TsigKey
from tests.peers.updates import dynamic_zone_text
from tests.peers.world import World, start_world
from tests.peers.zones import axfr

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300)]

FORWARD, REVERSE = "lan.test.", "2.0.192.in-addr.arpa."
ADD, REMOVE = 0, 1


class Kea(ServerProcess):
    """kea-dhcp-ddns, which takes name change requests over UDP and sends updates to the daemon."""

    name = "kea-dhcp-ddns"

    def __init__(self, directory: Path, daemon: Dnssecd, key: TsigKey) -> None:
        super().__init__(directory)
        self.port = free_port()
        self.config_path = directory / "kea.json"
        server = [{"ip-address": LOOPBACK, "port": daemon.port}]

        def domain(name: str) -> dict[str, Any]:
            return {"ddns-domains": [{"name": name, "key-name": key.name, "dns-servers": server}]}

        config = {
            "ip-address": LOOPBACK,
            "port": self.port,
            "dns-server-timeout": 5000,
            "ncr-protocol": "UDP",
            "ncr-format": "JSON",
            "tsig-keys": [{"name": key.name, "algorithm": key.algorithm.upper(), "secret": key.secret}],
            "forward-ddns": domain(FORWARD),
            "reverse-ddns": domain(REVERSE),
            "loggers": [
                {
                    "name": "kea-dhcp-ddns",
                    "output_options": [{"output": "stdout"}],
                    "severity": "DEBUG",
                    "debuglevel": 50,
                }
            ],
        }
        descriptor = os.open(self.config_path, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as out:
            json.dump({"DhcpDdns": config}, out)

    def command(self) -> list[str]:
        return [program("kea-dhcp-ddns"), "-c", str(self.config_path)]

    def environment(self) -> Mapping[str, str]:
        place = str(self.directory)
        return {**os.environ, "KEA_PIDFILE_DIR": place, "KEA_LOCKFILE_DIR": "none"}

    def is_ready(self) -> bool:
        return "DHCP_DDNS_STARTED" in self.log_text()

    def request(self, change: int, host: str, address: str, client: str) -> str:
        """Send a name change request (Kea's own JSON form), and return its outcome in the log."""
        name = f"{host}.{FORWARD}"
        digest = hashlib.sha256(client.encode() + name.encode()).hexdigest()
        message = {
            "change-type": change,
            "forward-change": True,
            "reverse-change": True,
            "fqdn": name,
            "ip-address": address,
            "dhcid": f"000101{digest}",
            "lease-expires-on": "20380101000000",
            "lease-length": 3600,
            "use-conflict-resolution": True,
        }
        body = json.dumps(message).encode()
        before = self._outcomes()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(len(body).to_bytes(2) + body, (LOOPBACK, self.port))
        wait_until(lambda: len(self._outcomes()) > len(before), f"kea is done with {name}", 30)
        return self._outcomes()[len(before)]

    def _outcomes(self) -> list[str]:
        """How requests ended: ``DHCP_DDNS_ADD_SUCCEEDED`` and the like."""
        words = [word for line in self.log_text().splitlines() for word in line.split()]
        ends = ("_SUCCEEDED", "_FAILED")
        return [
            word
            for word in words
            if word.startswith(("DHCP_DDNS_ADD", "DHCP_DDNS_REMOVE")) and word.endswith(ends)
        ]


@dataclass
class Lan:
    """The daemon with both zones, and Kea before it."""

    world: World
    kea: Kea

    def content(self, zone: str) -> set[str]:
        return axfr(self.world.daemon.port, zone, self.world.key, self.world.home)

    def rdata(self, zone: str, owner: str, rrtype: str) -> list[str]:
        rows = [line.split(None, 4) for line in self.content(zone)]
        return sorted(row[4] for row in rows if row[0] == owner and row[3] == rrtype)

    def check_signed(self) -> None:
        for zone in (FORWARD, REVERSE):
            path = self.world.home / "judged.zone"
            path.write_text("\n".join(sorted(self.content(zone))) + "\n")
            verdict = ldns_verify_zone(path, zone)
            assert verdict.ok, verdict


@pytest.fixture
def lan(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> Lan:
    text = dynamic_zone_text(FORWARD)
    world = start_world(servers, peer_dir, tsig_key, FORWARD, text, kinds=[Named], start_daemon=False)
    key = TsigKey("ddns.")
    reverse = peer_dir / "reverse.zone"
    reverse.write_text(
        f"$TTL 300\n@ SOA ns1.{FORWARD} hostmaster.{FORWARD} 1 3600 600 604800 60\n@ NS ns1.{FORWARD}\n"
    )
    config = world.daemon.config
    config["tsig"][key.name] = {"algorithm": key.algorithm, "secret": key.secret}
    config["zone"][REVERSE] = {**config["zone"][FORWARD], "file": reverse, "secondaries": []}
    for zone, types in ((FORWARD, ["A", "AAAA", "DHCID"]), (REVERSE, ["PTR", "DHCID"])):
        config["zone"][zone] |= {"source": "dynamic"}
        config["zone"][zone]["allow_update"] = [{"tsig": key.name, "names": ["*"], "types": types}]
    world.daemon.start()
    for zone in (FORWARD, REVERSE):
        world.daemon.wait_serial_other_than(zone, None)
    return Lan(world, servers.start(Kea(peer_dir / "kea", world.daemon, key)))


def test_leases_come_and_go(lan: Lan) -> None:
    laptop, pointer = f"laptop.{FORWARD}", f"77.{REVERSE}"
    assert lan.kea.request(ADD, "laptop", "192.0.2.77", "client-1") == "DHCP_DDNS_ADD_SUCCEEDED"
    assert lan.rdata(FORWARD, laptop, "A") == ["192.0.2.77"]
    assert len(lan.rdata(FORWARD, laptop, "DHCID")) == 1
    assert lan.rdata(REVERSE, pointer, "PTR") == [laptop]
    lan.check_signed()

    assert lan.kea.request(ADD, "laptop", "192.0.2.78", "client-1") == "DHCP_DDNS_ADD_SUCCEEDED"
    assert lan.rdata(FORWARD, laptop, "A") == ["192.0.2.78"], (
        "the same client's new address takes the old one's place"
    )

    assert lan.kea.request(ADD, "laptop", "192.0.2.79", "client-2") == "DHCP_DDNS_ADD_FAILED"
    assert lan.rdata(FORWARD, laptop, "A") == ["192.0.2.78"], "the name is another client's"
    assert lan.kea.request(ADD, "host1", "192.0.2.80", "client-3") == "DHCP_DDNS_ADD_FAILED"
    assert lan.rdata(FORWARD, f"host1.{FORWARD}", "A") == ["192.0.2.1"], "the name is no client's"

    assert lan.kea.request(REMOVE, "laptop", "192.0.2.78", "client-1") == "DHCP_DDNS_REMOVE_SUCCEEDED"
    assert lan.rdata(FORWARD, laptop, "A") == []
    assert lan.rdata(FORWARD, laptop, "DHCID") == []
    assert lan.rdata(REVERSE, f"78.{REVERSE}", "PTR") == []
    lan.check_signed()
    serial = lan.world.daemon.serial(FORWARD)
    assert serial is not None
    lan.world.secondaries["named"].wait_serial(FORWARD, serial)
    lan.world.check_followed_by_ixfr()


def test_many_leases(lan: Lan) -> None:
    """A subnet that comes up at once."""
    for number in range(100, 150):
        assert (
            lan.kea.request(ADD, f"pc{number}", f"192.0.2.{number}", f"client-{number}")
            == "DHCP_DDNS_ADD_SUCCEEDED"
        )
    for number in range(100, 150):
        assert lan.rdata(FORWARD, f"pc{number}.{FORWARD}", "A") == [f"192.0.2.{number}"]
        assert lan.rdata(REVERSE, f"{number}.{REVERSE}", "PTR") == [f"pc{number}.{FORWARD}"]
    lan.check_signed()
