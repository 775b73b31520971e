"""A secondary behind a secondary: neither counts on the zone for longer than its signatures last (EDNS EXPIRE)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.integration.smallzone import ZONE, small_zone
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config
from tests.peers.knotd import Knotd
from tests.peers.nameserver import SecondaryZone
from tests.peers.process import Servers, wait_until
from tests.peers.tools import dig
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

DAY = 86_400
EXPIRE_S, VALIDITY_S = 60 * DAY, 14 * DAY


def expire_at(port: int) -> int:
    """Return for how many seconds a server may still serve the zone, as it tells others (RFC 7314)."""
    answer = dig(port, ZONE, "SOA", "+expire").text
    found = re.search(r"EXPIRE: (\d+)", answer)
    return int(found[1]) if found else 0


def test_a_chain_of_secondaries_expires_the_zone_before_its_signatures_end(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    """The second one counts from what the first one has left. BIND 9.18 does not ask in transfers, Knot does."""
    timers = f" 3600 600 {EXPIRE_S} "
    text = small_zone().replace(" 3600 600 604800 ", timers)
    assert timers in text
    (peer_dir / "input.zone").write_text(text)
    ports = DaemonPorts.free()
    first = Knotd(peer_dir / "first", [SecondaryZone(ZONE, ports.dns, tsig_key)])
    config = daemon_config(peer_dir, ports, tsig_key, {ZONE: peer_dir / "input.zone"}, {"first": first.port})
    config["policy"]["default"]["signature_validity"] = f"{VALIDITY_S}s"
    servers.start(first)
    servers.start(Dnssecd(peer_dir / "dnssecd", config, tsig_key))
    first.wait_serial(ZONE, 1)
    second = servers.start(Knotd(peer_dir / "second", [SecondaryZone(ZONE, first.port, tsig_key)]))
    second.wait_serial(ZONE, 1)
    assert DAY < expire_at(ports.dns) <= VALIDITY_S
    for port in (first.port, second.port):
        wait_until(lambda port=port: DAY < expire_at(port) <= VALIDITY_S, "it counts on no more")  # type: ignore[misc]
