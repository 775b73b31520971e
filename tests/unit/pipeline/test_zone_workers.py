"""Zone workers come and go without a job noticing."""

from __future__ import annotations

import asyncio
import errno
import subprocess
import sys
from typing import Any

import pytest

from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.workers import pool as workers
from dnssecd.pipeline.workers.worker import RESIDENT_KIB_MAX

#: A process that is as large as the front of thousands of zones, and asks a child for its own size.
LARGE_PARENT = f"""
import subprocess, sys
ballast = bytearray(({RESIDENT_KIB_MAX} + 65536) * 1024)
ballast[::4096] = b"x" * len(ballast[::4096])
ask = "from dnssecd.pipeline.workers.worker import peak_kib; print(peak_kib())"
subprocess.run([sys.executable, "-c", ask], check=True, timeout=60)
"""


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
        name, review = "example.", None

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
