"""`dnssecd check` without a verdict: one line on standard output and exit status 3, in any case."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dnssecd.cli import status
from dnssecd.cli.app import build


def check(*words: str) -> Result:
    return CliRunner().invoke(build(), [*words, "check"])


def line_of(done: Result) -> str:
    (line,) = done.stdout.splitlines()
    assert (done.exit_code, line[:18]) == (3, "DNSSECD UNKNOWN - ")
    return line


def test_without_a_daemon() -> None:
    assert "no daemon answers at /nowhere" in line_of(check("--socket", "/nowhere"))


def test_json() -> None:
    done = check("--socket", "/nowhere", "--json")
    assert (done.exit_code, set(json.loads(done.stdout)["error"])) == (3, {"what", "remedy"})


@pytest.mark.parametrize("text", [None, "[server\n", "a = |\n\nb"])
def test_a_configuration_that_cannot_be_used_is_no_warning(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "config.toml"
    if text is not None:
        file.write_text(text)
    line = line_of(check("--config", str(file)))
    assert str(file) in line
    assert "|" not in line


def test_a_daemon_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert status.CHECK_S < 60, "Nagios ends a check after 60 s"
    monkeypatch.setattr(status, "CHECK_S", 0.05)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        found: list[str] = []
        asking = threading.Thread(
            target=lambda: found.append(line_of(check("--socket", str(tmp_path / "s")))), daemon=True
        )
        asking.start()
        asking.join(5)
    assert "no data from the daemon" in found[0]
