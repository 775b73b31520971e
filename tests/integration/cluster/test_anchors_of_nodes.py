"""Trust anchors of a zone that two nodes share, in one directory: only the owner writes them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cluster.daemons import ZONE, Cluster
from tests.integration.hsm.softhsm import SoftHsm
from tests.integration.test_anchors import FAST
from tests.peers.dnssecd import Dnssecd
from tests.peers.postgres import Postgres
from tests.peers.process import Servers, wait_until
from tests.peers.proxy import Proxy
from tests.peers.tsig import TsigKey
from tests.peers.updates import dynamic_zone_text

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

INTERVAL_S, LEASE_S = 1, 6


@pytest.fixture
def hsm(peer_dir: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    hsm = SoftHsm(peer_dir / "hsm")
    hsm.make_token("dns")
    return hsm


class Island:
    """Three nodes with one directory for anchors; ``proxies``: between each node and the database.

    Three: when one is cut off, the two others can prove that they hold a new key (held_by_min).
    """

    def __init__(self, servers: Servers, home: Path, postgres: Postgres, hsm: SoftHsm, key: TsigKey) -> None:
        self.cluster = Cluster(home, postgres, hsm, key, names=("a", "b", "c"), take_over_after=f"{LEASE_S}s")
        text = dynamic_zone_text(ZONE).replace("$TTL 300", "$TTL 2").replace("604800 60", "604800 2")
        (home / f"{ZONE}zone").write_text(text)
        self.directory = home / "www"
        self.directory.mkdir()
        self.proxies = {name: Proxy(postgres.port) for name in self.cluster.nodes}
        for name, node in self.cluster.nodes.items():
            config = node.config
            config["cluster"]["database"] = postgres.uri(self.cluster.database, self.proxies[name].port)
            config["server"]["clock_tolerance"] = "1s"
            config["policy"]["default"] |= FAST
            config["zone"][ZONE] |= {"parent": "none", "anchors": True}
            config["anchors"] = {"directory": self.directory, "interval": f"{INTERVAL_S}s"}
            servers.start(node)
        servers.start(self.cluster.secondary)

    @property
    def file(self) -> Path:
        return self.directory / ZONE.rstrip(".") / "anchors.ds"

    def given(self, node: Dnssecd) -> list[int]:
        shown = node.cli("anchors", "show", ZONE, "--json")
        keys = json.loads(shown.out)["keys"] if shown.ok else []  # not published yet, or busy
        return [key["tag"] for key in keys if key["standing"] == "given"]

    def written(self) -> list[int]:
        if not self.file.exists():
            return []
        return [
            int(line.split(" DS ")[1].split()[0])
            for line in self.file.read_text().splitlines()
            if " DS " in line
        ]

    def wait_written(self, node: Dnssecd, other_than: int = 0) -> int:
        def found() -> list[int]:
            given = self.given(node)
            return given if given and given != [other_than] and self.written() == given else []

        (tag,) = wait_until(found, "the anchor is written", 120)
        return int(tag)

    def stays(self, tag: int) -> None:
        """The file has this anchor at each look, over some intervals."""
        end = time.monotonic() + 5 * INTERVAL_S
        while time.monotonic() < end:
            assert self.written() == [tag]
            time.sleep(0.02)


@pytest.fixture
def island(
    servers: Servers, peer_dir: Path, postgres: Postgres, hsm: SoftHsm, tsig_key: TsigKey
) -> Iterator[Island]:
    made = Island(servers, peer_dir, postgres, hsm, tsig_key)
    yield made
    for proxy in made.proxies.values():
        proxy.close()


def writes(node: Dnssecd) -> int:
    return sum(one.get("event") == "trust anchors written" for one in node.log_events())


def makes_versions(node: Dnssecd) -> bool:
    """Whether a node ever owned the zone."""
    return any(one.get("event") == "this node makes the versions of the zone" for one in node.log_events())


def test_only_the_owner_publishes(island: Island) -> None:
    cluster = island.cluster
    first = cluster.wait_owner()
    owner, others = cluster.nodes[first], [node for name, node in cluster.nodes.items() if name != first]
    old = island.wait_written(owner)
    assert owner.cli("ds", "confirm", ZONE, "--key-tag", str(old)).ok
    for other in others:
        wait_until(lambda node=other: island.given(node) == [old], "the other nodes have the keys", 60)
    island.file.unlink()
    wait_until(lambda: island.written() == [old], "the owner writes the file again", 30)
    for other in others:
        assert writes(other) == 0
        refused = other.cli("anchors", "check", ZONE)
        assert refused.status == 1
        assert f"node {first} of the cluster owns the zone" in refused.text

    # The owner is cut off from the database, but not from the directory: it does not know that its keys are old.
    island.proxies[first].silent.set()
    island.proxies[first].reset()
    wait_until(lambda: any(map(makes_versions, others)), "another node takes over", 60)
    other = next(filter(makes_versions, others))
    assert other.cli("key", "rollover", ZONE, "--role", "ksk").ok
    new = island.wait_written(other, other_than=old)
    cut_off = writes(owner)
    island.stays(new)
    assert writes(owner) == cut_off
    assert other.cli("anchors", "check", ZONE).ok

    island.proxies[first].silent.clear()
    island.proxies[first].reset()
    wait_until(lambda: island.given(owner) == [new], "the first node follows", 90)
    island.stays(new)
    assert writes(owner) == cut_off
    assert owner.cli("anchors", "check", ZONE).status == 1

    wait_until(lambda: other.cli("zone", "move", ZONE, first).ok, "it is to be moved", 60, every=1.0)
    wait_until(lambda: cluster.owner() == first, "it is moved back", 60)
    before = writes(other)
    island.file.unlink()
    wait_until(lambda: island.written() == [new], "the node that owns it now writes the file", 30)
    island.stays(new)
    assert writes(other) == before
    assert owner.cli("anchors", "check", ZONE).ok
