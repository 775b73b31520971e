"""Zones of a policy with `share_keys` are signed with the same keys, before and after a roll-over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.smallzone import ZONE, small_zone
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config
from tests.peers.process import Servers, wait_until
from tests.peers.tools import ldns_verify_zone
from tests.peers.tsig import TsigKey

pytestmark = pytest.mark.integration

ZONES = [ZONE, "other.test.", "third.test."]


def keys_of(daemon: Dnssecd, zone: str) -> set[tuple[str, str]]:
    """Role and DNSKEY of a zone's keys."""
    found: list[dict[str, Any]] = daemon.cli_json("key", "list", zone)["keys"]
    return {(key["role"], key["public_key"]) for key in found}


def is_settled(daemon: Dnssecd, zone: str) -> bool:
    """Whether DNSKEY and signatures of all the zone's keys are omnipresent."""
    keys = daemon.cli_json("key", "list", zone)["keys"]
    wanted = {"ksk": "krrsig", "zsk": "zrrsig"}
    return all(key["dnskey"] == key[wanted[key["role"]]] == "omnipresent" for key in keys)


def test_zones_share_their_keys(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    files = {zone: peer_dir / f"{zone}zone" for zone in ZONES}
    for zone, path in files.items():
        text = small_zone(names=3).replace("$TTL 300", "$TTL 2").replace("604800 60", "604800 2")
        path.write_text(text.replace(ZONE, zone))
    policy = {"share_keys": True, "dnskey_ttl": "2s", "propagation_delay": "1s"}
    config = daemon_config(peer_dir, DaemonPorts.free(), tsig_key, files, policy=policy)
    late = config["zone"].pop(ZONES[2])
    daemon = servers.start(Dnssecd(peer_dir / "dnssecd", config, tsig_key))
    for zone in ZONES[:2]:
        daemon.wait_serial_other_than(zone, None)
    first = keys_of(daemon, ZONES[0])
    assert {role for role, _ in first} == {"ksk", "zsk"}
    assert keys_of(daemon, ZONES[1]) == first
    assert len(daemon.cli_json("key", "list", "--stored")["keys"]) == 2

    for zone in ZONES[:2]:
        wait_until(lambda zone=zone: is_settled(daemon, zone), f"the keys of {zone} are everywhere", 60)  # type: ignore[misc]
    # From here on a successor waits for so long before it signs that a slow machine's commands fit in between.
    config["policy"]["default"]["dnskey_ttl"] = "2m"
    daemon.write_config()
    assert daemon.cli("config", "reload").ok
    for zone in ZONES[:2]:
        assert daemon.cli("key", "rollover", zone, "--role", "zsk").ok
        wait_until(lambda zone=zone: len(keys_of(daemon, zone)) == 3, "the successor is there", 60)  # type: ignore[misc]
    both = keys_of(daemon, ZONES[0])
    assert keys_of(daemon, ZONES[1]) == both > first

    config["zone"][ZONES[2]] = late
    daemon.write_config()
    assert daemon.cli("config", "reload").ok
    daemon.wait_serial_other_than(ZONES[2], None)
    third = keys_of(daemon, ZONES[2])
    (successor,) = both - first
    assert third == {successor, *(key for key in first if key[0] == "ksk")}
    for zone in ZONES:
        exported = peer_dir / f"{zone}signed"
        daemon.export(zone, exported)
        verdict = ldns_verify_zone(exported, zone)
        assert verdict.ok, verdict
