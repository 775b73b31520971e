"""A node leaves the cluster: its database is lost, or all goes back to one host; and a node comes back to its log."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.cluster.daemons import ZONE, Cluster
from tests.integration.hsm.softhsm import SoftHsm
from tests.peers.postgres import Postgres
from tests.peers.process import Servers, wait_until
from tests.peers.tsig import TsigKey
from tests.peers.updates import NOERROR, SERVFAIL

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture
def hsm(peer_dir: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    hsm = SoftHsm(peer_dir / "hsm")
    hsm.make_token("dns")
    return hsm


def started(
    servers: Servers, peer_dir: Path, postgres: Postgres, hsm: SoftHsm, key: TsigKey
) -> tuple[Cluster, str, str]:
    """A cluster of two nodes that has a version with an update; its owner, and the other node."""
    cluster = Cluster(peer_dir, postgres, hsm, key)
    for server in (*cluster.nodes.values(), cluster.secondary):
        servers.start(server)
    owner = cluster.wait_owner()
    other = next(name for name in cluster.nodes if name != owner)
    cluster.nodes[owner].wait_serial_other_than(ZONE, None, 60)
    wait_until(lambda: cluster.takes(owner, "one"), "updates are taken", 30)
    serial = cluster.nodes[owner].serial(ZONE)
    assert serial is not None
    wait_until(lambda: cluster.nodes[other].serial(ZONE) == serial, "the other node follows", 60)
    cluster.secondary.wait_serial(ZONE, serial, 60)

    def ready() -> bool:
        rows = cluster.nodes[other].cli_json("zone", "owner", ZONE)["nodes"]
        return next(row for row in rows if row["node"] == other)["detail"] == ""

    wait_until(ready, "the other node could take over", 60)
    return cluster, owner, other


def names(cluster: Cluster) -> set[str]:
    return {line.partition(".")[0] for line in cluster.secondary.zone_content(ZONE)}


def test_the_database_is_lost_and_a_node_continues_alone(
    servers: Servers, peer_dir: Path, postgres: Postgres, hsm: SoftHsm, tsig_key: TsigKey
) -> None:
    cluster, owner, other = started(servers, peer_dir, postgres, hsm, tsig_key)
    node = cluster.nodes[other]
    for name in (owner, other):
        cluster.nodes[name].kill()
    refused = node.cli("node", "detach")
    assert not refused.ok
    assert "--others-fenced" in refused.text

    node.config.pop("cluster")
    node.start()
    before = node.serial(ZONE)
    assert before is not None, "it serves the zone"
    assert cluster.update(other, "no") == SERVFAIL, "no version is made while the zone belongs to a log"
    running = node.cli("node", "detach", "--others-fenced")
    assert "stop the daemon first" in running.text
    node.stop()

    detached = node.cli("node", "detach", "--others-fenced")
    assert detached.ok, detached.text
    node.start()
    after = node.wait_serial_other_than(ZONE, before, 60)
    assert after > before
    wait_until(lambda: cluster.takes(other, "alone"), "it takes updates", 60)
    serial = node.serial(ZONE)
    assert serial is not None
    cluster.secondary.wait_serial(ZONE, serial, 60)
    assert names(cluster) >= {"one", "alone"}
    assert "no" not in names(cluster)


def test_all_zones_go_back_to_one_host(
    servers: Servers, peer_dir: Path, postgres: Postgres, hsm: SoftHsm, tsig_key: TsigKey
) -> None:
    cluster, owner, other = started(servers, peer_dir, postgres, hsm, tsig_key)
    node, left = cluster.nodes[other], cluster.nodes[owner]
    node.stop()
    assert cluster.update(owner, "later") == NOERROR
    behind = node.cli("cluster", "export")
    assert not behind.ok
    assert f"this node lacks records of {ZONE}" in behind.text
    node.start()
    wait_until(lambda: node.serial(ZONE) == left.serial(ZONE), "it follows", 60)
    wait_until(
        lambda: node.cli_json("zone", "owner", ZONE)["nodes"][0]["records_behind"] == 0, "it has all", 30
    )
    node.stop()
    exported = node.cli("cluster", "export")
    assert exported.ok, exported.text
    again = node.cli("cluster", "export")
    assert again.ok, again.text
    assert cluster.update(owner, "fenced") == SERVFAIL, "the other node can make no version"
    assert left.serial(ZONE) is not None, "it serves"

    node.config.pop("cluster")
    node.start()
    wait_until(lambda: cluster.takes(other, "alone"), "it takes updates", 60)
    serial = node.serial(ZONE)
    assert serial is not None
    cluster.secondary.wait_serial(ZONE, serial, 60)
    assert names(cluster) >= {"one", "later", "alone"}
    assert "fenced" not in names(cluster)


def test_the_database_went_back_in_time(
    servers: Servers, peer_dir: Path, postgres: Postgres, hsm: SoftHsm, tsig_key: TsigKey
) -> None:
    """The newest record is no longer in the log: nothing goes backwards, and the node that has it offers it again."""
    cluster, owner, other = started(servers, peer_dir, postgres, hsm, tsig_key)
    node, follower = cluster.nodes[owner], cluster.nodes[other]
    follower.stop()
    assert cluster.update(owner, "two") == NOERROR
    serial = node.serial(ZONE)
    node.kill()
    cluster.sql("DELETE FROM log WHERE sequence = (SELECT max(sequence) FROM log)")
    node.start()
    wait_until(
        lambda: node.metric("dnssecd_events_firing", event="log-record-refused") == 1, "the alert fires", 60
    )
    assert node.serial(ZONE) == serial
    assert cluster.update(owner, "no") == SERVFAIL
    node.stop()
    rejoined = node.cli("node", "rejoin")
    assert rejoined.ok, rejoined.text
    assert "it is put in whole" in rejoined.text
    node.start()
    wait_until(lambda: cluster.takes(owner, "three"), "it takes updates", 60)
    follower.start()
    wait_until(lambda: follower.serial(ZONE) == node.serial(ZONE) != serial, "the other node follows", 60)
    assert follower.zone_content(ZONE) == node.zone_content(ZONE)
    assert {"one", "two", "three"} <= {line.partition(".")[0] for line in follower.zone_content(ZONE)}
