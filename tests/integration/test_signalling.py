"""Signalling names (RFC 9615): made in the zone of the name server while the parent has no DS, and removed after."""

from __future__ import annotations

from pathlib import Path

import dns.rdatatype
import pytest

from tests.integration.dsparent import PARENT, parent_server, parent_zone
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config, replace_file
from tests.peers.nameserver import ask
from tests.peers.process import LOOPBACK, Servers, wait_until
from tests.peers.tools import nsupdate
from tests.peers.tsig import TsigKey

pytestmark = pytest.mark.integration

HOST, CHILD = "host.test.", "small.test."
SIGNAL = f"_dsboot.{CHILD}_signal.ns1.{HOST}"
#: So that CDS is published, and the DS seen, in seconds.
FAST = {
    "dnskey_ttl": "2s",
    "propagation_delay": "1s",
    "parent_propagation_delay": "1s",
    "parent_ds_ttl": "2s",
}


def zone_text(name: str, server: str, serial: int, extra: str = "") -> str:
    return (
        f"$ORIGIN {name}\n$TTL 2\n@ SOA ns1.{HOST} host {serial} 3600 600 604800 2\n@ NS {server}\n"
        f"www A 192.0.2.1\n{extra}"
    )


def signalled(daemon: Dnssecd, rrtype: str = "CDS", name: str = SIGNAL) -> set[str]:
    """The records at a signalling name, each with its RRSIG."""
    answer = ask(daemon.port, name, rrtype, dnssec=True)
    if answer is None:
        return set()
    kind = dns.rdatatype.from_text(rrtype)
    found = {record.to_text() for rrset in answer.answer if rrset.rdtype == kind for record in rrset}
    signed = any(rrset.rdtype == dns.rdatatype.RRSIG for rrset in answer.answer)
    assert signed is bool(found)
    return found


def test_from_no_ds_to_ds(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    text = parent_zone(child="any").replace("any NS ns1.any", f"small NS ns1.{HOST}")
    parent = servers.start(parent_server(peer_dir / "parent", tsig_key, text))
    files = {HOST: peer_dir / "host.zone", CHILD: peer_dir / "small.zone"}
    glue = f"ns1 A {LOOPBACK}\n"
    files[HOST].write_text(zone_text(HOST, "ns1", 1, glue))
    files[CHILD].write_text(zone_text(CHILD, f"ns1.{HOST}", 1))
    config = daemon_config(peer_dir, DaemonPorts.free(), tsig_key, files, policy=FAST)
    config["server"]["clock_tolerance"] = "1s"
    config["zone"][CHILD]["parent"] = {"servers": [f"{LOOPBACK}:{parent.port}"]}
    config["zone"][HOST]["signalling"] = [f"ns1.{HOST}"]
    daemon = servers.start(Dnssecd(peer_dir / "dnssecd", config, tsig_key))

    wait_until(lambda: signalled(daemon), "the CDS is signalled", 60)
    own = ask(daemon.port, CHILD, "CDS")
    assert own is not None
    assert signalled(daemon) == {record.to_text() for record in own.answer[0]}
    assert len(signalled(daemon, "CDNSKEY")) == 1
    before = daemon.serial(HOST)
    replace_file(files[HOST], zone_text(HOST, "ns1", 9, glue + "more A 192.0.2.9\n"))
    daemon.wait_serial_other_than(HOST, before)
    assert signalled(daemon), "loading the file leaves it"

    (digest,) = signalled(daemon)
    added = nsupdate(parent.port, f"zone {PARENT}\nupdate add {CHILD} 1 DS {digest}", tsig_key, peer_dir)
    assert added.ok, added
    assert daemon.cli("ds", "check", CHILD).status is not None
    wait_until(lambda: not signalled(daemon), "it is removed when the parent has the DS", 120)
    assert daemon.cli_json("zone", "show", CHILD)["security"] in ("secure", "rolling")
