"""Databases that are opened on a full disk are read, by all threads, and opened as usual when there is room again."""

from __future__ import annotations

import sqlite3
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.daemon.zones.databases import Databases
from dnssecd.store import sqlite
from dnssecd.store.catalogue import Catalogue, CatalogueEntry, read_catalogue
from dnssecd.store.errors import DatabaseFailed, StoreError
from dnssecd.store.event_log import EventStore
from dnssecd.store.operator_log import Act, ActLog
from dnssecd.store.zonedb import ZoneDatabase

ORIGIN = text_to_wire("a.example.")


class Disk:
    """Has room for the index of a write-ahead log, or none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self._connect = sqlite.connect
        monkeypatch.setattr(sqlite, "connect", self.connect)
        monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.1)

    def connect(self, path: Path, *, alone: bool = False, **how: Any) -> sqlite3.Connection:
        if self.full and not alone:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
            raise error
        return self._connect(path, alone=alone, **how)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def stored(tmp_path: Path, disk: Disk) -> Path:
    """A zone's database, closed: beside it is no file."""
    path = tmp_path / "a.sqlite"
    database = ZoneDatabase(path, ORIGIN)
    with database.write() as transaction:
        transaction.set_state("kept", {})
        transaction.commit_state()
    database.close()
    assert list(tmp_path.iterdir()) == [path]
    return path


def get(databases: Databases[int], path: Path) -> ZoneDatabase:
    return databases.get(0, path, ORIGIN, lambda: None)


def test_a_zone_is_served_from_a_full_disk_and_changed_when_there_is_room(stored: Path, disk: Disk) -> None:
    disk.full = True
    databases = Databases[int]()
    database = get(databases, stored)
    together = threading.Barrier(4)

    def read(_: int) -> Any:
        with database.snapshot() as snapshot:
            together.wait(10)
            return snapshot.state("kept")

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(read, range(4))) == [{}] * 4
    with pytest.raises(DatabaseFailed, match="the disk is full"), database.write():
        pass
    with pytest.raises(DatabaseFailed, match="the disk is full"):
        database.set_evidence([("secondary", "ns1", {}, 1)])
    with database.snapshot():
        databases.rest()
        assert get(databases, stored) is database, "it is not closed while it is read"
    databases.rest()
    disk.full = False
    again = get(databases, stored)
    with again.write() as transaction:
        transaction.set_state("new", {})
        transaction.commit_state()
    databases.close()


def test_each_thread_reads_what_it_asked_for_on_a_full_disk(tmp_path: Path, disk: Disk) -> None:
    path = tmp_path / "a.sqlite"
    database = ZoneDatabase(path, ORIGIN)
    with database.write() as transaction:
        for name in map(str, range(50)):
            transaction.set_state(name, {"of": name})
        transaction.commit_state()
    database.close()
    disk.full = True
    database = ZoneDatabase(path, ORIGIN, alone_if_full=True)

    def read(first: int) -> list[str]:
        with database.snapshot() as snapshot:
            asked = [str((first * 7 + each) % 50) for each in range(2_000)]
            return [name for name in asked if snapshot.state(name) != {"of": name}]

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(read, range(4))) == [[]] * 4
    finally:
        sys.setswitchinterval(usual)
    database.close()


def test_who_reads_on_a_full_disk_outlives_the_closing(stored: Path, disk: Disk) -> None:
    disk.full = True
    database = ZoneDatabase(stored, ORIGIN, alone_if_full=True)
    with database.snapshot() as snapshot:
        database.close()
        assert snapshot.state("kept") == {}
        with pytest.raises(StoreError, match="is closed"), database.snapshot():
            pass
    disk.full = False
    ZoneDatabase(stored, ORIGIN).close()  # no lock is left


def test_other_programs_wait_for_no_database_that_is_only_read(stored: Path, disk: Disk) -> None:
    """A zone worker must not have it for itself: the daemon serves from it."""
    disk.full = True
    with pytest.raises(DatabaseFailed, match=r"a\.sqlite: the disk is full$"):
        ZoneDatabase(stored, ORIGIN)


def test_the_daemon_s_own_databases_are_shared_again(tmp_path: Path, disk: Disk) -> None:
    catalogue, acts, events = (tmp_path / name for name in ("catalogue", "acts", "events"))
    for made in (Catalogue(catalogue), ActLog(acts), EventStore(events)):
        made.close()
    disk.full = True
    known, log, store = Catalogue(catalogue), ActLog(acts), EventStore(events)
    assert known.entries() == {}
    with pytest.raises(DatabaseFailed, match="the disk was full"):
        known.sync()
    for each in (known, log, store):
        each.share()
    disk.full = False
    with pytest.raises(StoreError, match="locked"):
        read_catalogue(catalogue)
    for each in (known, log, store):
        each.share()
    known.put(CatalogueEntry("a.example.", 7))
    known.sync()
    log.record(Act(1, "root", 0, "zone reload", ""), [("a.example.", 7)])
    store.save((), ())
    assert read_catalogue(catalogue).serials == {"a.example.": 7}
    for name in (acts, events):
        sqlite.copy_database(name, tmp_path / "copy", durable=False)
        (tmp_path / "copy").unlink()
    for each in (known, log, store):
        each.close()


def test_a_copy_does_not_wait_for_another_program_without_end(
    stored: Path, disk: Disk, tmp_path: Path
) -> None:
    with_lock = sqlite.connect(stored, alone=True)
    with_lock.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        sqlite.copy_database(stored, tmp_path / "copy")
    with_lock.close()
