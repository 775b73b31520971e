"""Zones come and go while the daemon runs; catalogs tell secondaries, and tell us."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.smallzone import ZONE, small_zone, wait_event
from tests.peers.catalogs import CatalogKnotd, CatalogNamed, CatalogPdns
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config, replace_file
from tests.peers.named import Named
from tests.peers.nameserver import Nameserver, PrimaryZone, SecondaryZone
from tests.peers.process import LOOPBACK, Servers, free_port, wait_until
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

CATALOG = "catalog.test."
WAIT_S = 60.0


def customer(home: Path, name: str, serial: int = 1) -> Path:
    path = home / "customers" / f"{name.rstrip('.')}.zone"
    path.parent.mkdir(exist_ok=True)
    replace_file(path, small_zone(serial, names=3).replace(ZONE, name))
    return path


def producer(servers: Servers, home: Path, key: TsigKey) -> tuple[Dnssecd, dict[str, Nameserver]]:
    """A daemon with one zone and a template; named, knotd and pdns have the catalog in their configuration only."""
    ports = DaemonPorts.free()
    home.joinpath("input.zone").write_text(small_zone())
    followers: dict[str, Nameserver] = {
        kind.name: kind(home / kind.name, [SecondaryZone(CATALOG, ports.dns, key)])
        for kind in (CatalogNamed, CatalogKnotd, CatalogPdns)
    }
    for follower in followers.values():
        servers.start(follower)
    config = daemon_config(
        home, ports, key, {ZONE: home / "input.zone"}, {n: f.port for n, f in followers.items()}
    )
    config["zone-template"] = {
        "customers": {
            "file": home / "customers/{zone}.zone",
            "secondaries": list(followers),
            "allow_transfer": [key.name, LOOPBACK],  # PowerDNS 4.7 signs no request for a member
            "parent": "none",
        }
    }
    config["zone"][ZONE]["allow_transfer"] = [key.name, LOOPBACK]
    config["catalog"] = {CATALOG: {"produce": list(followers)}}
    return servers.start(Dnssecd(home / "dnssecd", config, key)), followers


def everywhere(followers: dict[str, Nameserver], zone: str, *, there: bool = True) -> None:
    for name, follower in followers.items():
        what = f"{name} {'has' if there else 'no longer has'} {zone}"
        wait_until(lambda f=follower: (f.serial(zone) is not None) is there, what, WAIT_S)


def tags(daemon: Dnssecd, zone: str) -> set[int]:
    return {key["tag"] for key in daemon.cli_json("key", "list", zone)["keys"]}


def test_secondaries_follow_zones_that_come_and_go(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    daemon, followers = producer(servers, peer_dir, tsig_key)
    everywhere(followers, ZONE)
    customer(peer_dir, "a.test.")
    added = daemon.cli_json("zone", "add", "a.test", "--template", "customers")
    assert "zone wait a.test." in added["message"]
    everywhere(followers, "a.test.")
    keys = tags(daemon, "a.test.")

    again = daemon.cli("zone", "add", "a.test.", "--template", "customers")
    assert again.status == 1
    assert "already" in again.text
    unknown = daemon.cli("zone", "add", "b.test.", "--template", "customer")
    assert unknown.status == 1
    assert 'did you mean "customers"?' in unknown.text

    daemon.stop()
    daemon.start()
    assert daemon.serial("a.test.") is not None
    everywhere(followers, "a.test.")

    in_file = daemon.cli("zone", "remove", ZONE)
    assert in_file.status == 1
    assert f"config reload --remove {ZONE}" in in_file.text
    assert daemon.cli("zone", "remove", "a.test.").ok
    everywhere(followers, "a.test.", there=False)
    assert daemon.serial("a.test.") is None
    assert daemon.serial(ZONE) is not None

    # knotd no longer has the zone, and answers REFUSED without a signature: what it has is not known for sure.
    unsure = daemon.cli("zone", "restore", "a.test.")
    assert unsure.status == 1
    assert daemon.serial("a.test.") is None
    assert len(list((peer_dir / "state/zones/removed").glob("a.test.sqlite.*[0-9]"))) == 1
    assert daemon.cli("zone", "restore", "a.test.", "--first-publication").ok
    assert tags(daemon, "a.test.") == keys
    everywhere(followers, "a.test.")

    del daemon.config["zone-template"]["customers"]
    daemon.write_config()
    refused = daemon.cli("config", "reload")
    assert refused.status == 1
    assert "a.test." in refused.text


def catalog_zone(serial: int, members: dict[str, str], version: str = "2", extra: str = "") -> str:
    lines = [
        f"$ORIGIN {CATALOG}",
        "$TTL 0",
        f"@ SOA invalid. invalid. {serial} 60 60 86400 0",
        "@ NS invalid.",
    ]
    lines += [f'version TXT "{version}"'] if version else []
    lines += [f"{label}.zones PTR {zone}" for label, zone in members.items()]
    return "\n".join(lines) + "\n" + extra


class Upstream:
    """BIND with a catalog and its members, unsigned; the daemon takes all of them."""

    def __init__(self, servers: Servers, home: Path, key: TsigKey, names: list[str], **more: Any) -> None:
        self.home, self.serial = home, 0
        self.path = home / "catalog.zone"
        self.put({f"m{number}": name for number, name in enumerate(names)})
        ports = DaemonPorts.free()
        zones = [PrimaryZone(CATALOG, self.path, key, [ports.dns])]
        zones += [PrimaryZone(name, customer(home, name), key, [ports.dns]) for name in names]
        self.named = servers.start(Named(home / "upstream", zones, free_port()))
        config = daemon_config(home, ports, key, {ZONE: home / "input.zone"})
        home.joinpath("input.zone").write_text(small_zone())
        config["primary"] = {"up": {"address": f"{LOOPBACK}:{self.named.port}", "tsig": key.name}}
        config["policy"]["plain"] = {"keystore": "local", "denial": "nsec"}
        config["zone-template"] = {
            "members": {
                "source": "primaries",
                "primaries": ["up"],
                "allow_transfer": [key.name],
                "parent": "none",
            },
            "plain": {
                "policy": "plain",
                "source": "primaries",
                "primaries": ["up"],
                "allow_transfer": [key.name],
                "parent": "none",
            },
        }
        config["catalog"] = {
            CATALOG: {
                "consume": {"primaries": ["up"], "template": "members", "groups": {"plain": "plain"}},
                **more,
            }
        }
        self.daemon = servers.start(Dnssecd(home / "dnssecd", config, key))

    def put(self, members: dict[str, str], version: str = "2", extra: str = "") -> None:
        self.serial += 1
        replace_file(self.path, catalog_zone(self.serial, members, version, extra))

    def publish(self, members: dict[str, str], version: str = "2", extra: str = "") -> None:
        self.put(members, version, extra)
        self.named.reload()


def test_a_catalog_adds_changes_and_removes_zones(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    names = [f"z{number}.test." for number in range(8)]
    up = Upstream(servers, peer_dir, tsig_key, names)
    daemon = up.daemon
    for name in names:
        assert daemon.wait_serial_other_than(name, None, WAIT_S)
    members = {f"m{number}": name for number, name in enumerate(names)}

    refused = daemon.cli("zone", "remove", names[0])
    assert refused.status == 1
    assert CATALOG in refused.text

    def policy(name: str) -> str:
        rows = daemon.cli_json("zone", "list")["zones"]
        return next((row["policy"] for row in rows if row["zone"] == name), "")

    up.publish(members, extra='group.m1.zones TXT "plain"\n')
    wait_until(lambda: policy(names[1]) == "plain", "the group's template is used", WAIT_S)
    assert policy(names[2]) == "default"

    # A zone that the file has, a part of it, and a catalog in the catalog, are not taken over.
    up.publish({**members, "own": ZONE, "part": f"www.{ZONE}", "cycle": CATALOG})
    wait_event(daemon, "catalog-conflict", CATALOG)
    told = json.dumps(daemon.zone_status(CATALOG)["alerts"])
    assert ZONE in told
    assert "configuration file" in told
    assert f"www.{ZONE}: it lies in the zone {ZONE}" in told
    assert daemon.metric("dnssecd_catalog_looks_total", result="ok")
    wait_until(lambda: policy(names[1]) == "default", "without the group it is the first template", WAIT_S)

    # A broken catalog changes nothing.
    for broken in ({"version": ""}, {"version": "3"}, {"extra": f"twice.zones PTR {names[0]}\n"}):
        up.publish(members, **broken)
        wait_event(daemon, "catalog-broken", CATALOG)
        assert daemon.serial(names[7]) is not None
        up.publish(members)
        wait_event(daemon, "catalog-broken", CATALOG, firing=False)
    wait_event(daemon, "catalog-conflict", CATALOG, firing=False)

    # Removed and added again at once: it is there in the end, and the others are not touched.
    up.publish({label: name for label, name in members.items() if label != "m6"})
    up.publish(members)
    looks = daemon.metric("dnssecd_catalog_looks_total", result="ok")
    wait_until(
        lambda: daemon.metric("dnssecd_catalog_looks_total", result="ok") > looks,
        "the catalog is compared",
        WAIT_S,
    )
    assert daemon.wait_serial_other_than(names[6], None, WAIT_S)
    assert policy(names[6]) == "default"
    assert daemon.serial(names[7]) is not None

    del members["m7"]
    up.publish(members)
    wait_until(lambda: daemon.serial(names[7]) is None, "the member is removed", WAIT_S)
    quarantine = peer_dir / "state/zones/removed"
    wait_until(lambda: list(quarantine.glob("z7.test.sqlite.*")), "its database is kept", WAIT_S)

    # Most of the members at once: nothing before an operator says so.
    up.publish({"m0": names[0]})
    wait_event(daemon, "delta-guard", CATALOG)
    assert daemon.serial(names[1]) is not None
    assert daemon.cli("zone", "reload", CATALOG, "--accept-change").ok
    wait_until(lambda: daemon.serial(names[1]) is None, "the members are removed", WAIT_S)
    assert daemon.serial(names[0]) is not None
    assert daemon.serial(ZONE) is not None

    # A catalog that is no longer consumed leaves its zones.
    daemon.stop()
    daemon.start()
    assert daemon.serial(names[0]) is not None


def test_catalogs_that_name_one_another(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    """No circle is followed; a member of two catalogs stays with the first; one listed twice breaks its catalog."""
    second, member, other = "second.test.", "z0.test.", "z1.test."
    files = {name: peer_dir / f"{name}zone" for name in (CATALOG, second)}

    def put(serial: int, **members: dict[str, str]) -> None:
        for name, label in ((CATALOG, "first"), (second, "second")):
            text = catalog_zone(serial, members[label]).replace(f"$ORIGIN {CATALOG}", f"$ORIGIN {name}")
            replace_file(files[name], text)

    put(1, first={"a": member, "b": second}, second={"a": CATALOG})
    ports = DaemonPorts.free()
    zones = [PrimaryZone(name, path, tsig_key, [ports.dns]) for name, path in files.items()]
    zones += [PrimaryZone(name, customer(peer_dir, name), tsig_key, [ports.dns]) for name in (member, other)]
    named = servers.start(Named(peer_dir / "upstream", zones, free_port()))
    (peer_dir / "input.zone").write_text(small_zone())
    config = daemon_config(peer_dir, ports, tsig_key, {ZONE: peer_dir / "input.zone"})
    config["primary"] = {"up": {"address": f"{LOOPBACK}:{named.port}", "tsig": tsig_key.name}}
    config["zone-template"] = {
        "members": {
            "source": "primaries",
            "primaries": ["up"],
            "allow_transfer": [tsig_key.name],
            "parent": "none",
        }
    }
    config["catalog"] = {
        name: {"consume": {"primaries": ["up"], "template": "members"}, "max_change": "100%"}
        for name in files
    }
    daemon = servers.start(Dnssecd(peer_dir / "dnssecd", config, tsig_key))
    assert daemon.wait_serial_other_than(member, None, WAIT_S)
    for name in files:
        wait_event(daemon, "catalog-conflict", name)
        assert "catalogs in catalogs are not followed" in json.dumps(daemon.zone_status(name)["alerts"])

    put(2, first={"a": member}, second={"a": member, "b": other})
    named.reload()
    assert daemon.wait_serial_other_than(other, None, WAIT_S)
    wait_event(daemon, "catalog-conflict", CATALOG, firing=False)
    told = json.dumps(daemon.zone_status(second)["alerts"])
    assert f"it is a member of the catalog {CATALOG}" in told

    put(3, first={"a": member}, second={"a": other, "b": other})
    named.reload()
    wait_event(daemon, "catalog-broken", second)
    assert daemon.serial(other) is not None
    put(4, first={"a": member}, second={"a": other})
    named.reload()
    wait_event(daemon, "catalog-broken", second, firing=False)
    wait_event(daemon, "catalog-conflict", second, firing=False)
    assert daemon.serial(member) is not None
    assert daemon.serial(other) is not None
