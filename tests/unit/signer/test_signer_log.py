"""What the log of a key service that runs as a child says of its own faults."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
import structlog

from dnssecd.signer.__main__ import set_up_log


@pytest.mark.parametrize("form", ["console", "json", "auto"])
def test_a_traceback_is_there_and_shows_no_variables(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setenv("DNSSECD_SIGNER_LOG_FORMAT", form)
    out = io.StringIO()
    before = structlog.get_config()
    set_up_log(out)
    try:
        passphrase = "hunter" + str(2)
        try:
            raise ValueError(len(passphrase))
        except ValueError:
            structlog.get_logger("dnssecd").exception("a chore failed")
    finally:
        structlog.configure(**before)
    text = out.getvalue()
    assert "Traceback (most recent call last)" in text
    assert "ValueError: 7" in text
    assert "hunter2" not in text


@pytest.mark.parametrize("start", ["dnssecd.signer.__main__", "dnssecd.daemon.run"])
def test_rich_is_not_loaded_with_structlog(start: str) -> None:
    code = (
        f"from dnssecd.procs.lean import load_structlog as s; s(); import sys, {start}; print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert "structlog" in loaded.stdout.split()
    assert "rich" not in loaded.stdout.split()
    again = "from dnssecd.procs.lean import load_structlog as s; s(); import rich; print(rich.__name__)"
    found = subprocess.run(
        [sys.executable, "-c", again], check=True, capture_output=True, text=True, timeout=60
    )
    assert found.stdout == "rich\n"
