"""Transfers over TLS (RFC 9103) with BIND and NSD on the other side, and certificates that go bad.

Knot 3.2 of Debian 12 has no transfers over TLS (it came with 3.4), so kdig is what is tested of Knot.
"""

from __future__ import annotations

import re
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.smallzone import ZONE, small_zone, wait_event
from tests.peers.certificates import Authority, Certificate
from tests.peers.dnssecd import Config, DaemonPorts, Dnssecd, daemon_config, replace_file
from tests.peers.named import Named
from tests.peers.nameserver import PrimaryZone, SecondaryZone
from tests.peers.process import LOOPBACK, Servers, free_port, wait_until
from tests.peers.tls_servers import Tls, TlsNamed, TlsNsd, stalling_server
from tests.peers.tools import dig, kdig
from tests.peers.tsig import TsigKey

pytestmark = pytest.mark.integration

Peer = TlsNamed | TlsNsd


class World:
    """An authority, a configuration with a TLS listener, and its certificate."""

    def __init__(self, home: Path, key: TsigKey) -> None:
        self.home, self.key = home, key
        self.authority = Authority(home / "pki")
        self.ours = self.authority.issue("signer.test", file="ours")
        self.ports, self.tls_port = DaemonPorts.free(), free_port()
        self.source = home / "source.zone"
        self.source.write_text(small_zone(1))
        self.config: Config = daemon_config(home, self.ports, key, {ZONE: self.source})
        self.config["server"].update(
            tls=[f"{LOOPBACK}:{self.tls_port}"],
            tls_certificate=self.ours.certificate,
            tls_key=self.ours.key,
        )
        self.config["zone"][ZONE]["allow_transfer"] = []

    def tls(self, certificate: Certificate) -> Tls:
        return Tls(certificate, self.authority.path, "signer.test")

    def add_secondary(self, secondary: Peer, *, mutual: bool) -> None:
        self.config["secondary"] = {
            "ns1": {
                "address": secondary.address,
                "tsig": self.key.name,
                "tls": {
                    "name": "ns1.test",
                    "ca": self.authority.path,
                    "port": secondary.tls_port,
                    "mutual": mutual,
                    "queries": True,
                },
            }
        }
        self.config["zone"][ZONE]["secondaries"] = ["ns1"]

    def from_primary(self, **primary: Any) -> None:
        self.config["primary"] = {"up": {"tsig": self.key.name, **primary}}
        zone = self.config["zone"][ZONE]
        del zone["file"]
        zone.update(source="primaries", primaries=["up"], allow_transfer=[self.key.name])

    def daemon(self, servers: Servers) -> Dnssecd:
        return servers.start(Dnssecd(self.home / "dnssecd", self.config, self.key))


def cause(daemon: Dnssecd, event: str = "tls-failed") -> str:
    """The causes and remedies of all alerts of a kind, as one text."""
    alerts = daemon.cli_json("status")["alerts"]
    return " ".join(f"{a['subject']}: {a['cause']} {a['remedy']}" for a in alerts if a["name"] == event)


def log_of(daemon: Dnssecd, words: str) -> list[str]:
    return [line for line in daemon.log_text().splitlines() if words in line]


@pytest.mark.parametrize("kind", [TlsNamed, TlsNsd])
def test_secondaries(kind: type[Peer], servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    """AXFR, IXFR, NOTIFY and SOA polls over TLS with client certificates; nothing by TCP."""
    world = World(peer_dir, tsig_key)
    tls = world.tls(world.authority.issue("ns1.test"))
    secondary = kind(peer_dir / "secondary", [SecondaryZone(ZONE, world.tls_port, tsig_key)], tls)
    world.add_secondary(secondary, mutual=True)
    daemon = world.daemon(servers)
    servers.start(secondary)
    secondary.wait_serial(ZONE, 1)
    replace_file(world.source, small_zone(2, "new A 192.0.2.1\n"))
    secondary.wait_serial(ZONE, 2)
    assert (secondary.transfers(ZONE).axfr, secondary.transfers(ZONE).ixfr) == (1, 1)
    wait_until(lambda: log_of(daemon, "secondary serves the version"), "the polls show it")
    assert daemon.metric("dnssecd_tls_handshakes_total", direction="outgoing", result="done") >= 1
    refused = dig(world.ports.dns, ZONE, "AXFR", tsig=tsig_key, directory=peer_dir)
    assert "Transfer failed" in refused.text
    wait_event(daemon, "peer-refused")
    assert "must use TLS" in str(daemon.zone_status(ZONE)["alerts"])


def test_without_client_certificates_kdig(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    """TLS alone does not allow a transfer: the TSIG key does. kdig checks the authority and the pin."""
    world = World(peer_dir, tsig_key)
    world.config["policy"]["default"]["signature_validity"] = "6d"
    tls = world.tls(world.authority.issue("ns1.test"))
    secondary = TlsNsd(
        peer_dir / "secondary", [SecondaryZone(ZONE, world.tls_port, tsig_key)], tls, shows=False
    )
    world.add_secondary(secondary, mutual=False)
    daemon = world.daemon(servers)
    servers.start(secondary)
    secondary.wait_serial(ZONE, 1)
    trusted = [f"+tls-ca={world.authority.path}", "+tls-hostname=signer.test", f"+tls-pin={world.ours.pin}"]
    whole = kdig(world.tls_port, *trusted, ZONE, "AXFR", tsig=tsig_key)
    assert len(re.findall(r"\sRRSIG\s", whole.out)) > 60, whole
    answer = kdig(world.tls_port, *trusted, ZONE, "SOA")
    assert "status: NOERROR" in answer.text
    assert "(TLS1.3)" in answer.text
    assert "REFUSED" in kdig(world.tls_port, *trusted, ZONE, "AXFR").text
    options = dig(world.ports.dns, ZONE, "SOA", "+expire", "+ednsopt=19", "+cookie").text
    left = re.search(r"EXPIRE: (\d+)", options)
    assert left is not None, options
    assert int(left[1]) < 6 * 86_400, "not beyond the first RRSIG, although SOA expire is 7 days"
    assert "OPT=19: 02 00 00 00 00 01" in options
    assert re.search(r"COOKIE: [0-9a-f]{48} \(good\)", options)
    wrong = kdig(world.tls_port, f"+tls-pin={'A' * 43}=", ZONE, "SOA")
    assert "status: NOERROR" not in wrong.text
    assert daemon.metric("dnssecd_tls_handshakes_total", direction="incoming", result="done") >= 4


@pytest.mark.parametrize("kind", [TlsNamed, TlsNsd])
def test_primaries(kind: type[Peer], servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    """Polls and transfers in over TLS, on connections that are kept."""
    world = World(peer_dir, tsig_key)
    theirs = world.authority.issue("up.test")
    primary = kind(
        peer_dir / "primary",
        [PrimaryZone(ZONE, world.source, tsig_key, [world.ports.dns])],
        world.tls(theirs),
    )
    servers.start(primary)
    world.from_primary(address=primary.address, tls={"pins": [theirs.pin], "port": primary.tls_port})
    daemon = world.daemon(servers)
    daemon.wait_serial_other_than(ZONE, None)
    replace_file(world.source, small_zone(2, "new A 192.0.2.1\n"))
    primary.signal(signal.SIGHUP)
    daemon.wait_serial_other_than(ZONE, 1)
    transfers = log_of(daemon, '"event": "transfer in"')
    assert len(transfers) == 2
    assert all('"transport": "tls"' in line and '"tsig": "transfer."' in line for line in transfers)
    assert '"tls_session": "reused"' in transfers[1]
    assert daemon.metric("dnssecd_tls_handshakes_total", direction="outgoing", result="done") >= 2


def test_certificates_of_secondary_and_daemon_go_bad(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    """Each time the zone is still served, the event names the remedy, and it heals without a restart."""
    world = World(peer_dir, tsig_key)
    late = world.authority.issue("ns1.test", ends=timedelta(hours=-1), file="theirs")
    secondary = TlsNamed(
        peer_dir / "secondary", [SecondaryZone(ZONE, world.tls_port, tsig_key)], world.tls(late)
    )
    world.add_secondary(secondary, mutual=True)
    daemon = world.daemon(servers)
    servers.start(secondary)
    wait_until(
        lambda: "(incoming): TLS from ns1" in cause(daemon), "the event for an expired client certificate"
    )
    wait_until(lambda: "ns1: TLS to ns1" in cause(daemon), "the event for an expired server certificate")
    assert "certificate has expired renew the peer's certificate" in cause(daemon)
    assert daemon.serial(ZONE) == 1
    assert secondary.serial(ZONE) is None
    world.authority.issue("ns1.test", file="theirs")
    secondary.stop()
    secondary.start()
    secondary.wait_serial(ZONE, 1)
    wait_until(lambda: cause(daemon) == "", "the events are resolved", every=0.3)

    other = Authority(peer_dir / "other")
    wrong = other.issue("signer.test")
    good = world.ours.certificate.read_bytes(), world.ours.key.read_bytes()
    replace_file(world.ours.key, wrong.key.read_text())
    replace_file(world.ours.certificate, wrong.certificate.read_text())
    wait_until(lambda: len(log_of(daemon, "TLS certificate read")) == 2, "the new files are read")
    replace_file(world.source, small_zone(2))
    # BIND sends no alert.
    wait_until(
        lambda: "when they refuse dnssecd's certificate" in cause(daemon), "the event names our side", 60
    )
    assert daemon.serial(ZONE) == 2
    assert secondary.serial(ZONE) == 1
    replace_file(world.ours.key, good[1].decode())
    replace_file(world.ours.certificate, good[0].decode())
    secondary.wait_serial(ZONE, 2, 60)
    wait_until(lambda: cause(daemon) == "", "the event is resolved", every=0.3)


def test_a_primary_that_stalls_or_shows_another_certificate(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    world = World(peer_dir, tsig_key)
    theirs, other = world.authority.issue("up.test"), world.authority.issue("else.test")
    primary = TlsNsd(peer_dir / "primary", [PrimaryZone(ZONE, world.source, tsig_key)], world.tls(theirs))
    servers.start(primary)
    with stalling_server() as port:
        world.from_primary(
            address=primary.address, tls={"name": "up.test", "ca": world.authority.path, "port": port}
        )
        daemon = world.daemon(servers)
        wait_until(lambda: "not finished in time" in cause(daemon), "the event for a peer that stalls")
    tls = world.config["primary"]["up"]["tls"]
    tls.update(port=primary.tls_port, pins=[other.pin])
    daemon.write_config()
    assert daemon.cli("config", "reload").ok
    wait_until(lambda: f"has the pin {theirs.pin}" in cause(daemon), "the event names the pin that was seen")
    assert daemon.serial(ZONE) is None
    tls["pins"] = [theirs.pin]
    daemon.write_config()
    assert daemon.cli("config", "reload").ok
    assert daemon.wait_serial_other_than(ZONE, None) == 1
    assert cause(daemon) == ""


def test_a_tsig_key_is_replaced_without_a_gap(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    """Two keys at dnssecd; BIND changes from the old to the new one; status shows which is used."""
    ports = DaemonPorts.free()
    source = peer_dir / "source.zone"
    source.write_text(small_zone(1))
    new = TsigKey("new.")
    config = daemon_config(peer_dir, ports, tsig_key, {ZONE: source})
    secondary = Named(peer_dir / "secondary", [SecondaryZone(ZONE, ports.dns, tsig_key)])
    config["tsig"][new.name] = {"algorithm": new.algorithm, "secret": new.secret}
    config["secondary"] = {"ns1": {"address": secondary.address, "tsig": [new.name, tsig_key.name]}}
    config["zone"][ZONE].update(secondaries=["ns1"], allow_transfer=[])
    daemon = servers.start(Dnssecd(peer_dir / "dnssecd", config, tsig_key))
    servers.start(secondary)

    def used() -> dict[str, tuple[bool, bool]]:
        keys = daemon.cli_json("status")["tsig_keys"]
        return {k["key"]: (k["received_at"] is not None, k["sent_at"] is not None) for k in keys}

    secondary.wait_serial(ZONE, 1)
    wait_until(lambda: used() == {"new.": (False, False), tsig_key.name: (True, True)}, "the old key is used")
    secondary.zones = [SecondaryZone(ZONE, ports.dns, new)]
    secondary.stop()
    secondary.start()
    replace_file(source, small_zone(2))
    secondary.wait_serial(ZONE, 2)
    wait_until(lambda: used()["new."] == (True, True), "the new key is used")
    assert "ns1, new.: it signed with it" in daemon.cli("status").out
