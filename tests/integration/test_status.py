"""One look at a real daemon with many zones; and answers of a real server, validated as the daemon does hourly."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import dns.rdatatype
import dns.zone
import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.verify.served import judge_served
from dnssecd.publish.exchange import Peer
from dnssecd.publish.served import Served, ask_served
from tests.integration.smallzone import ZONE, small_zone, unsigned_zone_file, wait_event
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config
from tests.peers.named import Named
from tests.peers.nameserver import PrimaryZone
from tests.peers.process import LOOPBACK, Servers, wait_until
from tests.peers.tools import dnssec_signzone
from tests.peers.tsig import TsigKey

pytestmark = pytest.mark.integration

ZONES = [f"c{number:02}.test." for number in range(52)]
BROKEN = ["c17.test.", "c30.test.", "c44.test.", "c51.test."]
LINES_MAX = 30


def test_fifty_two_zones_four_broken(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    files = {name: peer_dir / f"{name}zone" for name in ZONES}
    for name, path in files.items():
        path.write_text(small_zone(names=2).replace(ZONE, name))
    daemon = servers.start(
        Dnssecd(peer_dir, daemon_config(peer_dir, DaemonPorts.free(), tsig_key, files), tsig_key)
    )
    wait_until(
        lambda: daemon.cli_json("status")["verdict"]["zones_served"] == len(ZONES), "all are served", 60
    )
    well = daemon.cli("status")
    assert (well.status, well.out.splitlines()[0][:16]) == (0, "OK: all is well:"), well
    for name in BROKEN:
        files[name].write_text("@ SOA ns1 hostmaster 2 3600 600 604800 60\n@ NS ns1\nns1 NONSENSE\n")
    for name in BROKEN:
        wait_event(daemon, "input-error", name)
    shown = daemon.cli("status")
    lines = shown.out.splitlines()
    assert shown.status == 1, shown
    assert len(lines) <= LINES_MAX, shown.out
    assert lines[0] == "WARNING: 4 of 52 zones need attention"
    assert "ERROR input-error in 4 zones: " in lines[2]
    assert shown.out.index("input-error") < shown.out.index("zones:")
    line = daemon.cli("check")
    assert line.status == 1
    assert line.out.startswith("DNSSECD WARNING - 4 of 52 zones need attention (input-error ")
    assert " | zones=52 served=52 wrong=4 " in line.out
    rows = daemon.cli("zone", "list", "--bad", "--sort", "runway").out.splitlines()[1:]
    assert sorted(row.split()[0] for row in rows) == BROKEN
    one = daemon.cli("status", BROKEN[1])
    assert one.status == 1
    assert {name for name in ZONES if name in one.out} == {BROKEN[1]}, "about this zone alone"
    assert daemon.cli("check", "c00.test").status == 0
    assert daemon.cli("check", "unknown.test").status == 3


@pytest.fixture
def signed(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> Named:
    path = dnssec_signzone(unsigned_zone_file(peer_dir, 1), ZONE, peer_dir)
    return servers.start(Named(peer_dir / "public", [PrimaryZone(ZONE, path, tsig_key)]))


def look(server: Named, zone: str = ZONE) -> Served:
    return asyncio.run(ask_served(zone, Peer("public", LOOPBACK, server.port)))


def test_answers_of_a_real_server_validate(signed: Named, peer_dir: Path) -> None:
    made = dns.zone.from_text(
        "$TTL 60\n" + (peer_dir / f"dsset-{ZONE}").read_text(), origin=ZONE, check_origin=False
    )
    ds = [record.to_wire() for record in made.find_rdataset("@", dns.rdatatype.DS)]
    served = look(signed)
    assert served.apex is not None, served.failure
    origin, now = text_to_wire(ZONE), int(time.time())
    assert judge_served(origin, ds, served.apex, now) == ""
    assert "an RRSIG has expired" in judge_served(origin, ds, served.apex, now + 100 * 86_400)
    other = [one[:-1] + bytes((one[-1] ^ 1,)) for one in ds]
    assert "no DS at the parent" in judge_served(origin, other, served.apex, now)


def test_a_server_that_does_not_serve_the_zone_is_not_judged(signed: Named) -> None:
    served = look(signed, "other.test.")
    assert served.apex is None
    assert served.failure == "REFUSED"
