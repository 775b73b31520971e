"""Zones that are removed, also in the middle of a job, and come back: nothing of the old one reaches the new one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.dsparent import parent_server, parent_zone
from tests.integration.smallzone import ZONE, small_zone
from tests.peers.dnssecd import Dnssecd
from tests.peers.process import Servers, wait_until
from tests.peers.tsig import TsigKey
from tests.peers.world import World, start_world

pytestmark = pytest.mark.integration

OTHER = "other.test."
ENOUGH = 4  # edits, so that each zone worker has had the zone


@pytest.fixture
def world(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> World:
    made = start_world(servers, peer_dir, tsig_key, ZONE, small_zone(), kinds=())
    other = peer_dir / "other.zone"
    other.write_text(small_zone().replace(ZONE, OTHER))
    made.daemon.config["zone"][OTHER] = {**made.daemon.config["zone"][ZONE], "file": other}
    made.daemon.write_config()
    assert made.daemon.cli("config", "reload").ok
    assert made.daemon.wait_serial_other_than(ZONE, None) == 1
    made.daemon.wait_serial_other_than(OTHER, None)
    return made


def leave(daemon: Dnssecd, *options: str) -> dict[str, Any]:
    """Take the zone out of the configuration and have it removed; its table, to put back."""
    table: dict[str, Any] = daemon.config["zone"].pop(ZONE)
    daemon.write_config()
    removed = daemon.cli("config", "reload", "--remove", ZONE, *options)
    assert removed.ok, removed
    return table


def come_back(daemon: Dnssecd, table: dict[str, Any]) -> None:
    daemon.config["zone"][ZONE] = table
    daemon.write_config()
    reloaded = daemon.cli("config", "reload")
    assert reloaded.ok, reloaded


def edit(world: World, serial: int, name: str) -> None:
    """Put a name into the zone's file, and see it served."""
    world.put(small_zone(serial, f"{name} A 192.0.2.9\n"))
    wait_until(lambda: any(line.startswith(f"{name}.") for line in content(world)), f"{name} is served")


def content(world: World) -> set[str]:
    return world.daemon.zone_content(ZONE) if world.daemon.serial(ZONE) is not None else set()


def test_a_zone_that_comes_back_follows_its_file(world: World) -> None:
    for number in range(ENOUGH):
        edit(world, 2 + number, f"before{number}")
    before = world.daemon.serial(ZONE)
    assert before is not None
    table = leave(world.daemon)
    assert world.daemon.serial(ZONE) is None
    come_back(world.daemon, table)
    world.daemon.wait_serial_other_than(ZONE, None)
    for number in range(ENOUGH):
        edit(world, 10 + number, f"after{number}")
    assert not world.daemon.cli_json("alerts", "list")["alerts"]
    assert world.daemon.serial(OTHER) is not None


def test_a_zone_removed_while_a_job_runs_leaves_nothing(world: World) -> None:
    daemon = world.daemon
    more = "".join(f"n{number} A 10.0.{number // 256}.{number % 256}\n" for number in range(15_000))
    world.put(small_zone(2, more))
    wait_until(lambda: working(daemon), "a zone worker is at work")
    leave(daemon)
    databases = Path(daemon.config["server"]["state_dir"]) / "zones"
    assert [path.name for path in databases.glob("small.test*")] == []
    assert ZONE not in daemon.cli("alerts", "list").out
    daemon.stop()
    daemon.start()
    daemon.wait_serial_other_than(OTHER, None)
    assert ZONE not in daemon.cli("alerts", "list").out
    assert daemon.serial(ZONE) is None
    assert [path.name for path in databases.glob("small.test*")] == []
    published = [e for e in daemon.log_events() if e["event"] == "zone published" and e["zone"] == ZONE]
    assert [e["serial"] for e in published] == [1]


def working(daemon: Dnssecd) -> bool:
    """Whether the zone's database is being written: its write-ahead log has grown."""
    log = Path(daemon.config["server"]["state_dir"]) / "zones" / "small.test.sqlite-wal"
    return log.exists() and log.stat().st_size > 500_000


def test_a_zone_with_a_ds_at_its_parent_is_not_removed(
    world: World, servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    ds = "small DS 4711 13 2 " + "ab" * 32 + "\n"
    daemon = world.daemon
    parent = servers.start(parent_server(peer_dir / "parent", tsig_key, parent_zone(ds)))
    table = daemon.config["zone"][ZONE]
    table["parent"] = {"servers": [f"127.0.0.1:{parent.port}"]}
    daemon.write_config()
    assert daemon.cli("config", "reload").ok
    del daemon.config["zone"][ZONE]
    daemon.write_config()
    refused = daemon.cli("config", "reload", "--remove", ZONE)
    assert refused.status == 1
    assert "DS 4711" in refused.text
    assert "--ds-is-gone" in refused.text
    assert daemon.serial(ZONE) == 1
    parent.stop()
    unasked = daemon.cli("config", "reload", "--remove", ZONE)
    assert unasked.status == 1
    assert "could not be queried" in unasked.text
    assert daemon.serial(ZONE) == 1
    servers.start(parent_server(peer_dir / "without", tsig_key, parent_zone(), port=parent.port))
    assert daemon.cli("config", "reload", "--remove", ZONE).ok
    assert daemon.serial(ZONE) is None


def test_a_removed_zone_is_restored_with_its_keys_and_a_later_serial(world: World) -> None:
    daemon = world.daemon
    edit(world, 5, "kept")
    keys = key_tags(daemon)
    last = daemon.serial(ZONE)
    assert last is not None
    table = leave(daemon)
    daemon.stop()
    daemon.start()
    daemon.wait_serial_other_than(OTHER, None)
    daemon.config["zone"][ZONE] = {**table, "policy": "other"}
    daemon.config["policy"]["other"] = {
        "keystore": "local",
        "ksk": {"algorithm": "ed25519"},
        "zsk": {"algorithm": "ed25519"},
    }
    daemon.write_config()
    reloaded = daemon.cli("config", "reload")
    assert f"dnssecd zone restore {ZONE}" in reloaded.text
    anew = daemon.wait_serial_other_than(ZONE, None)
    assert anew > last, "a secondary that has the zone of before would not take the new one"
    assert not keys & key_tags(daemon)
    daemon.config["zone"][ZONE] = table
    daemon.write_config()
    assert daemon.cli("config", "reload").ok
    restored = daemon.cli("zone", "restore", ZONE)
    assert restored.ok, restored
    assert key_tags(daemon) == keys
    back = daemon.serial(ZONE)
    assert back is not None
    assert back > anew
    edit(world, 20, "after")
    again = daemon.cli("zone", "restore", "never.test.")
    assert again.status == 1


def key_tags(daemon: Dnssecd) -> set[int]:
    """The key tags in the zone's key set."""
    return {row["tag"] for row in daemon.cli_json("key", "list", ZONE)["keys"]}
