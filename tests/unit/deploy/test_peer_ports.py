"""Ports of the tests' servers: workers share none, and one that is in use for a moment is tried again."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from pathlib import Path

import pytest

from tests.peers.process import LOOPBACK, PeerError, ServerProcess, own_ports, wait_until


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_workers_share_no_port(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", str(count))
    given: set[int] = set()
    for worker in range(count):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", f"gw{worker}")
        own = range(*own_ports())
        assert len(own) > 1000
        assert given.isdisjoint(own)
        given.update(own)


class Listener(ServerProcess):
    name = "listener"

    def __init__(self, directory: Path, port: int) -> None:
        super().__init__(directory)
        self.port = port

    def command(self) -> list[str]:
        listens = (
            f"import socket, time; s = socket.create_server(('{LOOPBACK}', {self.port})); time.sleep(60)"
        )
        return [sys.executable, "-I", "-S", "-c", listens]

    def is_ready(self) -> bool:
        try:
            socket.create_connection((LOOPBACK, self.port)).close()
        except ConnectionRefusedError:
            return False
        return True


def test_a_port_that_is_in_use_for_a_moment_is_tried_again(tmp_path: Path) -> None:
    other = socket.socket()
    other.bind((LOOPBACK, 0))  # it does not listen: nobody can take it for the server
    server = Listener(tmp_path, other.getsockname()[1])

    def release_when_tried() -> None:
        with contextlib.suppress(PeerError):
            wait_until(lambda: "Address already in use" in server.log_text(), "the port was tried", 10)
        other.close()

    release = threading.Thread(target=release_when_tried)
    release.start()
    try:
        server.start(timeout=20)
        assert "Address already in use" in server.log_text()
    finally:
        release.join()
        server.kill()
