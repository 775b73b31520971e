"""A zone signed with ML-DSA-44, in the daemon and at real secondaries; every signature is checked by dnspython."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dns.dnssec
import dns.message
import dns.name
import dns.query
import dns.rdatatype
import dns.zone
import pytest

from tests.integration.smallzone import ZONE, small_zone
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config, replace_file, secondaries_of
from tests.peers.knotd import Knotd
from tests.peers.named import Named
from tests.peers.nsd import Nsd
from tests.peers.process import LOOPBACK, Servers
from tests.peers.tsig import TsigKey
from tests.peers.zones import axfr

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

MLDSA44 = 18


def check_signatures(path: Path) -> dict[int, int]:
    """Verify every RRSIG of a zone file by dnspython; return how many there are by algorithm."""
    origin = dns.name.from_text(ZONE)
    zone = dns.zone.from_file(str(path), origin, relativize=False)
    keys = {origin: zone.find_rdataset(origin, dns.rdatatype.DNSKEY)}
    found: dict[int, int] = {}
    for name, node in zone.items():
        for signatures in node:
            if signatures.rdtype != dns.rdatatype.RRSIG:
                continue
            covered = node.find_rdataset(signatures.rdclass, signatures.covers)
            for signature in signatures:
                dns.dnssec.validate_rrsig((name, covered), signature, keys)
                found[int(signature.algorithm)] = found.get(int(signature.algorithm), 0) + 1
    return found


def forecast(servers: Servers, home: Path, key: TsigKey, source: Path) -> dict[str, Any]:
    """What a daemon that signs the same zone with ECDSA says of ML-DSA-44; it is stopped again."""
    config = daemon_config(home, DaemonPorts.free(), key, {ZONE: source})
    daemon = servers.start(Dnssecd(home / "dnssecd", config, key))
    daemon.wait_serial_other_than(ZONE, None, 60)
    sizes = daemon.cli_json("simulate", ZONE, "--algorithm", "mldsa44")
    shown = daemon.cli("simulate", ZONE, "--algorithm", "mldsa44")
    assert "every such query comes again over TCP" in shown.out, shown
    assert sizes["now"]["dnskey"] == answer_octets(daemon.port, ZONE, "DNSKEY")
    assert sizes["now"]["nxdomain"] == pytest.approx(answer_octets(daemon.port, f"no.{ZONE}", "A"), rel=0.1)
    daemon.stop()
    return dict(sizes["after"])


def answer_octets(port: int, name: str, rtype: str) -> int:
    """The octets of an answer with signatures over TCP."""
    query = dns.message.make_query(name, rtype, want_dnssec=True)
    return len(dns.query.tcp(query, LOOPBACK, port=port, timeout=10).wire or b"")


def test_a_zone_is_signed_with_ml_dsa(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    source = peer_dir / "input.zone"
    source.write_text(small_zone())
    (peer_dir / "ecdsa/dnssecd").mkdir(parents=True)
    sizes = forecast(servers, peer_dir / "ecdsa", tsig_key, source)
    ports = DaemonPorts.free()
    peers = secondaries_of(peer_dir, [ZONE], ports.dns, tsig_key, [Knotd, Named, Nsd])
    trial = {"experimental": ["mldsa44"], "ksk": {"algorithm": "mldsa44"}, "zsk": {"algorithm": "mldsa44"}}
    secondaries = {name: peer.port for name, peer in peers.items()}
    config = daemon_config(peer_dir, ports, tsig_key, {ZONE: source}, secondaries, trial)
    for peer in peers.values():
        servers.start(peer)
    daemon = servers.start(Dnssecd(peer_dir / "dnssecd", config, tsig_key))
    assert "is experimental" in daemon.cli("check-config").text
    assert daemon.wait_serial_other_than(ZONE, None, 60) == 1
    for serial, extra in ((1, ""), (2, "more A 192.0.2.9\n")):
        if extra:
            daemon.stop()
            daemon.start()  # the keys are read from their files
            replace_file(source, small_zone(serial, extra))
            daemon.wait_serial_other_than(ZONE, serial - 1, 60)
        path = peer_dir / f"signed-{serial}.zone"
        daemon.export(ZONE, path)
        counts = check_signatures(path)
        assert set(counts) == {MLDSA44}, counts
        assert counts[MLDSA44] > 120
        verdict = daemon.cli("verify", str(path), "--origin", ZONE)
        assert verdict.ok, verdict
        content = daemon.zone_content(ZONE)
        for peer in peers.values():
            peer.wait_serial(ZONE, serial)
            assert axfr(peer.port, ZONE, tsig_key, peer_dir) == content
    # The forecast, made before there was any such key, was right.
    assert sizes["dnskey"] == answer_octets(daemon.port, ZONE, "DNSKEY")
    assert sizes["soa"] == pytest.approx(answer_octets(daemon.port, ZONE, "SOA"), rel=0.1)
    assert sizes["nxdomain"] == pytest.approx(answer_octets(daemon.port, f"no.{ZONE}", "A"), rel=0.1)
    transfers = [event for event in daemon.log_events() if event.get("event") == "transfer out"]
    whole, part = (
        min(event["octets"] for event in transfers if event["kind"] == kind) for kind in ("axfr", "ixfr")
    )
    assert sizes["transfer"] == pytest.approx(whole, rel=0.1)
    assert sizes["update"] < part < 5 * sizes["update"]  # a name of its own changes the NSEC3 chain, too
    assert sizes["store"] == pytest.approx(
        (peer_dir / "state/zones/small.test.sqlite").stat().st_size, rel=0.5
    )

    tag = daemon.cli_json("key", "list", ZONE)["keys"][0]["tag"]
    refused = daemon.cli(
        "key", "export", ZONE, "--key-tag", str(tag), "--format", "bind", "-o", str(peer_dir)
    )
    assert not refused.ok
    tried = daemon.cli("keystore", "test", "local", "--algorithm", "mldsa44")
    assert "MLDSA44 key generated, signed, verified and destroyed" in tried.out, tried
