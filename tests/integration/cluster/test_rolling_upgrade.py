"""Nodes of two versions run side by side: the tables are upgraded first, then one node after the other.

The newer version is this one with one more migration of the tables, which the older one can still use.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dnssecd.cluster import schema
from tests.integration.cluster.daemons import ZONE, Cluster
from tests.integration.hsm.softhsm import SoftHsm
from tests.peers.dnssecd import Dnssecd
from tests.peers.paths import REPOSITORY
from tests.peers.postgres import Postgres
from tests.peers.process import Servers, wait_until
from tests.peers.tsig import TsigKey
from tests.peers.updates import NOERROR

pytestmark = [pytest.mark.integration, pytest.mark.soak]
_OLD = f"Migration(_VERSION_{schema.VERSION}, 1),\n"
_NEW = _OLD + 'Migration("ALTER TABLE node ADD COLUMN added text", 1),\n'


def newer(home: Path) -> Path:
    """A tree with the next version of the program."""
    shutil.copytree(REPOSITORY / "dnssecd", home / "dnssecd", ignore=shutil.ignore_patterns("__pycache__"))
    schema, package = home / "dnssecd/cluster/schema.py", home / "dnssecd/__init__.py"
    assert _OLD in schema.read_text()
    schema.write_text(schema.read_text().replace(_OLD, _NEW))
    package.write_text(package.read_text() + '\n__version__ = "9.9.9"\n')
    return home


def upgrade(node: Dnssecd, tree: Path) -> None:
    real = node.environment
    node.environment = lambda: {**real(), "PYTHONPATH": str(tree)}  # type: ignore[method-assign]


def init(node: Dnssecd, tree: Path) -> str:
    """`cluster init` of the newer version: the current directory comes first where Python looks for a package."""
    command = [sys.executable, "-m", "dnssecd", "cluster", "init", "--config", str(node.config_path)]
    done = subprocess.run(
        command, cwd=tree, env=node.environment(), capture_output=True, text=True, timeout=90
    )
    return done.stdout + done.stderr


def test_one_node_after_the_other(
    servers: Servers, peer_dir: Path, postgres: Postgres, tsig_key: TsigKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    hsm = SoftHsm(peer_dir / "hsm")
    hsm.make_token("dns")
    cluster = Cluster(peer_dir, postgres, hsm, tsig_key)
    for server in (*cluster.nodes.values(), cluster.secondary):
        servers.start(server)
    owner = cluster.wait_owner(timeout=120)
    wait_until(lambda: cluster.takes(owner, "old"), "updates are taken", 120)
    tree = newer(peer_dir / "tree")
    order = [name for name in cluster.nodes if name != owner] + [owner]
    for number, name in enumerate(order):
        node, other = cluster.nodes[name], order[1 - number]
        upgrade(node, tree)
        if number == 0:
            assert f"version {schema.VERSION + 1}" in init(node, tree)
            assert cluster.update(owner, "tables") == NOERROR, "the older version uses the newer tables"
        assert cluster.nodes[other].cli("node", "drain", name).ok
        wait_until(lambda other=other: cluster.owner() == other, "the other node owns the zone", 90)
        node.stop()
        wait_until(lambda other=other: cluster.takes(other, f"without-{other}"), "it takes updates", 60)
        node.start()
        assert node.cli("node", "resume", name).ok

        def version(name: str = name, other: str = other) -> str:
            rows = cluster.nodes[other].cli_json("node", "list")["nodes"]
            return str(next(row["version"] for row in rows if row["name"] == name))

        wait_until(lambda version=version: version() == "9.9.9", "it joined with the newer version", 60)
        wait_until(lambda name=name: cluster.takes(name, f"through-{name}"), "updates are forwarded", 60)
        a, b = cluster.nodes.values()
        wait_until(lambda a=a, b=b: a.serial(ZONE) == b.serial(ZONE), "both have one version", 60)
        assert a.zone_content(ZONE) == b.zone_content(ZONE)
    serial = cluster.nodes[owner].serial(ZONE)
    assert serial is not None
    cluster.secondary.wait_serial(ZONE, serial, 60)
    assert cluster.secondary.transfers(ZONE).axfr == 1, "it followed by IXFR"
    names = {line.partition(".")[0] for line in cluster.secondary.zone_content(ZONE)}
    assert names >= {
        "old",
        "tables",
        *(f"without-{name}" for name in order),
        *(f"through-{name}" for name in order),
    }
