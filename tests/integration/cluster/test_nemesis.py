"""Rounds of faults under a load of updates: what docs/ha.md promises holds.

DNSSECD_ROUNDS, DNSSECD_SEED and DNSSECD_ZONES change it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cluster.daemons import Cluster
from tests.integration.cluster.nemesis import LEASE_S, Checker, Load, Nemesis, Pair
from tests.integration.hsm.softhsm import SoftHsm
from tests.peers.knotd import Knotd
from tests.peers.nsd import Nsd
from tests.peers.postgres import BIN
from tests.peers.process import LOOPBACK, Servers, wait_until
from tests.peers.proxy import Proxy
from tests.peers.tsig import TsigKey
from tests.peers.updates import NOERROR

pytestmark = [pytest.mark.integration, pytest.mark.soak]
ROUNDS = int(os.environ.get("DNSSECD_ROUNDS", "200"))
SEED = int(os.environ.get("DNSSECD_SEED", "1"))
ZONES = tuple(f"z{number}.test." for number in range(int(os.environ.get("DNSSECD_ZONES", "30"))))
NODES = ("a", "b", "c")
START_S = 300.0


@pytest.fixture
def pair() -> Iterator[Pair]:
    if not (BIN / "initdb").exists():
        pytest.skip("PostgreSQL is not installed: scripts/setup-peers")
    home = Path(tempfile.mkdtemp(prefix="postgres-"))
    home.chmod(0o755)
    pair = Pair(home)
    yield pair
    pair.close()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def disks(peer_dir: Path) -> Iterator[dict[str, Path]]:
    """A file system of 256 MiB for each node; none where none can be mounted."""
    found = {}
    for name in NODES:
        path = peer_dir / f"disk-{name}"
        path.mkdir()
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256m,mode=755", "tmpfs", str(path)], capture_output=True
        )
        if made.returncode == 0:
            found[name] = path
    yield found
    for path in found.values():
        subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.mark.timeout(28_800)
def test_faults_under_load(
    pair: Pair,
    disks: dict[str, Path],
    servers: Servers,
    peer_dir: Path,
    tsig_key: TsigKey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    hsm = SoftHsm(peer_dir / "hsm")
    hsm.make_token("dns")
    cluster = Cluster(
        peer_dir, pair.primary, hsm, tsig_key, NODES, ZONES, (Knotd, Nsd), take_over_after=f"{LEASE_S}s",
        require_synchronous=True,
    )  # fmt: skip
    proxies = {name: (Proxy(pair.primary.port), Proxy(pair.standby.port)) for name in NODES}
    for name, node in cluster.nodes.items():
        hosts = ",".join(f"{LOOPBACK}:{proxy.port}" for proxy in proxies[name])
        node.config["cluster"]["database"] = (
            f"postgresql://postgres@{hosts}/{cluster.database}?target_session_attrs=read-write"
        )
        if name in disks:
            node.config["server"]["state_dir"] = disks[name] / "state"
        servers.start(node)
    for server in cluster.secondaries.values():
        servers.start(server)
    for zone in ZONES:
        owner = cluster.wait_owner(zone, START_S)
        wait_until(lambda: cluster.update(owner, "first", zone=zone) == NOERROR, "updates are taken", START_S)  # noqa: B023
    checkers = [Checker(cluster, zone) for zone in ZONES]
    nemesis = Nemesis(cluster, pair, proxies, disks, SEED)
    drawn: dict[str, int] = {}
    for number in range(ROUNDS):
        begun = time.monotonic()
        with Load(*checkers, every=0.1) as load:
            done = nemesis.strike(nemesis.rng.choice(ZONES))
            for checker in nemesis.rng.sample(checkers, min(5, len(checkers))):
                checker.look()
        for checker in checkers:
            checker.settle()
        kind = done.partition(" (")[0]
        drawn[kind] = drawn.get(kind, 0) + 1
        answered = sum(len(each.answered) for each in checkers)
        print(
            f"round {number} of seed {SEED}: {done}; {answered} answered NOERROR in all, {load.sent} sent now, "
            f"{sum(each.looks for each in checkers)} transfers, {time.monotonic() - begun:.0f} s",
            flush=True,
        )
        faults = [fault for each in checkers for fault in each.faults]
        assert not faults, (number, done, faults)
    print(drawn)
    assert all(checker.answered for checker in checkers) or ROUNDS < 10
    for each in proxies.values():
        for proxy in each:
            proxy.close()
