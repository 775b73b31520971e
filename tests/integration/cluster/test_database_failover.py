"""The database fails over to its synchronous standby, comes back as it was, or has a full disk: two real servers."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cluster.daemons import ZONE, Cluster
from tests.integration.cluster.nemesis import Checker, Load
from tests.integration.hsm.softhsm import SoftHsm
from tests.peers.postgres import BIN, Postgres
from tests.peers.process import LOOPBACK, Servers, wait_until
from tests.peers.tsig import TsigKey
from tests.peers.updates import SERVFAIL

pytestmark = [pytest.mark.integration, pytest.mark.timeout(420)]


@pytest.fixture
def hsm(peer_dir: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    hsm = SoftHsm(peer_dir / "hsm")
    hsm.make_token("dns")
    return hsm


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory for servers that run as another user."""
    if not (BIN / "initdb").exists():
        pytest.skip("PostgreSQL is not installed: scripts/setup-peers")
    directory = Path(tempfile.mkdtemp(prefix="postgres-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def replicated(home: Path) -> tuple[Postgres, Postgres]:
    """A primary and its synchronous standby, both running."""
    (home / "one").mkdir()
    primary = Postgres(home / "one", {"fsync": "on"}).make().start()
    standby = primary.make_standby(home / "two", "s1").start()
    primary.change(synchronous_standby_names="'s1'")
    return primary, standby


def test_the_standby_is_promoted_and_the_old_primary_comes_back(
    servers: Servers, peer_dir: Path, home: Path, hsm: SoftHsm, tsig_key: TsigKey
) -> None:
    """No update that was answered is lost, and no serial has two contents, also with two databases that take writes."""
    primary, standby = replicated(home)
    third = None
    try:
        cluster = Cluster(peer_dir, primary, hsm, tsig_key, take_over_after="6s", require_synchronous=True)
        both = f"{LOOPBACK}:{primary.port},{LOOPBACK}:{standby.port}"
        for node in cluster.nodes.values():
            node.config["cluster"]["database"] = (
                f"postgresql://postgres@{both}/{cluster.database}?target_session_attrs=read-write"
            )
            servers.start(node)
        servers.start(cluster.secondary)
        owner = cluster.wait_owner(timeout=90)
        wait_until(lambda: cluster.takes(owner, "first"), "updates are taken", 90)
        checker = Checker(cluster, ZONE)
        with Load(checker):
            time.sleep(3.0)
            primary.stop(immediately=True)
            time.sleep(1.0)
            promoted = time.monotonic()
            standby.promote()
            # Its settings name no standby of its own: a further failover could lose updates.
            before = len(checker.answered)
            checker.look()
            for node in cluster.nodes.values():
                wait_until(
                    lambda node=node: node.metric("dnssecd_events_firing", event="cluster-not-replicated") == 1,
                    "a database without a synchronous standby is reported", 40,
                )  # fmt: skip
            print(f"reported {time.monotonic() - promoted:.1f} s after the promotion")
            wait_until(
                lambda: all(cluster.update(name, "refused") == SERVFAIL for name in cluster.nodes),
                "updates are refused", 60,
            )  # fmt: skip
            checker.look()
            assert len(checker.answered) == before, "no update is answered while it has no standby"
            third = standby.make_standby(home / "three", "s2").start()
            standby.change(synchronous_standby_names="'s2'")
            before = len(checker.answered)
            wait_until(lambda: len(checker.answered) > before + 3, "updates are taken again", 150)
            primary.start()  # as it was: it takes connections, and its standby is gone
            time.sleep(15.0)
            checker.look()
            primary.stop(immediately=True)
        before = len(checker.answered)
        with Load(checker):
            wait_until(lambda: len(checker.answered) > before + 3, "updates are taken", 120)
        checker.settle()
        assert not checker.faults, checker.faults
        print(f"{len(checker.answered)} of {checker.sent} updates answered NOERROR, none lost")
    finally:
        for server in (third, standby, primary):
            if server is not None:
                server.stop(immediately=True)


@pytest.fixture
def small_disk(home: Path) -> Iterator[Path]:
    """A file system of 96 MiB."""
    path = home / "small"
    path.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96m,mode=755", "tmpfs", str(path)], capture_output=True
    )
    if made.returncode:
        pytest.skip("no file system can be mounted here")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def firing(cluster: Cluster) -> float:
    return sum(
        node.metric("dnssecd_events_firing", event="cluster-database-away") for node in cluster.nodes.values()
    )


def test_the_disk_of_the_database_is_full(
    servers: Servers, peer_dir: Path, small_disk: Path, hsm: SoftHsm, tsig_key: TsigKey
) -> None:
    """Zones are served, updates refused, an alert fires; when there is room again, work continues by itself."""
    server = Postgres(small_disk, {"min_wal_size": "32MB", "max_wal_size": "32MB"}).make().start()
    try:
        cluster = Cluster(peer_dir, server, hsm, tsig_key, take_over_after="6s")
        for node in cluster.nodes.values():
            servers.start(node)
        servers.start(cluster.secondary)
        owner = cluster.wait_owner(timeout=90)
        wait_until(lambda: cluster.takes(owner, "first"), "updates are taken", 90)
        checker = Checker(cluster, ZONE)
        with Load(checker):
            time.sleep(1.0)
            ballast = small_disk / "ballast"
            with ballast.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(1 << 16))
                except OSError:
                    pass
                wait_until(lambda: firing(cluster) > 0, "the alert fires", 120)
            checker.look()
            # PostgreSQL may have some room left in the segments that it has; then a small record is still taken.
            for name in cluster.nodes:
                wait_until(lambda: cluster.update(name, "refused") == SERVFAIL, "updates are refused", 60)  # noqa: B023
            assert all(node.serial(ZONE) is not None for node in cluster.nodes.values()), "zones are served"
            ballast.unlink()
            if (
                server.exited()
            ):  # a full disk of the WAL ends PostgreSQL; whoever looks after it starts it again
                server.start()
            before = len(checker.answered)
            wait_until(lambda: len(checker.answered) > before + 3, "updates are taken again", 120)
        checker.settle()
        assert not checker.faults, checker.faults
        wait_until(lambda: firing(cluster) == 0, "the alert ends", 90)
    finally:
        server.stop(immediately=True)
        assert os.path.ismount(small_disk)
