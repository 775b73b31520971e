"""systemd's own tools judge the units, the users and the directories."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.peers.paths import REPOSITORY, program

UNITS = REPOSITORY / "systemd"
#: The highest exposure (0 to 10) that systemd-analyze may find.
EXPOSURE_MAX = {"dnssecd.service": 2.0, "dnssecd-signer.service": 1.5}

pytestmark = pytest.mark.integration


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    words = [program(str(command[0])), *map(str, command[1:])]
    environment = {**os.environ, "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": "", "LC_ALL": "C.UTF-8"}
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env=environment)


def exposure(unit: Path) -> float:
    done = run("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    return float(found[1])


@pytest.mark.parametrize("name", EXPOSURE_MAX)
def test_exposure(name: str) -> None:
    assert exposure(UNITS / name) <= EXPOSURE_MAX[name]


def test_exposure_is_really_measured(tmp_path: Path) -> None:
    unit = tmp_path / "dnssecd.service"
    text = (UNITS / unit.name).read_text()
    unit.write_text(
        re.sub(r"^(ProtectSystem|SystemCallFilter|CapabilityBoundingSet)=.*\n", "", text, flags=re.M)
    )
    assert exposure(unit) > EXPOSURE_MAX[unit.name]


@pytest.mark.parametrize("name", EXPOSURE_MAX)
def test_units_are_understood(name: str, tmp_path: Path) -> None:
    """Every line: systemd reports unknown keys and bad values, and of a command that does not exist."""
    for other in EXPOSURE_MAX:
        text = (UNITS / other).read_text().replace("/usr/bin/dnssecd", "/bin/true")
        (tmp_path / other).write_text(text)
    done = run("systemd-analyze", "verify", "--man=no", tmp_path / name)
    ours = [line for line in done.stderr.splitlines() if "dnssecd" in line]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "deploy/systemd").glob("*.conf")), ids=lambda path: path.stem
)
def test_drop_ins_of_the_key_service(path: Path, tmp_path: Path) -> None:
    """Each is understood, and opens no more than it says."""
    unit = tmp_path / "dnssecd-signer.service"
    text = (UNITS / unit.name).read_text().replace("/usr/bin/dnssecd", "/bin/true")
    head, install, tail = text.partition("[Install]")
    unit.write_text(head + path.read_text() + install + tail)
    done = run("systemd-analyze", "verify", "--man=no", unit)
    assert [line for line in done.stderr.splitlines() if "dnssecd" in line] == []
    assert exposure(unit) <= EXPOSURE_MAX[unit.name]


def settings(name: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def test_the_two_have_nothing_in_common_but_the_socket() -> None:
    daemon, signer = settings("dnssecd.service"), settings("dnssecd-signer.service")
    assert daemon["User"] != signer["User"]
    assert daemon["SupplementaryGroups"] == signer["Group"]
    assert daemon["Group"] != signer["Group"]
    assert daemon["StateDirectory"] != signer["StateDirectory"]
    assert signer["RuntimeDirectory"] == ["dnssecd-signer"]
    assert signer["RuntimeDirectoryMode"] == ["0750"], "no other user makes a socket there"
    assert daemon["ReadWritePaths"] == signer["ReadWritePaths"] == ["/run/dnssecd"], (
        "for configurations from before"
    )
    assert signer["PrivateNetwork"] == ["yes"]
    assert signer["RestrictAddressFamilies"] == ["AF_UNIX"]
    assert signer["CapabilityBoundingSet"] == [""]
    assert daemon["CapabilityBoundingSet"] == daemon["AmbientCapabilities"] == ["CAP_NET_BIND_SERVICE"]
    assert {line.partition(":")[0] for line in signer["LoadCredential"]} == {"passphrase", "pin"}


def test_order_and_life() -> None:
    daemon, signer = settings("dnssecd.service"), settings("dnssecd-signer.service")
    assert signer["ExecReload"][0].startswith("/bin/sh -c "), "a bare Debian has no /bin/kill (procps)"
    assert "dnssecd-signer.service" in daemon["After"][0].split(), "stopped before the key service, so"
    assert signer["Before"] == ["dnssecd.service"]
    assert not {"Requires", "BindsTo", "Requisite", "PartOf"} & daemon.keys(), "it serves without a signer"
    for unit in (daemon, signer):
        assert unit["Type"] == ["notify"]
        assert unit["Restart"] == ["always"]
        assert unit["StartLimitIntervalSec"] == ["0"], "systemd never gives up"
        assert unit["WatchdogSec"] == ["60s"]
        assert unit["KillMode"] == ["mixed"]
        assert int(unit["TimeoutStopSec"][0].removesuffix("s")) > 10
    assert daemon["OOMPolicy"] == ["continue"], "a worker that is killed is replaced; the daemon serves on"


@pytest.mark.skipif(os.geteuid() != 0, reason="users are made in a directory, which takes root")
def test_users_and_directories(tmp_path: Path) -> None:
    """As at a first boot, below a directory."""
    (tmp_path / "etc/dnssecd").mkdir(parents=True)
    made = run("systemd-sysusers", f"--root={tmp_path}", UNITS / "sysusers.d/dnssecd.conf")
    assert made.returncode == 0, made.stderr
    made = run("systemd-tmpfiles", f"--root={tmp_path}", "--create", UNITS / "tmpfiles.d/dnssecd.conf")
    assert (made.returncode, made.stderr) == (0, "")

    users = _ids(tmp_path / "etc/passwd")
    groups = _ids(tmp_path / "etc/group")
    assert len({users["dnssecd"], users["dnssecd-signer"]}) == 2
    assert "nologin" in (tmp_path / "etc/passwd").read_text()
    for path, mode, user, group in (
        ("run/dnssecd", 0o41771, 0, groups["dnssecd-link"]),
        ("var/lib/dnssecd", 0o40700, users["dnssecd"], groups["dnssecd"]),
        ("var/lib/dnssecd-signer", 0o40700, users["dnssecd-signer"], groups["dnssecd-link"]),
        ("etc/dnssecd/secrets", 0o40700, 0, 0),
    ):
        found = (tmp_path / path).stat()
        assert (found.st_mode, found.st_uid, found.st_gid) == (mode, user, group), path


def _ids(path: Path) -> dict[str, int]:
    return {line.split(":")[0]: int(line.split(":")[2]) for line in path.read_text().splitlines()}
