"""Zone workers come and go without a job noticing."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.workers import pool as workers
from dnssecd.pipeline.workers.frames import Job
from dnssecd.pipeline.workers.worker import RESIDENT_KIB_MAX
from dnssecd.store.zonedb import identity_of
from tests.pipeline_zone import DATE, NOW, ZONE, PipelineZone, running_signer

#: A process that is as large as the front of thousands of zones, and asks a child for its own size.
LARGE_PARENT = f"""
import subprocess, sys
ballast = bytearray(({RESIDENT_KIB_MAX} + 65536) * 1024)
ballast[::4096] = b"x" * len(ballast[::4096])
ask = "from dnssecd.pipeline.workers.worker import peak_kib; print(peak_kib())"
subprocess.run([sys.executable, "-c", ask], check=True, timeout=60)
"""


@pytest.fixture(scope="module")
def key_service() -> Iterator[str]:
    with running_signer() as socket:
        yield socket


def test_a_worker_s_size_does_not_depend_on_that_of_the_daemon() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LARGE_PARENT], capture_output=True, text=True, timeout=90, check=True
    )
    assert 1024 < int(done.stdout) < RESIDENT_KIB_MAX / 2


@pytest.mark.parametrize(("leaves", "result"), [(1, "unchanged"), (2, "failed")])
def test_a_job_given_to_a_worker_that_had_ended_is_given_to_the_next(
    monkeypatch: pytest.MonkeyPatch, leaves: int, result: str
) -> None:
    tries = []

    async def do(self: Any, job: object, wanted: object) -> Outcome:
        tries.append(job)
        if len(tries) <= leaves:
            raise workers._WorkerLeft("the zone worker ended with status 0")
        return Outcome(zone="example.", result="unchanged")

    monkeypatch.setattr(workers._Process, "_do", do)
    deaths: list[tuple[str, str]] = []
    pool = workers.WorkerPool(lambda zone, why: deaths.append((zone, why)), lambda kind: "")

    class Spec:
        name, review, database = "example.", None, "example.sqlite"

    class Job:
        kind, spec = "load", Spec

    outcome = asyncio.run(pool.run(Job, asyncio.Lock()))  # type: ignore[arg-type]
    assert outcome.result == result
    assert len(tries) == 2
    assert len(deaths) == leaves - 1


async def test_a_worker_that_cannot_be_started_fails_the_job_and_not_the_daemon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The outcome has the job tried again: an exception would have ended the zone's work for good."""

    async def start(*_: object, **__: object) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(workers.child, "start_async", start)
    deaths: list[str] = []
    pool = workers.WorkerPool(lambda zone, why: deaths.append(why), lambda kind: "")

    class Spec:
        name, review, database = "example.", None, "example.sqlite"

    class Job:
        kind, spec = "resign", Spec

    outcome = await pool.run(Job, asyncio.Lock())  # type: ignore[arg-type]
    assert (outcome.result, outcome.problems[0].event) == ("failed", "worker-died")
    assert deaths == ["a zone worker could not be started: Resource temporarily unavailable"]


async def test_a_zone_that_leaves_does_not_wait_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind thousands of first versions it would be a long time, and its removal waits for it."""
    begun, ends = asyncio.Event(), asyncio.Event()

    async def do(self: Any, job: Any, wanted: object) -> Outcome:
        begun.set()
        await ends.wait()
        return Outcome(zone=job.spec.name, result="unchanged")

    monkeypatch.setattr(workers._Process, "do", do)
    pool = workers.WorkerPool(lambda zone, why: None, lambda kind: "", workers=1)

    def job(zone: str) -> Any:
        spec = SimpleNamespace(name=zone, review=None, database=f"{zone}sqlite")
        return SimpleNamespace(kind="load", spec=spec)

    here, turn = {"waits."}, asyncio.Lock()
    busy = asyncio.create_task(pool.run(job("busy."), asyncio.Lock()))
    await begun.wait()
    waits = asyncio.create_task(pool.run(job("waits."), turn, wanted=lambda: "waits." in here))
    await asyncio.sleep(0.01)
    await pool.release("waits.sqlite")
    await asyncio.sleep(0.01)
    assert not waits.done(), "it is wanted"
    here.clear()
    await pool.release("waits.sqlite")
    with pytest.raises(workers.NotWanted):
        async with asyncio.timeout(5):
            await waits
    assert not turn.locked()
    ends.set()
    assert (await busy).result == "unchanged"


async def test_a_job_for_a_replaced_database_goes_to_a_new_worker(tmp_path: Path, key_service: str) -> None:
    """The kept database is not closed: SQLite would remove the side files of the new one by their names."""
    zones = []
    for name, text in (("old", ZONE), ("new", ZONE.replace("192.0.2.2", "192.0.2.99"))):
        (tmp_path / name).mkdir()
        zone = PipelineZone(tmp_path / name, key_service)
        assert zone.load(text).result == "published"
        zone.close()
        zones.append(zone)
    spec, database = zones[0].spec, Path(zones[0].spec.database)
    deaths: list[tuple[str, str]] = []
    pool = workers.WorkerPool(lambda zone, why: deaths.append((zone, why)), lambda kind: "", workers=1)

    async def www() -> str:
        job = Job(
            kind="output",
            spec=spec,
            now=NOW,
            date=DATE,
            database=identity_of(database),
            path=str(tmp_path / "out"),
        )
        outcome = await pool.run(job, asyncio.Lock())
        assert outcome.result == "unchanged", outcome.problems
        lines = (tmp_path / "out").read_text().splitlines()
        return next(line.split()[-1] for line in lines if line.startswith("www") and "192.0.2." in line)

    try:
        assert await www() == "192.0.2.2"
        os.replace(zones[1].spec.database, database)
        assert await www() == "192.0.2.99"
        assert await www() == "192.0.2.99"
        assert deaths == []
    finally:
        await pool.close()


async def test_workers_without_jobs_end_except_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the one that works in quiet times is the same, so that the others can."""
    stopped: list[Any] = []

    async def do(self: Any, job: object, wanted: object) -> Outcome:
        return Outcome(zone="example.", result="unchanged")

    async def stop(self: Any, *, kill: bool = False) -> None:
        stopped.append(self)

    monkeypatch.setattr(workers._Process, "_do", do)
    pool = workers.WorkerPool(lambda zone, why: None, lambda kind: "")
    first, second = pool._processes[:2]
    job = SimpleNamespace(spec=SimpleNamespace(name="example.", review=None, database=""), kind="load")
    monkeypatch.setattr(workers._Process, "stop", stop)
    for _ in range(2 * workers.RESTING_ROUNDS):
        await pool.run(job, asyncio.Lock())  # type: ignore[arg-type]
        await pool.rest()
    busy, quiet = (first, second) if second in stopped else (second, first)
    assert quiet in stopped
    assert busy not in stopped


async def test_a_worker_that_worked_meanwhile_rests_as_long_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[Any] = []

    async def alive(self: Any) -> None:
        raise OSError("no process is needed here")

    async def stop(self: Any, *, kill: bool = False) -> None:
        stopped.append(self)

    monkeypatch.setattr(workers._Process, "_alive", alive)
    monkeypatch.setattr(workers._Process, "stop", stop)
    process = workers._Process()
    job = SimpleNamespace(spec=SimpleNamespace(database="db"))
    for _ in range(workers.RESTING_ROUNDS):
        await process.rest()
    with pytest.raises(workers.WorkerDied):
        await process.do(job, lambda: True)  # type: ignore[arg-type]
    for _ in range(workers.RESTING_ROUNDS):
        await process.rest()
    assert not stopped
    await process.rest()
    assert stopped
