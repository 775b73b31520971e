"""A zone whose database is of a newer dnssecd: it is left alone and told of, and all others are served."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from tests.integration.smallzone import ZONE, small_zone, wait_event
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config
from tests.peers.process import Servers
from tests.peers.tsig import TsigKey

pytestmark = pytest.mark.integration

NEWER = "newer.test."


def test_a_newer_zone_database_stays_as_it_is(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    files = {name: peer_dir / f"{name}zone" for name in (ZONE, NEWER)}
    for name, path in files.items():
        path.write_text(small_zone().replace(ZONE, name))
    config = daemon_config(peer_dir, DaemonPorts.free(), tsig_key, files)
    daemon = servers.start(Dnssecd(peer_dir / "dnssecd", config, tsig_key))
    for name in files:
        assert daemon.wait_serial_other_than(name, None) == 1
    daemon.stop()
    database = Path(config["server"]["state_dir"]) / "zones" / "newer.test.sqlite"
    with closing(sqlite3.connect(database)) as db:
        db.execute("PRAGMA user_version = 99")
        db.execute("PRAGMA journal_mode = DELETE")
    before = sha256(database.read_bytes()).digest()
    files[ZONE].write_text(small_zone(2, "new A 192.0.2.9\n"))
    daemon.start()
    wait_event(daemon, "store-failed", NEWER)
    assert daemon.wait_serial_other_than(ZONE, 1) == 2
    assert daemon.serial(NEWER) is None
    assert "has schema 99" in str(daemon.zone_status(NEWER)["alerts"])
    daemon.stop()
    assert sha256(database.read_bytes()).digest() == before
    assert not list(database.parent.glob("newer.test.sqlite*-*"))
