"""The README's first real zone, command by command, on bare systems by debootstrap: by package and by pip.

Debian 12, and Debian 13 with the package built there for its own Python. The short form, on this machine's own root, is
in test_deploy_package.py.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.own_root import enter, judge, prepare_trial, run
from tests.integration.test_readme import commands, first_zone_section
from tests.peers.paths import REPOSITORY, find_program

#: Of each step: packages are unpacked and built, in minutes where the machine is idle, far longer beside others.
LIMIT_S = 3_600.0
PACKAGES = "python3,iproute2,bind9,bind9-dnsutils,util-linux,ca-certificates"

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.timeout(3 * LIMIT_S)]


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def bare(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A minimal Debian; $DNSSECD_ROOTS keeps it for the next time."""
    if os.geteuid() != 0:
        pytest.skip("a root of its own takes root")
    if find_program("debootstrap") is None:
        run(REPOSITORY / "scripts/apt-install", "debootstrap", timeout=LIMIT_S)
    kept = os.environ.get("DNSSECD_ROOTS")
    path = (Path(kept) if kept else tmp_path_factory.mktemp("bare")) / request.param
    if not (path / "etc/debian_version").is_file():
        run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", request.param, path, timeout=LIMIT_S)
    yield path
    if not kept:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    run("git", "clone", "-q", "--no-hardlinks", REPOSITORY, tmp_path / "clone", timeout=LIMIT_S)
    return prepare_trial(tmp_path)


def registries() -> str:
    """Shell lines that let pip in the chroot find what pip finds here."""
    lines = ["export PIP_DISABLE_PIP_VERSION_CHECK=1"]
    if certificate := os.environ.get("PIP_CERT"):
        lines.append(f"export PIP_CERT=/trial/{Path(certificate).name}")
    for name in ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "PIP_PROXY"):
        if value := os.environ.get(name):
            lines.append(f"export {name}='{value}'")
    return "\n".join([*lines, "rm -f /etc/resolv.conf", "cp /trial/resolv.conf /etc/resolv.conf", ""])


def copy_network(trial: Path) -> None:
    shutil.copy("/etc/resolv.conf", trial / "resolv.conf")
    if certificate := os.environ.get("PIP_CERT"):
        shutil.copy(certificate, trial)


@pytest.mark.parametrize("way", ["package", "pip"])
def test_on_a_bare_debian(bare: Path, trial: Path, way: str) -> None:
    """Both ways, each line as it is written; the package is built there for the Python that is there."""
    copy_network(trial)
    written = commands(first_zone_section())
    begin = written.index("apt install python3-venv")
    lines = {
        "package": ["apt install -y make git python3-venv", *written[:begin]],
        "pip": written[begin : next(n for n, line in enumerate(written) if line.startswith("dnssecd init"))],
    }[way]
    assert len(lines) > 2
    text = "\n".join(re.sub(r"^apt install (?!-y)", "apt-get install -qq -y ", line) for line in lines)
    script = f"""{registries()}
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get install -qq -y --no-install-recommends systemd
cp -a /trial/clone /root/clone
chown -R root: /root/clone
cd /root/clone
{text}
exec unshare --net bash /trial/first_zone.sh /trial/commands
"""
    (trial / "script").write_text(script)
    judge(enter(bare, trial, "script", network=True, timeout=LIMIT_S))
