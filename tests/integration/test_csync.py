"""CSYNC (RFC 7477) as a parent that scans for it finds it at the secondaries: signed, and named by BIND and Knot."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.dsparent import parent_server
from tests.integration.smallzone import ZONE, small_zone
from tests.peers.knotd import Knotd
from tests.peers.named import Named
from tests.peers.process import Servers, wait_until
from tests.peers.tools import dig, kdig, ldns_verify_zone
from tests.peers.tsig import TsigKey
from tests.peers.world import start_world

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def test_a_new_name_server_is_announced(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    parent = servers.start(parent_server(peer_dir / "parent", tsig_key))
    policy = {"csync": "auto"}
    world = start_world(
        servers,
        peer_dir,
        tsig_key,
        ZONE,
        small_zone(),
        policy=policy,
        kinds=(Named, Knotd),
        start_daemon=False,
    )
    daemon = world.daemon
    daemon.config["zone"][ZONE]["parent"] = {"servers": [parent.address]}
    daemon.start()
    first = daemon.wait_serial_other_than(ZONE, None, 60)
    for second in world.secondaries.values():
        second.wait_serial(ZONE, first, 60)
        assert dig(second.port, "+short", ZONE, "CSYNC").out == ""

    world.put(small_zone(7, "@ NS ns2\nns2 A 127.0.0.2\n"))
    wait_until(lambda: daemon.serial(ZONE) == 7, "the change is published", 60)
    for second in world.secondaries.values():
        second.wait_serial(ZONE, 7, 60)
        for tool in (dig, kdig):
            answer = tool(second.port, "+short", "+dnssec", ZONE, "CSYNC")
            record, signature = sorted(answer.out.splitlines(), key=len)
            serial, flags, *types = record.split()
            # Immediate, and with soaminimum: not before the secondaries have that serial.
            assert flags == "3", answer
            assert types == ["A", "NS", "AAAA"]
            assert first < int(serial) <= 7
            assert signature.startswith("CSYNC "), answer
    exported = peer_dir / "exported.zone"
    daemon.export(ZONE, exported)
    assert ldns_verify_zone(exported, ZONE).ok
