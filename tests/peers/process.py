"""Server processes of the tests: started in their own directory, probed until ready, stopped for certain."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Self, TypeVar

LOOPBACK = "127.0.0.1"
STOP_SECONDS = 15.0
PORT_SECONDS = 10.0
PORT_IN_USE = "ddress already in use"
_POLL_SECONDS = 0.02

T = TypeVar("T")
S = TypeVar("S", bound="ServerProcess")


class PeerError(Exception):
    """A peer did not do what the test needs; the message holds the end of its log."""


def wait_until(probe: Callable[[], T], what: str, timeout: float = 20.0, every: float = _POLL_SECONDS) -> T:
    """Return the first true value of ``probe()``; after ``timeout`` seconds raise PeerError on ``what``."""
    deadline = time.monotonic() + timeout
    while True:
        if value := probe():
            return value
        if time.monotonic() > deadline:
            raise PeerError(f"{what}: not within {timeout:g} s")
        time.sleep(every)


#: Ports handed out by this process; there are far more of them than tests ask for.
_given: set[int] = set()
_FIRST_PORT, _END_PORT = 10_000, 32_000


def own_ports() -> tuple[int, int]:
    """The first port for this process's servers and the one after the last: no two workers of a test run share one.

    A port is free until its server listens; another worker must not be given it in between.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    workers = max(int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")), 1)
    each = (_END_PORT - _FIRST_PORT) // workers
    first = _FIRST_PORT + (int(worker) % workers) * each
    return first, first + each


def free_port() -> int:
    """A port free on loopback for both UDP and TCP when this returns, below those the kernel hands out.

    Ephemeral ports are avoided: a peer restarted a second later must find its port still free.
    """
    first, end = own_ports()
    while True:
        port = first + int.from_bytes(os.urandom(4)) % (end - first)
        if port in _given:
            continue  # free as long as nobody listens yet: the servers of one test must not be given the same
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(socket.AF_INET, kind) as sock:
                    sock.bind((LOOPBACK, port))
        except OSError:
            continue
        _given.add(port)
        return port


#: How the log of an interpreter that crashes begins (PYTHONFAULTHANDLER).
CRASH = "Fatal Python error"


class ServerProcess:
    """One foreground server: its directory, its log, its life.

    Subclasses give the command line and say when it is ready. The output of all runs goes to ``log_path``.
    """

    name = "server"
    on_terminal = False  # output goes where the caller's goes, not to the log

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.log_path = directory / f"{self.name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> Mapping[str, str] | None:
        """The environment of the process; None: the test's own."""
        return None

    def is_ready(self) -> bool:
        raise NotImplementedError

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} was not started"
        return self.process.pid

    def spawn(self) -> None:
        """Start the process without waiting for it."""
        assert not self.running, f"{self.name} is already running"
        with self.log_path.open("ab") as log:
            output = None if self.on_terminal else log
            self.process = subprocess.Popen(
                self.command(), cwd=self.directory, env=self.environment(), stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    def start(self, timeout: float = 90.0) -> Self:
        """Start and return when ready.

        A port that somebody else uses is tried again for ``PORT_SECONDS``: PowerDNS and others send from random ports.
        """
        deadline = time.monotonic() + PORT_SECONDS
        while True:
            self.spawn()
            try:
                self.wait_ready(timeout)
                return self
            except PeerError as error:
                if self.running or PORT_IN_USE not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(0.5)

    def wait_ready(self, timeout: float = 90.0) -> None:
        """Return when ready; PeerError when the process ends or takes longer than ``timeout`` seconds."""

        def probe() -> bool:
            if not self.running:
                ended = f"{self.name} ended with {self.returncode()} before it was ready"
                raise PeerError(f"{ended}\n{self.log_tail()}")
            return self.is_ready()

        try:
            wait_until(probe, f"{self.name} ready", timeout)
        except PeerError as error:
            if self.running:
                self.kill()
                raise PeerError(f"{error}\n{self.log_tail()}") from None
            raise

    def returncode(self) -> int | None:
        return None if self.process is None else self.process.poll()

    def stop(self, timeout: float = STOP_SECONDS) -> int | None:
        """SIGTERM, then SIGKILL after ``timeout`` seconds; return the exit status (None if never started)."""
        if self.process is None:
            return None
        if self.running:
            self.process.terminate()
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode

    def kill(self) -> None:
        """SIGKILL the process and whatever it started."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def log_text(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_tail(self, lines: int = 30) -> str:
        """The end of the log, and all from the first crash of the interpreter on, if there was one."""
        text = self.log_text().splitlines()
        crash = next((at for at, line in enumerate(text) if line.startswith(CRASH)), len(text))
        tail = text[min(max(len(text) - lines, 0), crash) :]
        return "\n".join([f"--- end of {self.log_path} (status {self.returncode()})", *tail])


class Servers:
    """The servers of one test, stopped in reverse order of their start."""

    def __init__(self) -> None:
        self._servers: list[ServerProcess] = []

    def add(self, server: S) -> S:
        """Take charge of ``server``, started or not."""
        self._servers.append(server)
        return server

    def start(self, server: S) -> S:
        self.add(server)
        server.start()
        return server

    def stop(self) -> None:
        for server in reversed(self._servers):
            server.stop()

    def crashed(self) -> list[str]:
        """The ends of the logs of servers whose interpreter crashed, even if they were started again."""
        return [one.log_tail() for one in self._servers if f"\n{CRASH}" in f"\n{one.log_text()}"]

    def tails(self) -> Iterator[str]:
        for server in self._servers:
            yield server.log_tail()
