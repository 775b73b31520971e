"""The README's first real zone, command by command, on bare systems by debootstrap: by package and by pip.

Debian 12, and Debian 13 with the package built there for its own Python. The short form, on this machine's own root, is
in test_deploy_package.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.own_root import (
    LIMIT_S,
    SUITES,
    bare_root,
    copy_network,
    enter,
    judge,
    prepare_trial,
    registries,
    run,
)
from tests.integration.test_readme import commands, first_zone_section
from tests.peers.paths import REPOSITORY

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.timeout(3 * LIMIT_S)]


@pytest.fixture(scope="module", params=SUITES)
def bare(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with bare_root(request.param, tmp_path_factory) as path:
        yield path


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    run("git", "clone", "-q", "--no-hardlinks", REPOSITORY, tmp_path / "clone", timeout=LIMIT_S)
    return prepare_trial(tmp_path)


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
apt-get install -qq -y --no-install-recommends systemd
cp -a /trial/clone /root/clone
chown -R root: /root/clone
cd /root/clone
{text}
exec unshare --net bash /trial/first_zone.sh /trial/commands
"""
    (trial / "script").write_text(script)
    judge(enter(bare, trial, "script", network=True, timeout=LIMIT_S))
