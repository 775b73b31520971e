"""Commands that go to the key service directly: one that was started just now is waited for."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from dnssecd.cli import keyservice


def test_a_key_service_that_is_being_started_is_waited_for(tmp_path: Path) -> None:
    socket = tmp_path / "signer.sock"
    timer = threading.Timer(0.2, socket.touch)
    timer.start()
    begun = time.monotonic()
    keyservice._await(socket)
    assert socket.exists()
    assert time.monotonic() - begun < 5
    timer.join()


def test_the_wait_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyservice, "CHILD_WAIT_S", 0.1)
    begun = time.monotonic()
    keyservice._await(tmp_path / "signer.sock")
    assert time.monotonic() - begun < 5
