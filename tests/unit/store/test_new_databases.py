"""A new database is whole when it gets its name, and the same whether SQLite or an image made it."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.store import sqlite
from dnssecd.store.errors import WrongZone
from dnssecd.store.identity import meta
from dnssecd.store.zonedb import ZoneDatabase

ORIGIN = text_to_wire("example.com.")


def described(path: Path) -> dict[str, Any]:
    """Return what a database is, but for its random instance; its file is copied as another process sees it."""
    with closing(sqlite3.connect(path)) as connection:

        def one(sql: str) -> Any:
            return connection.execute(sql).fetchone()[0]

        return {
            "schema": connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall(),
            "meta": [name for name in meta(connection) if name != "instance"],
            "origin": meta(connection)["origin"],
            "check": one("PRAGMA integrity_check"),
            **{
                word: one(f"PRAGMA {word}")
                for word in ("application_id", "user_version", "page_size", "encoding")
            },
            "journal": one("PRAGMA journal_mode"),
            "mode": path.stat().st_mode & 0o777,
            "links": path.stat().st_nlink,
        }


def without_images(monkeypatch: pytest.MonkeyPatch, fault: int = errno.EOPNOTSUPP) -> None:
    plain = os.open

    def opened(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(fault, os.strerror(fault))
        return plain(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", opened)


def test_an_image_is_what_sqlite_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ZoneDatabase(tmp_path / "image.sqlite", ORIGIN).close()
    without_images(monkeypatch)
    ZoneDatabase(tmp_path / "sqlite.sqlite", ORIGIN).close()
    made = described(tmp_path / "image.sqlite")
    assert made == described(tmp_path / "sqlite.sqlite")
    assert (made["check"], made["journal"], made["origin"], made["mode"]) == ("ok", "wal", ORIGIN, 0o600)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image.sqlite", "sqlite.sqlite"]


def test_each_database_has_an_instance_of_its_own(tmp_path: Path) -> None:
    instances = set()
    for number in range(20):
        with closing(ZoneDatabase(tmp_path / f"{number}.sqlite", ORIGIN)) as db:
            instances.add(db.instance)
        with closing(ZoneDatabase(tmp_path / f"{number}.sqlite", ORIGIN)) as db:
            instances.add(db.instance)
    assert len(instances) == 20
    with pytest.raises(WrongZone):
        ZoneDatabase(tmp_path / "1.sqlite", text_to_wire("example.net."))


def test_it_is_synced_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "a.sqlite", []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (seen.append(path.exists()), fsync(descriptor))[1])
    ZoneDatabase(path, ORIGIN).close()
    assert seen == [False, True]  # the file, then its directory


def test_what_another_process_made_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, link = tmp_path / "a.sqlite", os.link
    made: list[str] = []

    def late(*words: Any, **named: Any) -> None:
        monkeypatch.setattr(os, "link", link)
        with closing(ZoneDatabase(path, ORIGIN)) as other:
            made.append(other.instance)
        link(*words, **named)

    monkeypatch.setattr(os, "link", late)
    with closing(ZoneDatabase(path, ORIGIN)) as db:
        assert [db.instance] == made


@pytest.mark.parametrize("fault", ["write", "fsync", "link"])
def test_a_fault_leaves_no_part_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """After it SQLite makes the database, or fails in its own way."""
    path = tmp_path / "a.sqlite"
    calls: list[str] = []

    def fails(*_: Any, **__: Any) -> Any:
        calls.append(fault)
        monkeypatch.undo()
        assert not path.exists()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if fault == "write":
        monkeypatch.setattr(os, "fdopen", fails)
    else:
        monkeypatch.setattr(os, fault, fails)
    with closing(ZoneDatabase(path, ORIGIN)) as db:
        assert db.instance
    assert calls == [fault]
    assert described(path)["check"] == "ok"


def test_an_empty_file_that_a_crash_left_is_completed(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    sqlite.create_file(path)
    ZoneDatabase(path, ORIGIN).close()
    assert described(path)["origin"] == ORIGIN


def test_the_log_of_a_lost_database_is_not_replayed_into_a_new_one(tmp_path: Path) -> None:
    """A deletion by hand, or a crash while a removed zone is moved away, leaves the write-ahead log behind."""
    path, log, kept = (tmp_path / name for name in ("a.sqlite", "a.sqlite-wal", "kept"))
    with closing(ZoneDatabase(path, ORIGIN)) as old:
        old.set_evidence([("server", "serial", {"serial": 7}, 1)])
        shutil.copyfile(log, kept)
    path.unlink()
    kept.rename(log)
    with closing(ZoneDatabase(path, ORIGIN)) as new:
        assert new.evidence() == []
    assert described(path)["origin"] == ORIGIN
