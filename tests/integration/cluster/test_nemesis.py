"""Rounds of faults under a load of updates: what docs/ha.md promises holds.

DNSSECD_ROUNDS, DNSSECD_SEED, DNSSECD_ZONES and DNSSECD_EVERY (seconds between two updates of a client) change the long
form.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from tests.integration.cluster.daemons import Cluster
from tests.integration.cluster.nemesis import LEASE_S, START_S, Checker, Load, Nemesis, Pair
from tests.integration.hsm.softhsm import SoftHsm
from tests.peers.knotd import Knotd
from tests.peers.nsd import Nsd
from tests.peers.postgres import BIN
from tests.peers.process import LOOPBACK, Servers, wait_until
from tests.peers.proxy import Proxy
from tests.peers.tsig import TsigKey

pytestmark = pytest.mark.integration
NODES = ("a", "b", "c")


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


@pytest.fixture
def rounds(
    pair: Pair,
    disks: dict[str, Path],
    servers: Servers,
    peer_dir: Path,
    tsig_key: TsigKey,
    monkeypatch: pytest.MonkeyPatch,
) -> Rounds:
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    return Rounds(pair, disks, servers, peer_dir, tsig_key)


class Rounds:
    """Three nodes with a token that all reach, three secondaries; each node reaches the databases by proxies."""

    def __init__(
        self, pair: Pair, disks: dict[str, Path], servers: Servers, home: Path, key: TsigKey
    ) -> None:
        self._pair, self._disks, self._servers, self._home, self._key = pair, disks, servers, home, key
        self.kinds: set[str] = set()
        self.drawn: Counter[str] = Counter()
        self.take_overs: list[float] = []

    def _start(self, zones: tuple[str, ...]) -> tuple[Cluster, dict[str, tuple[Proxy, ...]]]:
        hsm, pair = SoftHsm(self._home / "hsm"), self._pair
        hsm.make_token("dns")
        cluster = Cluster(
            self._home, pair.primary, hsm, self._key, NODES, zones, (Knotd, Nsd), take_over_after=f"{LEASE_S}s",
            require_synchronous=True,
        )  # fmt: skip
        proxies: dict[str, tuple[Proxy, ...]] = {
            name: (Proxy(pair.primary.port), Proxy(pair.standby.port)) for name in NODES
        }
        for name, node in cluster.nodes.items():
            hosts = ",".join(f"{LOOPBACK}:{proxy.port}" for proxy in proxies[name])
            node.config["cluster"]["database"] = (
                f"postgresql://postgres@{hosts}/{cluster.database}?target_session_attrs=read-write"
            )
            if name in self._disks:
                node.config["server"]["state_dir"] = self._disks[name] / "state"
        for server in (*cluster.nodes.values(), *cluster.secondaries.values()):
            self._servers.add(server).start(START_S)
        for zone in zones:
            owner = cluster.wait_owner(zone, START_S)
            wait_until(
                lambda: cluster.takes(owner, "first", zone=zone),  # noqa: B023
                "updates are taken",
                START_S,
            )
        return cluster, proxies

    def run(self, count: int, seed: int, zones: tuple[str, ...], every: float) -> None:
        """Do rounds, and print a line about each. every: seconds between two updates of a client."""
        cluster, proxies = self._start(zones)
        checkers = [Checker(cluster, zone) for zone in zones]
        nemesis = Nemesis(cluster, self._pair, proxies, self._disks, seed)
        self.kinds = set(nemesis.faults)
        sent = 0
        for number, what in enumerate(list(islice(nemesis.kinds(), count))):
            begun = time.monotonic()
            with Load(*checkers, every=every, after=sent) as load:
                node = nemesis.strike(what, nemesis.rng.choice(zones))
                struck = time.monotonic()
                for checker in nemesis.rng.sample(checkers, min(2, len(checkers))):
                    checker.look()
            ended = time.monotonic()
            for checker in checkers:
                checker.settle()
            took = nemesis.take_overs()
            sent += load.sent
            self.drawn[what] += 1
            self.take_overs += took
            answered = sum(len(each.answered) for each in checkers)
            print(
                f"round {number} of seed {seed}: {what} ({node}); {answered} answered NOERROR in all, "
                f"{load.sent} sent now, {sum(each.looks for each in checkers)} transfers, "
                f"taken over after {', '.join(f'{each:.1f}' for each in took) or '-'} s; "
                f"fault {struck - begun:.0f} s, load {ended - struck:.0f} s, check {time.monotonic() - ended:.0f} s",
                flush=True,
            )
            faults = [fault for each in checkers for fault in each.faults]
            assert not faults, (number, what, faults)
            for checker in checkers:
                checker.shrink()
        print(dict(self.drawn), "taken over after at most", max(self.take_overs, default=0.0), "s")
        assert all(checker.answered for checker in checkers)
        for each in proxies.values():
            for proxy in each:
                proxy.close()


@pytest.mark.timeout(1800)
def test_each_kind_of_fault_once(rounds: Rounds) -> None:
    rounds.run(10, 7, names(30), every=0.1)
    assert rounds.drawn.keys() == rounds.kinds


@pytest.mark.soak
@pytest.mark.timeout(28_800)
def test_faults_under_load(rounds: Rounds) -> None:
    rounds.run(
        int(os.environ.get("DNSSECD_ROUNDS", "200")),
        int(os.environ.get("DNSSECD_SEED", "1")),
        names(int(os.environ.get("DNSSECD_ZONES", "30"))),
        every=float(os.environ.get("DNSSECD_EVERY", "0.1")),
    )


def names(count: int) -> tuple[str, ...]:
    return tuple(f"z{number}.test." for number in range(count))
