"""The commands of the tutorial and of each how-to, run as written, against a daemon with a secondary and a parent.

Blocks that are marked `<!-- not run: … -->` are left out (docs/blocks.py).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from docs import blocks
from tests.peers.nameserver import PrimaryZone, SecondaryZone
from tests.peers.nsd import Nsd
from tests.peers.process import LOOPBACK, Servers, free_port
from tests.peers.tsig import TsigKey

ZONE = "$TTL 300\n@ SOA ns1 hostmaster 1 3600 600 604800 300\n@ NS ns1\nns1 A 192.0.2.53\nwww A 192.0.2.80\n"
COM = "com. 60 IN SOA a.com. b.com. 1 1 1 1 60\ncom. 60 IN NS a.com.\na.com. 60 IN A 127.0.0.1\n"
COMMAND_SECONDS = 90.0

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]


@dataclass(frozen=True)
class World:
    """Where a reader is: in the directory of the zone file, with dnssecd on the PATH."""

    directory: Path
    environment: dict[str, str]

    def shell(self, text: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.directory, env=self.environment, capture_output=True, text=True,
            timeout=COMMAND_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    here = tmp_path_factory.mktemp("docs")
    servers = Servers()
    home, listen, port = here / "home", free_port(), free_port()
    (here / "example.com.zone").write_text(ZONE)
    (here / "com.zone").write_text(COM)
    tools = here / "bin"
    tools.mkdir()
    (tools / "dnssecd").write_text(f'#!/bin/sh\nexec {sys.executable} -m dnssecd "$@"\n')
    (tools / "dnssecd").chmod(0o755)
    config = home / "config.toml"
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "DNSSECD_CONFIG": str(config)}
    found = World(here, environment)
    try:
        parent = servers.start(Nsd(here / "parent", [PrimaryZone("com.", here / "com.zone", TsigKey())]))
        found.shell(
            f"dnssecd init --directory {home} --zone example.com=example.com.zone --listen {LOOPBACK}:{listen} "
            f"--secondary ns1={LOOPBACK}:{port},nsd --parent {parent.address}"
        )
        config.write_text(f'{config.read_text()}[metrics]\nlisten = "{LOOPBACK}:{free_port()}"\n')
        key = TsigKey(name="ns1-transfer.", secret=(home / "tsig/ns1.secret").read_text().strip())
        secondary = servers.start(Nsd(here / "ns1", [SecondaryZone("example.com.", listen, key)], port))
        with (here / "daemon.log").open("wb") as log:
            daemon = subprocess.Popen(
                [sys.executable, "-m", "dnssecd", "run"], env=environment, stdout=log, stderr=log
            )
            try:
                secondary.wait_serial("example.com.", 1)
                yield found
            finally:
                daemon.terminate()
                daemon.wait(30)
    finally:
        servers.stop()


@pytest.mark.parametrize(
    "page", [page for page in blocks.PAGES if any(not b.not_run for b in blocks.blocks(page))]
)
def test_page(world: World, page: str) -> None:
    for block in blocks.blocks(page):
        if not block.not_run:
            world.shell("\n".join(block.lines))
    text = (world.directory / "example.com.zone").read_text()
    assert "192.0.2.999" not in text, "the tutorial leaves a zone that is right"
