"""An operator's day, command by command: a template, a zone, its secondaries by catalog and TLS, review, DS, removal.

BIND transfers catalog and zones by TLS with a client certificate, Knot by TCP; BIND is the parent, Unbound validates.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.dsparent import PARENT, ds_at, parent_server, parent_zone
from tests.integration.smallzone import alert_text, wait_event
from tests.peers.catalogs import CatalogKnotd, CatalogNamed
from tests.peers.certificates import Authority
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config, replace_file
from tests.peers.nameserver import Nameserver, SecondaryZone, ask
from tests.peers.process import LOOPBACK, Servers, free_port, wait_until
from tests.peers.tls_servers import Tls, TlsNamed
from tests.peers.tools import ldns_verify_zone, nsupdate, program
from tests.peers.tsig import TsigKey
from tests.peers.unbound import Unbound

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

CATALOG, CUSTOMER = "catalog.test.", "customer.test."
FAST = {
    "dnskey_ttl": "2s",
    "propagation_delay": "1s",
    "parent_propagation_delay": "1s",
    "parent_ds_ttl": "1s",
}
#: Verifies the version with a program of others, and allows no name "forbidden".
REVIEW = """#!/bin/sh
set -eu
version=$(mktemp)
trap 'rm -f "$version"' EXIT
cat > "$version"
if grep -q '^forbidden' "$version"; then echo "forbidden is not ours"; exit 1; fi
{verify} "$version" > /dev/null
"""
PUBLISHED = "#!/bin/sh\ncat >> {home}/told\n"
WAIT_S = 90.0


class TlsCatalogNamed(TlsNamed, CatalogNamed):
    """named that gets its catalog, and the members of it, by TLS only."""


class Day:
    """What stands in the machine room in the morning: a parent, two secondaries that know a catalog, a daemon."""

    def __init__(self, servers: Servers, home: Path, key: TsigKey) -> None:
        self.home, self.key, self.servers = home, key, servers
        self.parent = servers.start(parent_server(home / "parent", key, parent_zone(child="customer")))
        authority = Authority(home / "pki")
        ours, theirs = authority.issue("signer.test", file="ours"), authority.issue("ns1.test")
        ports, tls_port = DaemonPorts.free(), free_port()
        tls = Tls(theirs, authority.path, "signer.test")
        named = TlsCatalogNamed(home / "named", [SecondaryZone(CATALOG, tls_port, key)], tls)
        knotd = CatalogKnotd(home / "knotd", [SecondaryZone(CATALOG, ports.dns, key)])
        self.secondaries: dict[str, Nameserver] = {"ns1": named, "ns2": knotd}
        for each in self.secondaries.values():
            servers.start(each)
        config = daemon_config(home, ports, key, {}, {"ns2": knotd.port}, policy=FAST)
        config["server"] |= {
            "tls": [f"{LOOPBACK}:{tls_port}"],
            "tls_certificate": ours.certificate,
            "tls_key": ours.key,
            "clock_tolerance": "1s",
        }
        config["secondary"]["ns1"] = {
            "address": named.address,
            "tsig": key.name,
            "tls": {
                "name": "ns1.test",
                "ca": authority.path,
                "port": named.tls_port,
                "mutual": True,
                "queries": True,
            },
        }
        config["zone-template"] = {
            "customers": {
                "file": home / "customers/{zone}.zone",
                "secondaries": ["ns1", "ns2"],
                "parent": {"servers": [self.parent.address]},
                "review": self.script("review", REVIEW.format(verify=program("ldns-verify-zone"))),
                "published": self.script("published", PUBLISHED.format(home=home)),
                "output_file": home / "signed/{zone}.zone",
            }
        }
        config["catalog"] = {CATALOG: {"produce": ["ns1", "ns2"]}}
        for name in ("customers", "signed"):
            (home / name).mkdir()
        self.daemon = Dnssecd(home / "dnssecd", config, key)
        self.daemon.write_config()

    def script(self, name: str, text: str) -> Path:
        path = self.home / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def write(self, serial: int, extra: str = "") -> None:
        """The customer's zone file; the name "version" tells which one a server has."""
        text = (
            f"$ORIGIN {CUSTOMER}\n$TTL 2\n@ SOA ns1 host {serial} 3600 600 604800 2\n@ NS ns1\n"
            f"ns1 A {LOOPBACK}\nwww A 192.0.2.1\nversion TXT {serial}\n{extra}"
        )
        replace_file(self.home / "customers/customer.test.zone", text)

    def version(self, server: Nameserver | Dnssecd) -> str:
        answer = ask(server.port, f"version.{CUSTOMER}", "TXT")
        return answer.answer[0][0].to_text().strip('"') if answer is not None and answer.answer else ""

    def served_everywhere(self, serial: int) -> None:
        for name, secondary in self.secondaries.items():
            what = f"{name} serves version {serial}"
            wait_until(lambda s=secondary: self.version(s) == str(serial), what, WAIT_S)

    def told(self) -> int:
        """The newest serial that the command was told."""
        path = self.home / "told"
        lines = path.read_text().splitlines() if path.exists() else []
        return max((json.loads(line)["serial"] for line in lines if line.endswith("}")), default=0)

    def security(self) -> str:
        return str(self.daemon.cli_json("zone", "show", CUSTOMER)["security"])

    def at_parent(self, update: str) -> None:
        done = nsupdate(self.parent.port, f"zone {PARENT}\n{update}", self.key, self.home)
        assert done.ok, done

    def validates(self, name: str, ds: list[str]) -> None:
        anchors = [f"{CUSTOMER} DS {one}" for one in ds]
        resolver = Unbound(self.home / name, CUSTOMER, self.secondaries["ns1"].port, anchors)
        self.servers.start(resolver)
        assert resolver.verdict(f"www.{CUSTOMER}", "A") == ("NOERROR", True), resolver.log_text()
        resolver.stop()

    def ds(self) -> list[str]:
        """What may be handed over to the parent now."""
        fields = ("tag", "algorithm", "digest_type", "digest")
        found = self.daemon.cli_json("ds", "show", CUSTOMER)["ds"]
        return sorted(" ".join(str(ds[field]) for field in fields) for ds in found)

    def hand_over(self) -> list[str]:
        ds = wait_until(self.ds, "the DS may be handed over", WAIT_S)
        self.at_parent("\n".join(f"update add {CUSTOMER} 1 DS {one}" for one in ds))
        assert self.daemon.cli("ds", "check", CUSTOMER).ok
        wait_until(lambda: self.security() == "secure", "the zone is secure", WAIT_S)
        return ds

    def tags(self) -> set[int]:
        return {key["tag"] for key in self.daemon.cli_json("key", "list", CUSTOMER)["keys"]}


def test_a_day(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    day = Day(servers, peer_dir, tsig_key)
    daemon = day.daemon

    # The template: it is checked before any zone uses it.
    checked = daemon.cli("check-config")
    assert checked.ok, checked
    servers.start(daemon)

    # A customer signs up; the secondaries learn of the zone from the catalog, one of them by TLS alone.
    day.write(1)
    assert daemon.cli("zone", "add", CUSTOMER, "--template", "customers").ok
    assert daemon.cli("zone", "wait", CUSTOMER, "--current", "--timeout", "80s", timeout=WAIT_S).ok
    day.served_everywhere(1)
    wait_until(lambda: day.told() == daemon.serial(CUSTOMER), "the command is told", 30)
    keys = day.tags()
    assert daemon.metric("dnssecd_tls_handshakes_total", direction="incoming", result="done") >= 1

    # The review refuses a version: nobody sees it. The customer corrects it.
    day.write(2, "forbidden A 192.0.2.66\n")
    wait_event(daemon, "review-rejected", CUSTOMER)
    assert "forbidden is not ours" in alert_text(daemon, CUSTOMER)
    assert day.version(daemon) == "1"
    day.write(3, "allowed A 192.0.2.7\n")
    day.served_everywhere(3)
    wait_event(daemon, "review-rejected", CUSTOMER, firing=False)
    output = day.home / "signed/customer.test.zone"
    wait_until(lambda: day.told() == daemon.serial(CUSTOMER), "the command is told", 30)
    assert "forbidden" not in output.read_text()
    assert ldns_verify_zone(output, CUSTOMER).ok

    # DS: the operator hands it over; dnssecd sees it at the parent by itself.
    ds = day.hand_over()
    day.validates("resolver", ds)

    # The customer leaves: not before the parent's DS has gone.
    refused_removal = daemon.cli("zone", "remove", CUSTOMER)
    before = daemon.serial(CUSTOMER)
    assert before is not None
    assert refused_removal.status == 1
    assert "DS" in refused_removal.text
    day.served_everywhere(3)
    day.at_parent(f"update delete {CUSTOMER} DS")
    wait_until(lambda: not ds_at(day.parent.port, CUSTOMER), "the parent has no DS")
    wait_until(lambda: daemon.cli("zone", "remove", CUSTOMER).ok, "it may be removed", WAIT_S, every=1.0)
    for name, secondary in day.secondaries.items():
        wait_until(lambda s=secondary: s.serial(CUSTOMER) is None, f"{name} no longer has it", WAIT_S)
    assert daemon.serial(CUSTOMER) is None

    # The customer comes back the same evening: with the same keys, and the same DS.
    restored = daemon.cli("zone", "restore", CUSTOMER, "--first-publication", timeout=WAIT_S)
    assert restored.ok, restored
    again = daemon.wait_serial_other_than(CUSTOMER, None, WAIT_S)
    assert again > before, "a secondary that still has the zone would follow"
    day.served_everywhere(3)
    assert day.tags() == keys
    assert day.hand_over() == ds
    day.validates("evening", ds)
