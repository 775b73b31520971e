"""The watchdog is fed while work gets done, and starves when it does not."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dnssecd.daemon import watchdog
from dnssecd.daemon.manager_status import ManagerStatus
from dnssecd.daemon.watchdog import Watchdog, WatchedPool
from dnssecd.pipeline.jobs.outcome import Problem
from dnssecd.pipeline.workers.pool import WorkerPool
from dnssecd.sdnotify import notify
from dnssecd.signer.server import _feed_watchdog


class Manager:
    """The service manager's end of the notification socket."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def heard(self) -> list[bytes]:
        found = []
        while True:
            try:
                found.append(self._socket.recv(4096))
            except BlockingIOError:
                return found

    async def next(self) -> bytes:
        async with asyncio.timeout(5):
            return await asyncio.get_running_loop().sock_recv(self._socket, 4096)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    path = tmp_path / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    one = Manager(path)
    yield one
    one.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    now = {"s": 1000.0}
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: now["s"])
    return now


@pytest.fixture
def gates(monkeypatch: pytest.MonkeyPatch) -> dict[str, asyncio.Event]:
    """Jobs end when their gate opens."""
    found: dict[str, asyncio.Event] = {}

    async def run(self: WorkerPool, job: Any, *_: Any, **__: Any) -> Any:
        await found.setdefault(job, asyncio.Event()).wait()
        return job

    monkeypatch.setattr(WorkerPool, "run", run)
    return found


def start(pool: WatchedPool, job: str) -> asyncio.Task[Any]:
    return asyncio.get_running_loop().create_task(pool.run(job, asyncio.Lock()))  # type: ignore[arg-type]


async def test_fed_from_the_event_loop(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "40000")
    task = asyncio.get_running_loop().create_task(
        Watchdog(WatchedPool(lambda zone, why: None, lambda kind: "")).run()
    )
    assert [await manager.next() for _ in range(3)] == [b"WATCHDOG=1"] * 3
    task.cancel()


@pytest.mark.parametrize(("name", "value"), [("WATCHDOG_USEC", ""), ("WATCHDOG_PID", "1")])
async def test_no_watchdog_no_feeding(
    manager: Manager, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "40000")
    monkeypatch.setenv(name, value)
    await asyncio.wait_for(Watchdog(WatchedPool(lambda zone, why: None, lambda kind: "")).run(), 5)
    assert manager.heard() == []


async def test_starves_when_no_job_ends(
    manager: Manager, clock: dict[str, float], gates: dict[str, asyncio.Event]
) -> None:
    pool = WatchedPool(lambda zone, why: None, lambda kind: "")
    dog = Watchdog(pool)
    clock["s"] += 10 * watchdog.STUCK_S
    dog.look()
    assert manager.heard() == [b"WATCHDOG=1"], "no work is no lack of progress"

    first, second = start(pool, "first"), start(pool, "second")
    await asyncio.sleep(0)
    clock["s"] += watchdog.STUCK_S
    dog.look()
    assert manager.heard() == [b"WATCHDOG=1"], "a job may take as long as its deadline says"

    clock["s"] += 1
    dog.look()
    dog.look()
    assert manager.heard() == []

    gates["first"].set()
    await first
    dog.look()
    assert manager.heard() == [b"WATCHDOG=1"], "one job that ends is progress"
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert pool.under_way == 0
    assert pool.idle_s() == 0.0


async def test_progress_is_counted_from_the_first_job(
    manager: Manager, clock: dict[str, float], gates: dict[str, asyncio.Event]
) -> None:
    """A queue that was empty for days does not count against the job that comes then."""
    pool = WatchedPool(lambda zone, why: None, lambda kind: "")
    clock["s"] += 1e6
    task = start(pool, "late")
    await asyncio.sleep(0)
    assert pool.idle_s() == 0.0
    gates["late"].set()
    await task


def test_our_own_pid_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert watchdog.watchdog_s() == 60.0
    monkeypatch.setenv("WATCHDOG_USEC", "soon")
    assert watchdog.watchdog_s() == 0.0


async def test_the_key_service_feeds_its_own_watchdog_only(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "40000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    await asyncio.wait_for(_feed_watchdog(), 5)
    assert manager.heard() == []
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    task = asyncio.get_running_loop().create_task(_feed_watchdog())
    assert [await manager.next() for _ in range(3)] == [b"WATCHDOG=1"] * 3
    task.cancel()


def test_a_manager_that_does_not_listen_delays_nothing(manager: Manager) -> None:
    """Its queue is full: the word is lost, and that is said at once."""
    sent = 0
    while notify("STATUS=" + "x" * 1000) and sent < 100_000:
        sent += 1
    assert 0 < sent < 100_000
    assert len(manager.heard()) == sent
    assert notify("READY=1")


def test_status_tells_zones_and_troubles(manager: Manager) -> None:
    good = SimpleNamespace(name="a.", serial=1, problems=())
    bad = SimpleNamespace(name="b.", serial=None, problems=(Problem("input-error", "line 3:\nno type"),))
    status = ManagerStatus(cast(Any, {"a.": good}))
    status.ready()
    assert manager.heard() == [b"READY=1\nSTATUS=serving 1 of 1 zones"]
    assert status.look()
    assert manager.heard() == [], "no news"
    status._zones["b."] = bad  # type: ignore[index]
    assert status.look()
    assert manager.heard() == [b"STATUS=serving 1 of 2 zones; 1 with problems, b.: line 3: no type"]


def test_ready_is_said_again_until_it_could_be_heard(manager: Manager) -> None:
    status = ManagerStatus({})
    while notify("STATUS=" + "x" * 1000):
        pass
    status.ready()
    assert not status.look()
    manager.heard()
    assert status.look()
    assert manager.heard() == [b"READY=1\nSTATUS=serving 0 of 0 zones"]
