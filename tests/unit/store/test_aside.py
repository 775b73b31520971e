"""A database that is set aside is whole at any moment: under its own name, or under the new one."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.store.aside import copy_kept, kept_of, set_aside
from dnssecd.store.zonedb import ZoneDatabase

ORIGIN = text_to_wire("z.test.")
NOW = 1_800_000_000
SIDES = ("-wal", "-shm")
# Each of these events of the interpreter precedes one change of the file system.
KILLED = """
import os, signal, sys
from pathlib import Path
from dnssecd.store.aside import discard, set_aside
step, call, path = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
left = [step]
def look(event, arguments):
    if event in ("os.rename", "os.link", "os.remove", "os.mkdir") and left:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(look)
set_aside(path, 1_800_000_000) if call == "set_aside" else discard(path)
"""


def crashed(home: Path) -> Path:
    """A database as a crash leaves it: its last commit, serial 7, is in its log only."""
    path, away = home / "z.test.sqlite", home / "away"
    away.mkdir()
    with closing(ZoneDatabase(path, ORIGIN)) as db:
        publish(db, 6)
        db.checkpoint()
        publish(db, 7)
        for suffix in ("", *SIDES):
            shutil.copy(f"{path}{suffix}", away / f"z{suffix}")
    for suffix in ("", *SIDES):
        os.replace(away / f"z{suffix}", f"{path}{suffix}")
    away.rmdir()
    return path


def publish(db: ZoneDatabase, serial: int) -> None:
    with db.write() as transaction:
        transaction.set_state("version", {"serial": serial})
        transaction.commit_state()


def killed_at(step: int, call: str, path: Path) -> bool:
    """Run ``call`` in a process that is killed before its change number *step*; return whether it was."""
    code = subprocess.run([sys.executable, "-c", KILLED, str(step), call, str(path)], timeout=60).returncode
    assert code in (0, -9)
    return code != 0


def serial_of(path: Path) -> int:
    with closing(ZoneDatabase(path, ORIGIN)) as db, db.snapshot() as snapshot:
        assert snapshot.version is not None
        return int(snapshot.version["serial"])


def test_a_kill_at_any_step_loses_no_commit(tmp_path: Path) -> None:
    for step in range(20):
        home = tmp_path / str(step)
        home.mkdir()
        path = crashed(home)
        ended = not killed_at(step, "set_aside", path)
        if path.exists():
            assert not ended
            assert kept_of(path) == [], "what is still in use is not kept as well"
            assert serial_of(path) == 7, step
            assert set_aside(path, NOW) is not None
        (kept,) = kept_of(path)
        assert kept.serial == 7, step
        copy_kept(kept.path, home / "copy")
        assert serial_of(home / "copy") == 7
        if ended:
            assert step > 5, "directory, two side files twice, database"
            return
    pytest.fail("it never ended")


def test_a_zone_that_returns_after_a_kill_neither_reads_nor_ends_the_log_of_the_kept_one(
    tmp_path: Path,
) -> None:
    for step in range(20):
        home = tmp_path / str(step)
        home.mkdir()
        path = crashed(home)
        if not killed_at(step, "set_aside", path):
            return
        if path.exists():
            continue
        with closing(ZoneDatabase(path, ORIGIN)) as db:
            with db.snapshot() as snapshot:
                assert snapshot.version is None, step
            publish(db, 1)
        assert [kept.serial for kept in kept_of(path)] == [7], step
    pytest.fail("it never ended")


def test_a_kill_while_it_is_discarded_leaves_all_of_it_or_none(tmp_path: Path) -> None:
    for step in range(20):
        home = tmp_path / str(step)
        home.mkdir()
        path = crashed(home)
        kept = set_aside(path, NOW)
        assert kept is not None
        ended = not killed_at(step, "discard", kept)
        assert [one.serial for one in kept_of(path)] in ([], [7]), step
        if ended:
            assert list(kept.parent.iterdir()) == []
            return
    pytest.fail("it never ended")


def test_names_of_kept_databases_and_of_their_logs_are_not_used_again(tmp_path: Path) -> None:
    first = set_aside(crashed(tmp_path), NOW)
    assert first is not None
    first.unlink()  # by an operator, who left its log
    path = crashed(tmp_path)
    second = set_aside(path, NOW)
    assert second == tmp_path / "removed" / f"z.test.sqlite.{NOW + 1}"
    assert [kept.serial for kept in kept_of(path)] == [7]


def test_a_log_without_its_database_is_moved_away_and_nothing_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "z.test.sqlite"
    assert set_aside(path, NOW) is None
    assert list(tmp_path.iterdir()) == []
    Path(f"{path}-wal").write_bytes(b"log")
    moved = set_aside(path, NOW)
    assert Path(f"{moved}-wal").read_bytes() == b"log"
    assert [one.name for one in tmp_path.iterdir()] == ["removed"]
    assert kept_of(path) == []


def test_a_log_that_a_reader_still_has_open_is_kept(tmp_path: Path) -> None:
    """As with a transfer that outlives the time to let go."""
    path = tmp_path / "z.test.sqlite"
    with closing(ZoneDatabase(path, ORIGIN)) as db:
        publish(db, 6)
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM state").fetchone()
        publish(db, 7)
    assert os.stat(f"{path}-wal").st_size
    assert set_aside(path, NOW) is not None
    reader.close()
    (kept,) = kept_of(path)
    assert kept.serial == 7
