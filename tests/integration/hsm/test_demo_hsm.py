"""`make demo-hsm` comes up with its keys in a token, and what it suggests works."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.hsm.softhsm import need_softhsm
from tests.peers.paths import REPOSITORY
from tests.peers.process import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def test_the_demo_with_softhsm(peer_dir: Path) -> None:
    need_softhsm()
    said = peer_dir / "said"
    with said.open("wb") as out:
        demo = subprocess.Popen(
            [sys.executable, "-m", "demo.hsm", "--state", str(peer_dir / "s")],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        assert wait_until(lambda: "Ctrl-C stops" in said.read_text(), "the demo is up", 60)
        (pin,) = (peer_dir / "s").rglob("pin")
        assert pin.stat().st_mode & 0o777 == 0o600
        assert pin.read_text().strip() not in said.read_text()
        tried = 0
        for line in re.findall(
            r"^  (\S*dnssecd (?:key|keystore) (?:list|test|audit).*)$", said.read_text(), re.M
        ):
            done = subprocess.run(
                shlex.split(line), cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode == 0, (line, done.stdout, done.stderr)
            tried += 1
        assert tried == 4
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 0
    finally:
        demo.kill()
        demo.wait(10)
