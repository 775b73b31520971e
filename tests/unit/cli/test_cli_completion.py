"""Completion of zones, key tags and secondaries: by the daemon, or by the configuration file while it is down."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.unit.cli.test_cli_commands import KEY, Daemon

CONFIG = """
[server]
control_socket = "{socket}"
[keystore.local]
[policy.default]
[secondary.ns1]
address = "192.0.2.53"
[zone."example.com."]
file = "x"
[zone."other.example."]
file = "y"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.format(socket=tmp_path / "control.sock"))
    return path


def complete(config: Path, line: str) -> list[str]:
    words = line.split(" ")
    environment = {
        **os.environ, "DNSSECD_CONFIG": str(config), "_DNSSECD_COMPLETE": "complete_bash",
        "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1),
    }  # fmt: skip
    command = [sys.executable, "-c", "import sys; sys.argv = ['dnssecd']; import dnssecd.cli as c; c.main()"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("dnssecd zone show ", ["example.com.", "other.example."]),
        ("dnssecd status o", ["other.example."]),
        ("dnssecd ds show ex", ["example.com."]),
        ("dnssecd config reload --remove ex", ["example.com."]),
        ("dnssecd config secondary n", ["ns1"]),
        ("dnssecd key retire example.com. --key-tag ", []),
    ],
)
def test_without_a_daemon(config: Path, line: str, words: list[str]) -> None:
    assert complete(config, line) == words


def test_without_a_configuration(tmp_path: Path) -> None:
    assert complete(tmp_path / "none.toml", "dnssecd zone show ") == []


def test_with_a_daemon(config: Path, tmp_path: Path) -> None:
    with Daemon(tmp_path / "control.sock"):
        assert complete(config, "dnssecd key retire example.com --key-tag 4") == [str(KEY["tag"])]
        assert complete(config, "dnssecd zone show e") == ["example.com."]


def test_a_daemon_that_hangs_costs_seconds_not_minutes(config: Path, tmp_path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "control.sock"))
        listening.listen()
        started = time.monotonic()
        assert complete(config, "dnssecd zone show e") == ["example.com."]
    assert time.monotonic() - started < 30
