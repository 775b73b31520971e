"""Rounds of faults under a load of updates: what docs/ha.md promises holds. DNSSECD_ROUNDS, DNSSECD_SEED change it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration.cluster.daemons import ZONE, Cluster
from tests.integration.cluster.nemesis import LEASE_S, Checker, Load, Nemesis
from tests.integration.hsm.softhsm import SoftHsm
from tests.peers.postgres import Postgres
from tests.peers.process import Servers, wait_until
from tests.peers.proxy import Proxy
from tests.peers.tsig import TsigKey
from tests.peers.updates import NOERROR

pytestmark = [pytest.mark.integration, pytest.mark.soak]
ROUNDS = int(os.environ.get("DNSSECD_ROUNDS", "200"))
SEED = int(os.environ.get("DNSSECD_SEED", "1"))


@pytest.mark.timeout(14_400)
def test_faults_under_load(
    servers: Servers, peer_dir: Path, postgres: Postgres, tsig_key: TsigKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    hsm = SoftHsm(peer_dir / "hsm")
    hsm.make_token("dns")
    cluster = Cluster(peer_dir, postgres, hsm, tsig_key, ("a", "b", "c"), take_over_after=f"{LEASE_S}s")
    proxies = {name: Proxy(postgres.port) for name in cluster.nodes}
    for name, node in cluster.nodes.items():
        node.config["cluster"]["database"] = postgres.uri(cluster.database, proxies[name].port)
        servers.start(node)
    servers.start(cluster.secondary)
    owner = cluster.wait_owner(timeout=120)
    wait_until(lambda: cluster.update(owner, "first") == NOERROR, "updates are taken", 120)
    nemesis, checker = Nemesis(cluster, proxies, SEED), Checker(cluster, ZONE)
    for number in range(ROUNDS):
        with Load(checker) as load:
            done = nemesis.strike()
            checker.look()
        checker.settle()
        print(
            f"round {number} of seed {SEED}: {done}; {len(checker.answered)} answered NOERROR in all, "
            f"{load.sent} sent now, {checker.looks} transfers, serial {max(checker.contents)}"
        )
        assert not checker.faults, (number, done, checker.faults)
    assert checker.answered
    for proxy in proxies.values():
        proxy.close()
