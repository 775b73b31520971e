"""Databases are closed to make room, and when their zone goes: never under the hands of who reads or writes."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.daemon.zones.databases import CLOSING_MAX, RESTING_ROUNDS, WAITING_MAX, Databases
from dnssecd.daemon.zones.zone import ZoneGone
from dnssecd.store.errors import StoreError
from dnssecd.store.zonedb import ZoneDatabase

OPEN_MAX = 2


def opened(databases: Databases, directory: Path, number: int) -> ZoneDatabase:
    path, origin = directory / f"{number}.sqlite", text_to_wire(f"{number}.example.")
    return databases.get(number, path, origin, lambda: None)


def fill(databases: Databases, directory: Path) -> None:
    for number in range(100, 101 + OPEN_MAX):
        opened(databases, directory, number)


def test_a_version_is_committed_while_other_zones_are_asked_for(tmp_path: Path) -> None:
    databases = Databases(OPEN_MAX)
    busy = opened(databases, tmp_path, 0)
    with busy.write() as transaction:
        transaction.set_state("before", {})
        fill(databases, tmp_path)
        assert opened(databases, tmp_path, 0) is busy, "a second object for a file that is being written"
        transaction.set_state("after", {})
        transaction.commit_state()
    with busy.snapshot() as snapshot:
        assert snapshot.state("after") == {}


def test_a_database_that_is_read_stays_open_and_goes_when_it_is_not(tmp_path: Path) -> None:
    databases = Databases(OPEN_MAX)
    with ExitStack() as held:
        all_read = [opened(databases, tmp_path, number) for number in range(2)]
        for database in all_read:
            held.enter_context(database.snapshot())
        for number in range(2, OPEN_MAX + 2):
            all_read.append(opened(databases, tmp_path, number))
            held.enter_context(all_read[-1].snapshot())
        fill(databases, tmp_path)
        for number, database in enumerate(all_read):
            assert opened(databases, tmp_path, number) is database
    fill(databases, tmp_path)
    for number, database in enumerate(all_read):
        assert opened(databases, tmp_path, number) is not database
    databases.close()


def test_all_are_closed_at_the_end_without_one_waiting_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And before the fault of one is reported."""
    databases = Databases(2 * CLOSING_MAX)
    all_open = [opened(databases, tmp_path, number) for number in range(CLOSING_MAX + 1)]
    together, close, closed = threading.Barrier(CLOSING_MAX), ZoneDatabase.close, list[ZoneDatabase]()

    def closing(database: ZoneDatabase) -> None:
        if database is not all_open[-1]:
            together.wait(30)  # BrokenBarrierError: one waits for another
        close(database)
        closed.append(database)
        if database is all_open[0]:
            raise StoreError("it cannot be written")

    monkeypatch.setattr(ZoneDatabase, "close", closing)
    with pytest.raises(StoreError, match="cannot be written"):
        databases.close()
    assert {id(one) for one in closed} == {id(one) for one in all_open}
    databases.close()


def test_closing_waits_for_who_writes(tmp_path: Path) -> None:
    told: list[int] = []
    origin = text_to_wire("a.example.")
    database = ZoneDatabase(tmp_path / "a.sqlite", origin, on_write=lambda: told.append(1))
    with database.write() as transaction:
        transaction.set_state("before", {})
        database.close()
        with pytest.raises(StoreError, match="is closed"), database.write():
            pass
        transaction.set_state("after", {})
        transaction.commit_state()
    assert told
    with pytest.raises(StoreError, match="is closed"):
        database.set_evidence([("secondary", "ns1", {}, 1)])
    again = ZoneDatabase(tmp_path / "a.sqlite", text_to_wire("a.example."))
    with again.snapshot() as snapshot:
        assert snapshot.state("after") == {}
    again.close()
    again.close()


def test_a_thread_that_writes_outlives_the_closing(tmp_path: Path) -> None:
    database = ZoneDatabase(tmp_path / "a.sqlite", text_to_wire("a.example."))
    begun, closed, faults = threading.Event(), threading.Event(), list[BaseException]()

    def write() -> None:
        try:
            with database.write() as transaction:
                number = 0
                while number < 2_000 or not closed.is_set():
                    transaction.set_state(str(number), {"number": number})
                    begun.set()
                    number += 1
                transaction.commit_state()
        except BaseException as error:
            faults.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    assert begun.wait(10)
    database.retire()
    database.close()
    closed.set()
    thread.join(20)
    assert faults == []


def test_who_opens_one_does_not_wait_for_the_closing_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing waits for the disk, and the event loop opens databases; a file is moved after it was closed."""
    databases, closed, may_close = Databases(OPEN_MAX), list[str](), threading.Event()
    close = ZoneDatabase.close

    def slow(self: ZoneDatabase) -> None:
        assert may_close.wait(10)
        close(self)
        closed.append(self.path.name)

    oldest = opened(databases, tmp_path, 0)
    with oldest.write() as transaction:
        transaction.set_state("kept", {})
        transaction.commit_state()
    monkeypatch.setattr(ZoneDatabase, "close", slow)
    fill(databases, tmp_path)
    assert closed == []
    again = opened(databases, tmp_path, 0)
    assert again is not oldest
    with again.snapshot() as snapshot:
        assert snapshot.state("kept") == {}
    threading.Timer(0.05, may_close.set).start()
    databases.settle(0)
    assert closed[0] == "0.sqlite"
    databases.close()
    assert len(closed) == len(list(tmp_path.glob("*.sqlite"))) + 1


def test_what_is_not_used_is_closed_and_opened_again_when_it_is_needed(tmp_path: Path) -> None:
    """Not what is read for long, and not what is used now and then."""
    databases = Databases[int]()
    quiet, read, used = (opened(databases, tmp_path, number) for number in range(3))
    with quiet.write() as transaction:
        transaction.set_state("kept", {})
        transaction.commit_state()
    closed = []
    with read.snapshot():
        for _ in range(2 * RESTING_ROUNDS):
            closed.append(databases.rest())
            assert opened(databases, tmp_path, 2) is used
    assert closed.index(1) == RESTING_ROUNDS - 1
    assert sum(closed) == 1
    databases.settle(0)
    with pytest.raises(StoreError, match="is closed"), quiet.snapshot():
        pass
    assert opened(databases, tmp_path, 1) is read
    with opened(databases, tmp_path, 0).snapshot() as snapshot:
        assert snapshot.state("kept") == {}
    retired = databases.retire(0)
    assert retired is not None
    for _ in range(2 * RESTING_ROUNDS):
        databases.rest()
    databases.close()
    retired.close()


def test_databases_that_rest_do_not_keep_the_event_loop_waiting(tmp_path: Path) -> None:
    """One thread closes them; no more are given to it at a time than may wait."""
    databases, begun, may_close = Databases[int](), threading.Event(), threading.Event()
    for number in range(WAITING_MAX + 3):
        opened(databases, tmp_path, number)
    databases._closer.submit(lambda: begun.set() or may_close.wait(30))
    assert begun.wait(10)
    closed = [databases.rest() for _ in range(RESTING_ROUNDS + 1)]
    assert closed[-2:] == [WAITING_MAX, 0]
    assert databases.closing == WAITING_MAX
    may_close.set()
    for number in range(WAITING_MAX):
        databases.settle(number)
    assert databases.closing == 0
    assert databases.rest() == 3
    databases.close()


def test_who_waited_while_the_zone_was_removed_does_not_open_its_database(tmp_path: Path) -> None:
    """The file is moved as soon as the database is retired: opening it now would make a second one at its path."""
    databases, path, origin = Databases[int](), tmp_path / "0.sqlite", text_to_wire("0.example.")
    gone, begun, done = False, threading.Event(), list[object]()

    def check() -> None:
        if gone:
            raise ZoneGone("0.example.")

    def use() -> None:
        begun.set()
        try:
            done.append(databases.get(0, path, origin, check))
        except ZoneGone as error:
            done.append(error)

    check()
    user = threading.Thread(target=use)
    with databases._lock:  # another thread opens the database of another zone
        user.start()
        assert begun.wait(10)
        gone = True
    assert databases.retire(0) is None
    user.join(10)
    assert [type(one) for one in done] == [ZoneGone]
    assert not path.exists()
    databases.close()


def test_another_file_in_the_place_of_one_that_rested_is_not_opened(tmp_path: Path) -> None:
    """It was not verified. The start of the daemon does that."""
    databases = Databases[int]()
    path, kept = tmp_path / "0.sqlite", tmp_path / "kept"
    identity = opened(databases, tmp_path, 0).identity
    for _ in range(RESTING_ROUNDS + 1):
        databases.rest()
    databases.settle(0)
    kept.write_bytes(path.read_bytes())
    path.rename(tmp_path / "good")
    for put in (lambda: None, lambda: kept.rename(path)):
        put()
        with pytest.raises(StoreError, match="was replaced or removed while dnssecd runs"):
            opened(databases, tmp_path, 0)
        assert databases.identity(0, path) == identity, "workers refuse the other file, too"
        assert databases.faults().keys() == {0}
    (tmp_path / "good").replace(path)
    assert opened(databases, tmp_path, 0).identity == identity
    assert databases.faults() == {}
    retired = databases.retire(0)
    assert retired is not None
    retired.close()
    path.unlink()
    assert opened(databases, tmp_path, 0).identity == databases.identity(0, path)
    databases.close()
