"""The owner's key service cannot run any more, or has lost its keys: another node gets the zone without a command."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

from tests.integration.cluster.daemons import ZONE, Cluster
from tests.integration.cluster.test_sealed_keys import key_files, private_keys, sealed_cluster, settled_owner
from tests.integration.rollover_world import Witness
from tests.peers.dnssecd import Dnssecd
from tests.peers.nameserver import ask
from tests.peers.postgres import Postgres
from tests.peers.process import Servers, wait_until
from tests.peers.tsig import TsigKey
from tests.peers.unbound import Unbound
from tests.peers.updates import NOERROR

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]
KILL_EVERY_S = 0.2


def kill_key_service(node: Dnssecd) -> None:
    """``kill -9`` of the key service that a daemon runs as its child."""
    for pid in Path(f"/proc/{node.pid}/task/{node.pid}/children").read_text().split():
        with suppress(OSError):  # it has ended already
            if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"dnssecd.signer\0"):
                os.kill(int(pid), signal.SIGKILL)


@contextmanager
def killed_again_and_again(node: Dnssecd) -> Iterator[None]:
    """No key service of a daemon lives for longer than a moment."""
    ended = threading.Event()

    def kill() -> None:
        while not ended.wait(KILL_EVERY_S):
            kill_key_service(node)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    yield
    ended.set()
    killer.join(10)


@contextmanager
def without_keys(node: Dnssecd) -> Iterator[None]:
    """The key directory is lost; the key service begins again with an empty one, and another sealing key."""
    keys = Path(node.config["server"]["state_dir"]) / "keys"
    away = keys.rename(keys.with_name("away"))
    kill_key_service(node)
    yield
    keys.rename(keys.with_name("made-meanwhile"))
    away.rename(keys)
    kill_key_service(node)


def why_not(cluster: Cluster, name: str) -> str:
    """Why a node cannot take the zone over, as that node says."""
    rows = cluster.nodes[name].cli_json("zone", "owner", ZONE)["nodes"]
    return str(next(row["detail"] for row in rows if row["node"] == name))


def anchors(node: Dnssecd) -> list[str]:
    answer = ask(node.port, ZONE, "DNSKEY")
    assert answer is not None
    return [f"{ZONE} IN DNSKEY {key.to_text()}" for key in answer.answer[0] if key.flags & 1]


@pytest.mark.parametrize("trouble", [killed_again_and_again, without_keys])
def test_another_node_takes_over_without_a_command(
    servers: Servers,
    peer_dir: Path,
    postgres: Postgres,
    tsig_key: TsigKey,
    trouble: Callable[[Dnssecd], AbstractContextManager[None]],
) -> None:
    cluster = sealed_cluster(peer_dir, postgres, tsig_key, servers)
    servers.start(cluster.secondary)
    owner = settled_owner(cluster)
    other = next(name for name in cluster.nodes if name != owner)
    a, b = cluster.nodes[owner], cluster.nodes[other]
    assert len(key_files(a).keys() & key_files(b).keys()) == 2
    wait_until(lambda: not why_not(cluster, other), "the other node can take it over", 60)
    assert cluster.update(owner, "before") == NOERROR
    secrets = [private.hex() for node in (a, b) for private in private_keys(node)]
    serial = a.serial(ZONE)
    assert serial is not None
    cluster.secondary.wait_serial(ZONE, serial)
    resolver = servers.start(Unbound(peer_dir / "unbound", ZONE, cluster.secondary.port, anchors(b)))
    witness = Witness(resolver)
    witness.questions = (ZONE, "SOA"), (ZONE, "DNSKEY"), (f"before.{ZONE}", "TXT"), (f"nothing.{ZONE}", "A")
    witness.start()

    with trouble(a):
        wait_until(lambda: not cluster.takes(owner, "meanwhile"), "no updates", 30, every=0.2)
        wait_until(lambda: cluster.takes(other, "after"), "the other node takes them", 90, every=1.0)
        assert cluster.owner() == other
        assert cluster.update(owner, "forwarded") == NOERROR
        assert "this node cannot sign the zone and gives it up" in a.log_text()
        assert a.metric("dnssecd_cluster_zones_given_up_total") == 1
        serial = b.serial(ZONE)
        assert serial is not None
        cluster.secondary.wait_serial(ZONE, serial)
        assert cluster.secondary.transfers(ZONE).axfr == 1, "it follows by IXFR"
        wait_until(lambda: a.serial(ZONE) == serial, "the node without keys follows, and serves", 30)
        assert a.zone_content(ZONE) == b.zone_content(ZONE)
        for name in ("after", "forwarded"):
            assert resolver.verdict(f"{name}.{ZONE}", "TXT") == ("NOERROR", True)
        assert why_not(cluster, owner)
        assert a.cli_json("zone", "owner", ZONE)["move_to"] == ""

    wait_until(lambda: not why_not(cluster, owner), "it can sign again", 150, every=0.5)
    assert cluster.takes(other, "repaired")
    assert cluster.owner() == other, "nothing moves back by itself"
    witness.stop()
    assert b.metric("dnssecd_cluster_zones_given_up_total") == 0
    for node in (a, b):
        text = node.log_text()
        assert not [secret for secret in secrets if secret in text]
