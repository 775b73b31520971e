"""The package on a Debian system of its own that systemd has booted (a container), as an operator would use it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.paths import REPOSITORY, find_program

HERE = Path(__file__).parent / "machine"
UNIT = """[Unit]
After=basic.target dbus.service
[Service]
Type=oneshot
ExecStart=/bin/bash /trial/trial.sh
[Install]
WantedBy=multi-user.target
"""
PACKAGES = "systemd,systemd-sysv,dbus,python3,man-db,dnsutils,openssl,softhsm2"

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]


def run(*words: str | Path, timeout: float, **environment: str) -> None:
    command = list(map(str, words))
    where = {**os.environ, **environment, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, env=where)
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A minimal Debian 12; $DNSSECD_ROOTFS keeps it for the next time."""
    if os.geteuid() != 0:
        pytest.skip("a machine of its own takes root")
    if find_program("systemd-nspawn") is None or find_program("debootstrap") is None:
        run(REPOSITORY / "scripts/apt-install", "systemd-container", "debootstrap", timeout=600)
    kept = os.environ.get("DNSSECD_ROOTFS")
    path = Path(kept) if kept else tmp_path_factory.mktemp("system") / "root"
    if not (path / "trial").is_dir():
        run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", path, timeout=1200)
        units = path / "etc/systemd/system"
        (units / "trial.service").write_text(UNIT)
        (units / "multi-user.target.wants").mkdir(exist_ok=True)
        (units / "multi-user.target.wants/trial.service").symlink_to("../trial.service")
        (path / "trial").mkdir()
    yield path
    if not kept:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def facts(system: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What was found inside; its files are thrown away with its last process."""
    trial = tmp_path_factory.mktemp("trial")
    (trial / "out").mkdir()
    run(REPOSITORY / "deploy/packaging/make-deb", trial, PYTHON=sys.executable, timeout=300)
    (package,) = trial.glob("*.deb")
    package.rename(trial / "dnssecd.deb")
    shutil.copy(HERE / "trial.sh", trial)
    command = ["systemd-nspawn", "--register=no", "--keep-unit", "--volatile=overlay", "--private-network"]
    binds = [f"--bind-ro={trial}:/trial", f"--bind={trial}/out:/trial/out"]
    run(*command, *binds, "-D", system, f"--machine=dnssecd-{os.getpid()}", "--boot", timeout=300)
    told = (trial / "out/facts").read_text().splitlines()
    found = dict(line.partition("=")[::2] for line in told)
    print((trial / "out/log").read_text())
    assert found.get("finished") == "yes", (trial / "out/log").read_text()[-6000:]
    return found


def test_installs_and_serves(facts: dict[str, str]) -> None:
    assert facts["installed"] == facts["init"] == facts["started"] == facts["signed_after_install"] == "0"
    assert facts["idle_without_configuration"] == "inactive"
    assert facts["made_again"] == "0"
    assert facts["units_verified"] == "0 0"
    for unit in ("dnssecd", "dnssecd-signer"):
        assert facts[f"active_{unit}"] == "active"
        assert facts[f"enabled_{unit}"] == "enabled"
        assert facts[f"user_{unit}"] == unit
        assert facts[f"no_new_privileges_{unit}"] == "1"
        assert facts[f"seccomp_{unit}"] == "2"
    assert int(facts["capabilities_dnssecd"], 16) == 1 << 10, "CAP_NET_BIND_SERVICE"
    assert int(facts["capabilities_dnssecd-signer"], 16) == 0
    assert facts["interfaces_of_signer"].split() in (["lo"], [])
    assert float(facts["exposure_dnssecd"]) <= 2.0
    assert float(facts["exposure_dnssecd-signer"]) <= 1.5


def test_priorities_in_the_journal(facts: dict[str, str]) -> None:
    assert int(facts["info_lines"]) > 0
    assert facts["info_lines_among_warnings"] == "0"


def test_reload(facts: dict[str, str]) -> None:
    assert (facts["reload_good"], facts["reload_again"], facts["reload_signer"]) == ("0", "0", "0")
    assert facts["reload_bad"] != "0"


def test_port_53_and_credentials(facts: dict[str, str]) -> None:
    assert facts["restart"] == facts["served_at_once_on_port_53"] == "0"
    assert int(facts["restart_ms"]) < 10_000
    assert int(facts["transferred_signatures"]) >= 8


def test_who_may(facts: dict[str, str]) -> None:
    assert facts["reader_looks"] == "0"
    assert facts["reader_changes"] == "1"
    assert facts["stranger_looks"] != "0"


def test_the_key_service_is_killed(facts: dict[str, str]) -> None:
    assert facts["served_without_signer"] == facts["signer_back"] == "0"


def test_a_token(facts: dict[str, str]) -> None:
    assert facts["token"] == "0"


def test_a_daemon_that_stands_still(facts: dict[str, str]) -> None:
    assert (facts["restarts_before_standstill"], facts["restarts_after_standstill"]) == ("0", "1")
    assert facts["served_after_standstill"] == "0"
    assert int(facts["watchdog_told"]) >= 1


def test_stop(facts: dict[str, str]) -> None:
    assert int(facts["stop_ms"]) < 10_000
    assert facts["result"] == "success success"
    assert facts["stop_order"].split() == ["dnssecd", "dnssecd-signer"]


def test_upgrade_and_purge(facts: dict[str, str]) -> None:
    for name in ("upgraded", "served_after_upgrade", "audit_log_kept", "manual", "purged", "keys_left"):
        assert facts[name] == "0", name
    assert facts["program_left"] != "0"
