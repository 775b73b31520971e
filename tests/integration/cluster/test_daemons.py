"""Two daemons, one database, one token: the owner is killed, the other takes over, the secondary follows."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.integration.cluster.daemons import ZONE, Cluster
from tests.integration.hsm.softhsm import SoftHsm
from tests.peers.postgres import Postgres
from tests.peers.process import Servers, wait_until
from tests.peers.tsig import TsigKey
from tests.peers.updates import NOERROR, SERVFAIL

pytestmark = pytest.mark.integration


@pytest.fixture
def hsm(peer_dir: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    hsm = SoftHsm(peer_dir / "hsm")
    hsm.make_token("dns")
    return hsm


def test_the_owner_is_killed(
    servers: Servers, peer_dir: Path, postgres: Postgres, hsm: SoftHsm, tsig_key: TsigKey
) -> None:
    cluster = Cluster(peer_dir, postgres, hsm, tsig_key)
    for node in cluster.nodes.values():
        servers.start(node)
    servers.start(cluster.secondary)
    owner = cluster.wait_owner()
    other = next(name for name in cluster.nodes if name != owner)
    first = cluster.nodes[owner].wait_serial_other_than(ZONE, None)
    wait_until(lambda: cluster.nodes[other].serial(ZONE) == first, "the other node serves it", 60)
    cluster.secondary.wait_serial(ZONE, first)
    assert cluster.update(owner, "before") == NOERROR
    assert cluster.update(other, "forwarded") == NOERROR
    serial = cluster.nodes[owner].serial(ZONE)
    wait_until(lambda: cluster.nodes[other].serial(ZONE) == serial, "the other node follows", 60)
    assert cluster.nodes[other].zone_content(ZONE) == cluster.nodes[owner].zone_content(ZONE)

    twin = servers.add(cluster.twin(peer_dir, other))
    twin.spawn()

    cluster.nodes[owner].kill()
    begin = time.monotonic()
    wait_until(lambda: cluster.takes(other, "after"), "the other takes updates", 30, every=0.2)
    took = time.monotonic() - begin
    print(f"take-over after {took:.1f} s")
    last = cluster.nodes[other].serial(ZONE)
    assert last is not None
    cluster.secondary.wait_serial(ZONE, last)
    assert cluster.secondary.transfers(ZONE).axfr == 1, "it follows by IXFR"
    content = cluster.secondary.zone_content(ZONE)
    assert any(line.startswith("before.") for line in content)
    assert any(line.startswith("forwarded.") for line in content)
    assert any(line.startswith("after.") for line in content)

    cluster.nodes[owner].start()
    wait_until(lambda: cluster.nodes[owner].serial(ZONE) == last, "the killed node follows", 60)

    moved = cluster.nodes[other].cli("zone", "move", ZONE, owner)
    assert moved.ok, moved.text
    assert f"node {owner} takes {ZONE} over from node {other}" in moved.out
    wait_until(lambda: cluster.owner() == owner, "it is moved back", 30)
    wait_until(lambda: cluster.takes(owner, "moved"), "it takes updates", 30, every=0.2)

    def shown() -> tuple[str, int, str]:
        found = cluster.nodes[other].cli_json("zone", "owner", ZONE)
        return found["owner"], found["epoch"], found["move_to"]

    wait_until(lambda: shown() == (owner, 3, ""), "the other node has seen it", 30)
    listed = cluster.nodes[other].cli_json("node", "list")["nodes"]
    assert {row["name"]: (row["state"], row["zones"]) for row in listed} == {
        owner: ("running", 1),
        other: ("running", 0),
    }
    wait_until(lambda: twin.returncode() == 1, "a second node of one name does not start", 30)
    assert f"a node named {other} is running already" in twin.log_text()
    assert cluster.nodes[other].cli("cluster", "init").ok
    checked = cluster.nodes[other].cli("cluster", "check")
    assert checked.ok, checked.text
    drained = cluster.nodes[other].cli("node", "drain", owner)
    assert drained.ok, drained.text
    wait_until(lambda: cluster.owner() == other, "the others take over", 30)
    wait_until(lambda: cluster.takes(other, "drained"), "they take updates", 30, every=0.2)
    serial = cluster.nodes[other].serial(ZONE)
    assert serial is not None
    cluster.secondary.wait_serial(ZONE, serial)
    assert cluster.secondary.transfers(ZONE).axfr == 1
    assert {line.split(".")[0] for line in cluster.secondary.zone_content(ZONE)} >= {"moved", "drained"}


@pytest.mark.timeout(600)
def test_no_other_node_can_take_the_zone_over(
    servers: Servers, peer_dir: Path, postgres: Postgres, hsm: SoftHsm, tsig_key: TsigKey
) -> None:
    cluster = Cluster(peer_dir, postgres, hsm, tsig_key)
    for node in cluster.nodes.values():
        servers.start(node)
    owner = cluster.wait_owner(timeout=120)
    other = next(name for name in cluster.nodes if name != owner)
    a = cluster.nodes[owner]
    wait_until(lambda: cluster.takes(owner, "first"), "updates are taken", 120)

    def causes() -> list[str]:
        alerts = a.cli_json("status", ZONE)["alerts"]
        return [alert["cause"] for alert in alerts if alert["name"] == "take-over-impossible"]

    def detail(name: str) -> str:
        return str(next(r for r in a.cli_json("zone", "owner", ZONE)["nodes"] if r["node"] == name)["detail"])

    wait_until(lambda: not detail(other), "the other node can take it over", 120)
    assert a.cli("node", "drain", other).ok
    wait_until(causes, "it is reported", 300, every=1.0)
    assert causes() == [f"node {other} is draining"]
    command = f"no other node can take it over: dnssecd zone owner {ZONE}"
    assert command in " ".join(a.cli("explain", ZONE).out.split())
    assert a.cli("node", "resume", other).ok
    wait_until(lambda: not causes(), "it is resolved", 60, every=1.0)
    assert command not in " ".join(a.cli("explain", ZONE).out.split())

    b = cluster.nodes[other]
    b.config["policy"]["default"]["denial"] = "nsec"
    b.write_config()
    b.signal(signal.SIGHUP)
    wait_until(lambda: "other settings in [policy.default]" in detail(other), "the owner knows why", 60)


def test_a_single_host_becomes_a_node(
    servers: Servers, peer_dir: Path, postgres: Postgres, hsm: SoftHsm, tsig_key: TsigKey
) -> None:
    """What it published enters the log as it is: the other node has the zone, its keys and its journal at once."""
    cluster = Cluster(peer_dir, postgres, hsm, tsig_key)
    a, b = cluster.nodes["a"], cluster.nodes["b"]
    settings = a.config.pop("cluster")
    servers.start(a)
    first = a.wait_serial_other_than(ZONE, None)
    assert cluster.update("a", "alone") == NOERROR
    a.stop()

    a.config["cluster"] = settings
    a.start()
    assert cluster.wait_owner() == "a"
    servers.start(b)
    wait_until(lambda: b.serial(ZONE) == a.serial(ZONE) != first, "the other node has the zone")
    assert b.zone_content(ZONE) == a.zone_content(ZONE)
    assert cluster.update("b", "together") == NOERROR
    wait_until(lambda: b.serial(ZONE) == a.serial(ZONE), "the other node follows", 60)
    assert any(line.startswith("together.") for line in b.zone_content(ZONE))


def test_a_paused_owner_wakes_and_is_fenced(
    servers: Servers, peer_dir: Path, postgres: Postgres, hsm: SoftHsm, tsig_key: TsigKey
) -> None:
    """It still believes that it owns the zone, and its first append is refused: no serial has two contents."""
    cluster = Cluster(peer_dir, postgres, hsm, tsig_key)
    for node in cluster.nodes.values():
        servers.start(node)
    owner = cluster.wait_owner()
    other = next(name for name in cluster.nodes if name != owner)
    first = cluster.nodes[owner].wait_serial_other_than(ZONE, None)
    wait_until(lambda: cluster.nodes[other].serial(ZONE) == first, "the other node follows", 60)
    answered = [name for name in ("before",) if cluster.update(owner, name) == NOERROR]
    os.killpg(cluster.nodes[owner].pid, signal.SIGSTOP)
    try:
        wait_until(lambda: cluster.takes(other, "meanwhile"), "the other takes over", 60)
    finally:
        os.killpg(cluster.nodes[owner].pid, signal.SIGCONT)
    answered.append("meanwhile")
    for number in range(40):
        name = f"woken{number}"
        if cluster.update(owner, name) == NOERROR:
            answered.append(name)
        if cluster.update(other, f"other{number}") == NOERROR:
            answered.append(f"other{number}")
    assert len(answered) > 42, "it forwards after a moment"
    a, b = (cluster.nodes[name] for name in (owner, other))
    wait_until(lambda: a.serial(ZONE) == b.serial(ZONE), "both have the same serial")
    assert a.zone_content(ZONE) == b.zone_content(ZONE)
    found = {line.partition(".")[0] for line in b.zone_content(ZONE)}
    assert found >= set(answered), "no update that was answered is lost"
    assert cluster.owner() == other


def test_without_a_required_standby_zones_are_served_and_updates_refused(
    servers: Servers, peer_dir: Path, postgres: Postgres, hsm: SoftHsm, tsig_key: TsigKey
) -> None:
    cluster = Cluster(peer_dir, postgres, hsm, tsig_key, ("a",))
    node = servers.start(cluster.nodes["a"])
    serial = node.wait_serial_other_than(ZONE, None, 60)
    node.stop()
    node.config["cluster"]["require_synchronous"] = True
    node.start()
    assert node.serial(ZONE) == serial
    wait_until(
        lambda: node.metric("dnssecd_events_firing", event="cluster-database-away") == 1, "the alert fires"
    )
    assert cluster.update("a", "refused") == SERVFAIL
    assert node.serial(ZONE) == serial


def test_rows_that_others_changed_do_not_stop_a_node(
    servers: Servers, peer_dir: Path, postgres: Postgres, hsm: SoftHsm, tsig_key: TsigKey
) -> None:
    """Its name given to another process, settings of a node that cannot be read: it serves, and recovers."""
    cluster = Cluster(peer_dir, postgres, hsm, tsig_key, ("a",), take_over_after="6s")
    node = servers.start(cluster.nodes["a"])
    serial = node.wait_serial_other_than(ZONE, None, 60)
    cluster.sql(
        "INSERT INTO node (name, incarnation, alive_until, address, version, config_digest, settings, clock_offset_s) "
        "VALUES ('x', gen_random_uuid(), clock_timestamp() + interval '1 h', '{}', '', 'x', 'no settings', 0)"
    )
    wait_until(
        lambda: node.metric("dnssecd_events_firing", event="cluster-config-differs") == 1, "the alert fires"
    )
    assert cluster.update("a", "one") == NOERROR
    cluster.sql("UPDATE node SET incarnation = gen_random_uuid() WHERE name = 'a'")
    wait_until(
        lambda: node.metric("dnssecd_events_firing", event="cluster-node-unfit") == 1, "the alert fires"
    )
    assert node.running
    assert node.serial(ZONE) not in (None, serial)
    wait_until(lambda: cluster.takes("a", "two"), "it joins again when that lease ended", 60, every=0.3)
    assert node.metric("dnssecd_events_firing", event="cluster-node-unfit") == 0
