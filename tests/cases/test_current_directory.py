"""A directory of zone files that holds modules named as ours or our libraries': nothing of it is executed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers.paths import REPOSITORY
from tests.peers.process import free_port, wait_until

ZONE = "$TTL 300\n@ SOA ns.example. h.example. 1 3600 900 1209600 300\n NS ns.example.\nns A 192.0.2.1\n"
NAMES = ("msgspec", "structlog", "tomllib", "cryptography", "dns", "dnssecd")
TRAP = "import os, sys\nopen({mark!r}, 'a').write(__file__ + ' in ' + ' '.join(sys.orig_argv) + '\\n')\nsys.exit(7)\n"
CONFIG = """
[server]
listen = ["127.0.0.1:{port}"]
state_dir = "state"
control_socket = "c.sock"
[metrics]
listen = ""
[keystore.local]
type = "software"
directory = "keys"
[policy.default]
keystore = "local"
[zone."example."]
policy = "default"
file = "{zone}"
parent = "none"
"""


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """The file that a trap writes; the traps and a zone are in `zones` beside it."""
    mark = tmp_path / "executed"
    zones = tmp_path / "zones"
    zones.mkdir()
    (zones / "example.zone").write_text(ZONE)
    for name in NAMES:
        (zones / f"{name}.py").write_text(TRAP.format(mark=str(mark)))
    return mark


def start(mark: Path, *words: str) -> subprocess.Popen[str]:
    """dnssecd in the directory with the traps; as installed, its own start looks there for nothing."""
    code = "import sys; from dnssecd.cli import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code, *words],
        cwd=mark.parent / "zones",
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_sign_executes_nothing_of_the_current_directory(mark: Path) -> None:
    (mark.parent / "zones" / "words").write_text("a passphrase for the store\n")
    (mark.parent / "zones" / "words").chmod(0o600)
    words = ("--keystore", "keys", "--passphrase-file", "words", "-o", "signed")  # all paths relative
    process = start(mark, "sign", "example.zone", "--origin", "example.", *words)
    output, _ = process.communicate(timeout=60)
    assert not mark.exists(), mark.read_text()
    assert process.returncode == 0, output
    assert "RRSIG" in (mark.parent / "zones" / "signed").read_text()
    assert list((mark.parent / "zones" / "keys").glob("*.key"))


def test_the_daemon_executes_nothing_of_the_current_directory(mark: Path) -> None:
    zones = mark.parent / "zones"
    (zones / "c.toml").write_text(CONFIG.format(port=free_port(), zone="example.zone"))
    process = start(mark, "run", "--config", "c.toml")
    try:
        wait_until(lambda: (zones / "c.sock").exists() or process.poll() is not None, "the daemon's start")
        asked = start(mark, "zone", "wait", "example.", "--current", "--timeout", "20s", "--config", "c.toml")
        output, _ = asked.communicate(timeout=60)
        assert not mark.exists(), mark.read_text()
        assert asked.returncode == 0, output
    finally:
        process.terminate()
        process.communicate(timeout=20)
