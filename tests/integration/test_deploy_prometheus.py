"""promtool judges the alert rules and runs their tests. Its package is large, so this is no part of `make test`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.peers.paths import REPOSITORY, find_program

RULES = REPOSITORY / "deploy/prometheus"

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def promtool(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The one installed, else the one in Debian's package, unpacked but not installed."""
    found = find_program("promtool")
    if found:
        return found
    directory = tmp_path_factory.mktemp("prometheus")
    # Where apt drops its rights it could not write into a directory of ours.
    as_we_are = ["-o", "APT::Sandbox::User=root"]
    subprocess.run(
        ["apt-get", "-q", *as_we_are, "download", "prometheus"], cwd=directory, check=True, timeout=300
    )
    (package,) = directory.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", package, directory], check=True, timeout=120)
    return str(directory / "usr/bin/promtool")


@pytest.mark.parametrize(
    "command",
    [("check", "rules", "dnssecd.rules.yml"), ("test", "rules", "dnssecd.rules.test.yml")],
    ids=lambda command: command[0],
)
def test_rules(promtool: str, command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [promtool, *command], cwd=RULES, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_scrape_configuration(promtool: str, tmp_path: Path) -> None:
    for name in ("scrape.yml", "dnssecd.rules.yml"):
        (tmp_path / name).write_text((RULES / name).read_text())
    done = subprocess.run(
        [promtool, "check", "config", "scrape.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_real_scrape_is_clean(promtool: str) -> None:
    """What we export, with every kind of sample, as Prometheus' linter sees it."""
    from prometheus_client import generate_latest

    from dnssecd.ops.metrics import Metrics

    metrics = Metrics()
    metrics.zone.serial.labels("example.com.").set(1)
    metrics.zone.signatures.inc()
    metrics.daemon.loop_lag.observe(0.001)
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=generate_latest(metrics.registry),
        capture_output=True,
        timeout=60,
        check=False,
    )
    told = (done.stdout + done.stderr).decode().splitlines()
    assert [line for line in told if "dnssecd_" in line] == []
