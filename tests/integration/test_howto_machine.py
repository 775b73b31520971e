"""The tutorial and every how-to, block by block as they are written, on bare systems with the package and real servers.

machine/howto.sh says what a reader does besides: at the secondaries, at the parent, and with files of their own.
"""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs import blocks
from tests.integration.own_root import (
    HERE,
    LIMIT_S,
    SUITES,
    bare_root,
    copy_network,
    enter,
    registries,
    run,
)
from tests.peers.paths import REPOSITORY

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.timeout(3 * LIMIT_S)]

#: What the pages take for granted: the peers, and a system with services.
PACKAGES = "systemd knot openssl make git python3-venv"
SCRIPT = """
. /trial/pages.sh
apt-get install -qq -y --no-install-recommends {packages}
useradd -m laptop
cp -a /trial/clone /root/clone
cp -a /trial/clone /home/laptop/clone
cp -a /trial/pages /root/pages
cp -a /trial/pages /home/laptop/pages
rm /root/pages/tutorial/*
chown -R root: /root/clone
chown -R laptop: /home/laptop
apt='s/^apt install (-y )?/apt-get install -qq -y /'
cd /root/clone
page install
block "$apt"
(cd /home/laptop/clone && runuser -u laptop -- env HOME=/home/laptop PAGES=/home/laptop/pages \\
    bash -ec '. /trial/pages.sh; page tutorial; block')
unshare --net bash /trial/howto.sh
{restore_network}
echo '=== install, the rest'
apt-get install -qq -y --reinstall ./dist/dnssecd_*.deb
apt-get purge -qq -y dnssecd
hash -r; fails command -v dnssecd
page install
block
/usr/local/bin/dnssecd --version
systemd-analyze verify /usr/local/lib/systemd/system/dnssecd.service 2>&1 | grep -i dnssecd || true
make uninstall
hash -r; fails command -v dnssecd
block "$apt"
dnssecd --version
close
for page in /root/pages/*; do (PAGE=$(basename "$page"); close); done
echo 'every page: done'
"""
_FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^ *```", re.M | re.S)


def write_pages(target: Path) -> None:
    """Write each block of the pages to a file of its own, numbered, named after its language."""
    for page in blocks.PAGES:
        directory = target / Path(page).stem
        directory.mkdir(parents=True)
        found = _FENCE.findall((blocks.DOCS / page).read_text())
        for number, (_, language, text) in enumerate(found):
            (directory / f"{number:02}.{language}").write_text(textwrap.dedent(text))


@pytest.fixture(scope="module", params=SUITES)
def bare(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with bare_root(request.param, tmp_path_factory) as path:
        yield path


def test_every_page_on_a_bare_debian(bare: Path, tmp_path: Path) -> None:
    run("git", "clone", "-q", "--no-hardlinks", REPOSITORY, tmp_path / "clone", timeout=LIMIT_S)
    tmp_path.chmod(0o755)  # it is /trial there, also for users
    copy_network(tmp_path)
    write_pages(tmp_path / "pages")
    for name in ("systemctl", "pages.sh", "merge.py", "smtp_sink.py", "tutorial.sh", "howto.sh"):
        shutil.copy(HERE / name, tmp_path)
    restore = "rm -f /etc/resolv.conf; cp /trial/resolv.conf /etc/resolv.conf"
    (tmp_path / "script").write_text(
        f"{registries()}{SCRIPT.format(packages=PACKAGES, restore_network=restore)}"
    )
    output = enter(bare, tmp_path, "script", network=True, timeout=LIMIT_S)
    assert output.endswith("every page: done\n"), output
