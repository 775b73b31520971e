"""What a database's mark tells apart, with a real database that is written, checkpointed, copied and replaced."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.store import filemark
from dnssecd.store.filemark import FileMark, Standing
from dnssecd.store.zonedb import ZoneDatabase

ORIGIN = text_to_wire("example.")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "zone.sqlite"
    with closing(ZoneDatabase(path, ORIGIN)) as db:
        db.set_evidence([("ns1", "serial", {"n": 1}, 1)])
    return path


@pytest.fixture
def open_db(path: Path) -> Iterator[ZoneDatabase]:
    """The database in use, with a commit in its log."""
    with closing(ZoneDatabase(path, ORIGIN)) as db:
        db.set_evidence([("ns1", "serial", {"n": 2}, 2)])
        yield db


def take(path: Path) -> FileMark:
    mark = filemark.take(str(path))
    assert mark is not None
    return mark


def edit(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE evidence SET at = at + 1")


def put_back_a_copy(path: Path) -> None:
    copy = path.with_name("copy")
    shutil.copy2(path, copy)
    os.replace(copy, path)


def flip_a_bit(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        (octet,) = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([octet ^ 1]))


@pytest.mark.parametrize(
    ("change", "standing", "words"),
    [
        (lambda path: None, Standing.SAME, ""),
        (edit, Standing.CHANGED, "it was written at"),
        (flip_a_bit, Standing.CHANGED, "it was written at"),
        (put_back_a_copy, Standing.CHANGED, "it was replaced by another file"),
        (lambda path: os.truncate(path, 4096), Standing.CHANGED, "it has 4096 bytes, not"),
        (lambda path: os.utime(path, ns=(0, 0)), Standing.CHANGED, "it was written at 1970"),
        (lambda path: os.chmod(path, 0o640), Standing.MOVED, "its owner, mode, links or device"),
    ],
)
def test_a_database_at_rest(
    path: Path, change: Callable[[Path], object], standing: Standing, words: str
) -> None:
    left = take(path)
    change(path)
    found, how = filemark.compare(left, take(path))
    assert found is standing
    assert words in how


def test_opening_and_reading_leaves_the_mark(path: Path) -> None:
    left = take(path)
    with closing(ZoneDatabase(path, ORIGIN)) as db, db.snapshot() as snapshot:
        assert snapshot.version is None
    assert filemark.compare(left, take(path))[0] is Standing.SAME


def test_a_log_that_grew_behind_its_file(open_db: ZoneDatabase) -> None:
    left = take(open_db.path)
    assert left.salts
    open_db.set_evidence([("ns1", "serial", {"n": 3}, 3)])
    assert filemark.compare(left, take(open_db.path))[0] is Standing.GROWN


def test_a_log_that_was_moved_into_its_file(open_db: ZoneDatabase) -> None:
    left = take(open_db.path)
    open_db.checkpoint()
    assert filemark.compare(left, take(open_db.path))[0] is Standing.MERGED


def test_a_log_that_is_gone(open_db: ZoneDatabase, tmp_path: Path) -> None:
    left = take(open_db.path)
    Path(f"{open_db.path}-wal").rename(tmp_path / "elsewhere")
    standing, how = filemark.compare(left, take(open_db.path))
    assert standing is Standing.CHANGED
    assert "log with the latest commits is missing" in how
    (tmp_path / "elsewhere").rename(f"{open_db.path}-wal")


def test_taking_a_mark_costs_sqlite_no_locks(open_db: ZoneDatabase) -> None:
    """A process that closes any descriptor of a file loses its POSIX locks on it: others would think it unused."""
    before = locks(open_db.path)
    assert before
    take(open_db.path)
    deadline = time.monotonic() + 2
    while (after := locks(open_db.path)) != before and time.monotonic() < deadline:
        time.sleep(
            0.01
        )  # the kernel's list overlooks locks while others come and go; a lost one does not return
    assert after == before


def locks(path: Path | str) -> list[str]:
    """This process's POSIX locks on the database by /proc/locks, without their numbers."""
    lines = Path("/proc/locks").read_text().splitlines()
    beside = [Path(f"{path}{end}") for end in ("", "-shm", "-wal")]
    files = {f":{file.stat().st_ino} " for file in beside if file.exists()}
    mine = [line.split(maxsplit=1)[1] for line in lines if f" {os.getpid()} " in line]
    return sorted(line for line in mine if any(file in line for file in files))


def test_marks_are_kept_as_text(path: Path) -> None:
    mark = take(path)
    assert filemark.decode(filemark.encode(mark)) == mark
    assert filemark.decode(None) is filemark.decode("[1, 2]") is filemark.decode("x") is None
    assert filemark.compare(None, mark)[0] is Standing.UNMARKED
    assert filemark.take(str(path.with_name("none"))) is None
