"""Names that clients add do not make the delta guard blind for the file of a zone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.smallzone import ZONE, small_zone, wait_event
from tests.peers.process import Servers, wait_until
from tests.peers.tsig import TsigKey
from tests.peers.updates import NOERROR, UpdateConnection, UpdateMaker
from tests.peers.world import start_world

pytestmark = pytest.mark.integration

HOSTS = 12
CLIENTS_NAMES = 200


def test_a_truncated_file_is_held_back_whether_or_not_clients_added_names(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    text = small_zone(1, names=HOSTS)
    world = start_world(servers, peer_dir, tsig_key, ZONE, text, kinds=(), start_daemon=False)
    daemon = world.daemon
    daemon.config["zone"][ZONE]["allow_update"] = [
        {"tsig": tsig_key.name, "names": [f"*.dyn.{ZONE}"], "types": ["A"]}
    ]
    daemon.start()
    daemon.wait_serial_other_than(ZONE, None)
    with UpdateConnection(daemon.port) as connection:
        added = [(f"n{number}.dyn", 60, "A", "192.0.2.1") for number in range(CLIENTS_NAMES)]
        assert connection.ask(UpdateMaker(ZONE, tsig_key).wire(added)) == NOERROR
    world.put(small_zone(9, names=0))
    wait_event(daemon, "delta-guard")
    content = daemon.zone_content(ZONE)
    assert sum(" IN A " in line and line.startswith("host") for line in content) == HOSTS
    assert f"{HOSTS} of {HOSTS + 2} owner names" in str(daemon.zone_status(ZONE)["alerts"])
    assert daemon.cli("zone", "reload", ZONE, "--accept-change").ok

    def gone() -> bool:
        return not any(line.startswith("host") for line in daemon.zone_content(ZONE))

    wait_until(gone, "what a person accepted is published")
    left = daemon.zone_content(ZONE)
    assert sum(" IN A " in line and ".dyn." in line for line in left) == CLIENTS_NAMES
