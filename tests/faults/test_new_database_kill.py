"""A first version of a small zone is written once: a process that dies at any step leaves all of it or no file."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dnssecd.core.verify import DenialExpectation, Expectation, verify_zone
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.version.committed import count_signatures, read_committed
from dnssecd.pipeline.workers.frames import Job
from dnssecd.pipeline.workers.worker import Worker
from dnssecd.store import filemark, newdb
from dnssecd.store.zonedb import ZoneDatabase, identity_of
from tests.pipeline_zone import DATE, NOW, ZONE, PipelineZone


def job_of(home: Path, signer: str, text: str = ZONE) -> Job:
    zone = PipelineZone(home, signer)
    zone.close()
    Path(zone.spec.database).unlink()
    zone.file.write_text(text)
    return Job(kind="load", spec=zone.spec, now=NOW, date=DATE, path=str(zone.file))


def run(job: Job) -> Outcome:
    worker = Worker()
    try:
        return worker.run(job)
    finally:
        worker.rest()


def check(job: Job) -> int | None:
    """Return the serial of what is stored, which must be whole; None without a file."""
    path = Path(job.spec.database)
    assert {one.name for one in path.parent.iterdir()} <= {"zone", "zone.sqlite"}
    if not path.exists():
        return None
    expectation = Expectation(job.spec.origin, NOW, denial=DenialExpectation("nsec3", opt_out=False))
    with closing(ZoneDatabase(path, job.spec.origin)) as db, db.snapshot() as snapshot:
        assert snapshot.integrity() == "ok"
        assert verify_zone(snapshot, expectation) == []
        return snapshot.serial


def dying(step: int, patch: Callable[[str, Any], None]) -> None:
    """Have this process die at a sync or link, before it is done: of the file, its name, its directory."""
    calls = iter(range(1, 100))
    for name in ("fsync", "link"):
        plain = getattr(os, name)

        def die(*args: Any, _plain: Any = plain, **named: Any) -> Any:
            if next(calls) == step:
                os._exit(9)
            return _plain(*args, **named)

        patch(name, die)


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_death_at_each_sync_and_the_link(tmp_path: Path, signer: str, step: int) -> None:
    job = job_of(tmp_path, signer)
    child = os.fork()
    if not child:
        dying(step, lambda name, function: setattr(os, name, function))
        run(job)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == (9 if step < 4 else 0)
    assert check(job) == (None if step < 3 else 1)
    again = run(msgspec.structs.replace(job, database=identity_of(Path(job.spec.database))))
    assert (again.result, again.serial) == ("published" if step < 3 else "unchanged", 1)
    assert check(job) == 1


def test_the_mark_is_of_what_was_verified_and_no_one_opened_it(tmp_path: Path, signer: str) -> None:
    job = job_of(tmp_path, signer)
    outcome = run(job)
    assert outcome.mark is not None
    assert outcome.mark == filemark.take(job.spec.database)
    assert outcome.first is not None
    with closing(ZoneDatabase(Path(job.spec.database), job.spec.origin)) as db:
        assert outcome.first.committed == read_committed(db)
        assert (1, outcome.first.counts) == count_signatures(db, outcome.first.committed.keyset.keys)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(outcome), type=Outcome) == outcome


def no_room(job: Job, patch: pytest.MonkeyPatch) -> None:
    plain = newdb.sqlite.write_whole

    def full(path: Path, content: bytes) -> None:
        patch.setattr(newdb.sqlite, "write_whole", plain)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    patch.setattr(newdb.sqlite, "write_whole", full)


def no_such_files(job: Job, patch: pytest.MonkeyPatch) -> None:
    plain = os.open

    def opened(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return plain(path, flags, *more, **named)

    patch.setattr(os, "open", opened)


def made_meanwhile(job: Job, patch: pytest.MonkeyPatch) -> None:
    plain = newdb.sqlite.write_whole

    def late(path: Path, content: bytes) -> None:
        patch.setattr(newdb.sqlite, "write_whole", plain)
        ZoneDatabase(path, job.spec.origin).close()
        plain(path, content)

    patch.setattr(newdb.sqlite, "write_whole", late)


def a_log_meanwhile(job: Job, patch: pytest.MonkeyPatch) -> None:
    answers = iter((False, True))
    patch.setattr(newdb.sqlite, "has_log", lambda path: next(answers, False))


def too_large(job: Job, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(newdb, "PAGES_MAX", 13)  # what the empty database has


@pytest.mark.parametrize("fault", [no_room, no_such_files, made_meanwhile, a_log_meanwhile, too_large])
def test_where_it_cannot_be_written_at_once_sqlite_makes_it(
    tmp_path: Path,
    signer: str,
    fault: Callable[[Job, pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = job_of(tmp_path, signer)
    fault(job, monkeypatch)
    outcome = run(job)
    monkeypatch.undo()
    assert (outcome.result, outcome.mark) == ("published", None)
    assert check(job) == 1


def test_a_rejected_zone_has_no_file(tmp_path: Path, signer: str) -> None:
    job = job_of(tmp_path, signer, ZONE.replace("192.0.2.2", "300.0.2.2"))
    assert run(job).result == "rejected"
    assert check(job) is None
