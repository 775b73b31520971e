"""The clients people use, straight against the hidden primary: nsupdate, knsupdate, certbot's, octoDNS, delv."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import dns.tsig
import pytest
import yaml
from certbot.errors import PluginError
from certbot_dns_rfc2136._internal.dns_rfc2136 import _RFC2136Client

from tests.peers.dnssecd import Dnssecd
from tests.peers.process import LOOPBACK, Servers
from tests.peers.tools import Result, ldns_verify_zone, nsupdate, run
from tests.peers.tsig import TsigKey
from tests.peers.updates import dynamic_world

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

ZONE = "clients.test."


@dataclass
class Client:
    """A daemon that takes updates, and the key for them."""

    daemon: Dnssecd
    key: TsigKey
    home: Path

    def rdata(self, owner: str, rrtype: str) -> list[str]:
        """The RDATA of an RRset in the zone, sorted; and the zone is signed soundly."""
        content = self.daemon.zone_content(ZONE)
        judged = self.home / "judged.zone"
        judged.write_text("\n".join(sorted(content)) + "\n")
        verdict = ldns_verify_zone(judged, ZONE)
        assert verdict.ok, verdict
        rows = [line.split(None, 4) for line in content]
        return sorted(row[4] for row in rows if row[0] == owner and row[3] == rrtype)

    def nsupdate(self, commands: str) -> Result:
        return nsupdate(self.daemon.port, commands, self.key, self.home)


@pytest.fixture
def client(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> Client:
    world = dynamic_world(servers, peer_dir, tsig_key, ZONE, kinds=())
    return Client(world.daemon, tsig_key, peer_dir)


def test_nsupdate(client: Client) -> None:
    """With ``zone``, and without: then it asks for the SOA of the name, and finds the zone in the negative answer."""
    assert client.nsupdate(f"zone {ZONE}\nupdate add a.{ZONE} 60 TXT with").ok
    assert client.nsupdate(f"update add a.b.c.{ZONE} 60 TXT without").ok
    assert client.nsupdate(f"update add host1.{ZONE} 60 TXT there").ok
    assert client.rdata(f"a.{ZONE}", "TXT") == ['"with"']
    assert client.rdata(f"a.b.c.{ZONE}", "TXT") == ['"without"']
    assert client.rdata(f"host1.{ZONE}", "TXT") == ['"there"']
    failed = client.nsupdate(f"prereq nxdomain host1.{ZONE}\nupdate delete host1.{ZONE}")
    assert "YXDOMAIN" in failed.text
    assert client.nsupdate(f"prereq yxrrset host1.{ZONE} TXT there\nupdate delete host1.{ZONE} TXT").ok
    assert client.rdata(f"host1.{ZONE}", "TXT") == []
    assert client.rdata(f"host1.{ZONE}", "A") == ["192.0.2.1"]
    unsigned = nsupdate(client.daemon.port, f"zone {ZONE}\nupdate add b.{ZONE} 60 TXT unsigned")
    assert "REFUSED" in unsigned.text


def test_knsupdate(client: Client) -> None:
    key = f"key {client.key.algorithm}:{client.key.name} {client.key.secret}"
    head = f"server {LOOPBACK} {client.daemon.port}\n{key}\nzone {ZONE}\n"
    done = run(
        "knsupdate",
        stdin=f"{head}add knot.{ZONE} 60 A 192.0.2.77\nadd knot.{ZONE} 60 MX 5 host1\nsend\nquit\n",
    )
    assert done.ok, done
    assert client.rdata(f"knot.{ZONE}", "A") == ["192.0.2.77"]
    done = run("knsupdate", stdin=f"{head}prereq yxdomain knot.{ZONE}\ndel knot.{ZONE} A\nsend\nquit\n")
    assert done.ok, done
    assert client.rdata(f"knot.{ZONE}", "A") == []
    assert len(client.rdata(f"knot.{ZONE}", "MX")) == 1


@pytest.mark.parametrize("sign_query", [False, True])
def test_certbot(client: Client, sign_query: bool) -> None:
    """Its client for the DNS-01 challenge looks for the zone itself; two challenges for a name and its wildcard."""
    key = client.key
    certbot = _RFC2136Client(
        LOOPBACK, client.daemon.port, key.name, key.secret, dns.tsig.HMAC_SHA256, sign_query
    )
    name = f"_acme-challenge.www.{ZONE}".rstrip(".")
    for token in ("first-token", "second-token"):
        certbot.add_txt_record(name, token, 120)
    assert client.rdata(f"{name}.", "TXT") == ['"first-token"', '"second-token"']
    certbot.del_txt_record(name, "first-token")
    assert client.rdata(f"{name}.", "TXT") == ['"second-token"']
    certbot.del_txt_record(name, "second-token")
    assert client.rdata(f"{name}.", "TXT") == []
    with pytest.raises(PluginError):
        certbot.add_txt_record("_acme-challenge.elsewhere.test", "token", 120)


@dataclass
class Octodns:
    """octoDNS with a directory of YAML files and the daemon as its two sides."""

    client: Client
    config: Path
    desired: Path

    def __init__(self, client: Client) -> None:
        self.client = client
        self.config, self.desired = client.home / "octodns.yaml", client.home / "desired"
        self.desired.mkdir()
        key = client.key
        target = {
            "class": "octodns_bind.Rfc2136Provider",
            "host": LOOPBACK,
            "port": client.daemon.port,
            "key_name": key.name,
            "key_secret": key.secret,
            "key_algorithm": key.algorithm,
        }
        source = {
            "class": "octodns.provider.yaml.YamlProvider",
            "directory": str(self.desired),
            "enforce_order": False,
        }
        zones = {ZONE: {"sources": ["files"], "targets": ["daemon"]}}
        text = yaml.safe_dump({"providers": {"files": source, "daemon": target}, "zones": zones})
        descriptor = os.open(self.config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as out:
            out.write(text)

    def run(self, tool: str, *args: str) -> str:
        command = [str(Path(sys.executable).with_name(tool)), "--config-file", str(self.config), *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout + done.stderr

    def put(self, records: dict[str, object]) -> None:
        (self.desired / f"{ZONE}yaml").write_text(yaml.safe_dump(records))

    def dump(self) -> dict[str, object]:
        """What octoDNS finds in the zone: none of what signing adds."""
        out = self.client.home / "dumped"
        self.run("octodns-dump", "--output-dir", str(out), "--lenient", ZONE, "daemon")
        loaded: dict[str, object] = yaml.safe_load((out / f"{ZONE}yaml").read_text())
        return loaded


def test_octodns(client: Client) -> None:
    """Dump, change, sync, and nothing is left to do then."""
    octodns = Octodns(client)
    dumped = octodns.dump()
    assert dumped["host1"] == {"ttl": 300, "type": "A", "value": "192.0.2.1"}
    assert set(dumped) == {"", "ns1", *(f"host{number}" for number in range(20))}
    del dumped["host2"]
    dumped["host3"] = {"ttl": 600, "type": "A", "values": ["192.0.2.3", "192.0.2.33"]}
    dumped["alias"] = {"ttl": 300, "type": "CNAME", "value": f"host1.{ZONE}"}
    dumped["mail"] = [
        {"ttl": 300, "type": "MX", "value": {"preference": 10, "exchange": f"host1.{ZONE}"}},
        {"ttl": 300, "type": "TXT", "value": "v=spf1 -all"},
    ]
    octodns.put(dumped)
    octodns.run("octodns-sync", "--doit", "--force")
    assert client.rdata(f"host2.{ZONE}", "A") == []
    assert client.rdata(f"host3.{ZONE}", "A") == ["192.0.2.3", "192.0.2.33"]
    assert client.rdata(f"alias.{ZONE}", "CNAME") == [f"host1.{ZONE}"]
    assert client.rdata(f"mail.{ZONE}", "MX") == [f"10 host1.{ZONE}"]
    assert client.rdata(f"mail.{ZONE}", "TXT") == ['"v=spf1 -all"']
    assert octodns.dump() == dumped
    serial = client.daemon.serial(ZONE)
    assert "No changes were planned" in octodns.run("octodns-sync", "--doit", "--force")
    assert client.daemon.serial(ZONE) == serial


def test_delv(client: Client) -> None:
    """BIND's validator, asking us alone, with the zone's KSK as its trust anchor."""
    commands = f"update add *.wild.{ZONE} 60 TXT w\nupdate add cut.{ZONE} 60 NS ns.else.test."
    assert client.nsupdate(commands).ok
    content = client.daemon.zone_content(ZONE)
    (ksk,) = [line.split(None, 4)[4] for line in content if " IN DNSKEY 257 " in line]
    flags, protocol, algorithm, public = ksk.split(None, 3)
    anchors = client.home / "anchors"
    anchors.write_text(f'trust-anchors {{ {ZONE} static-key {flags} {protocol} {algorithm} "{public}"; }};\n')
    for name, rrtype, wanted in (
        (f"host1.{ZONE}", "A", "; fully validated"),
        (ZONE, "SOA", "; fully validated"),
        (ZONE, "DNSKEY", "; fully validated"),
        (f"any.wild.{ZONE}", "TXT", "; fully validated"),
        (f"host1.{ZONE}", "AAAA", "; negative response, fully validated"),
        (f"none.{ZONE}", "A", "; negative response, fully validated"),
    ):
        command = [
            "-a",
            str(anchors),
            f"+root={ZONE}",
            "-p",
            str(client.daemon.port),
            f"@{LOOPBACK}",
            name,
            rrtype,
        ]
        answer = run("delv", *command, timeout=30)
        assert wanted in answer.text, answer
