"""Two threads that write one zone: each transaction is its own, from its beginning until it is over."""

from __future__ import annotations

import contextlib
import threading
from contextlib import closing
from pathlib import Path

import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.dns.rrset import RRset, pack
from dnssecd.core.zone.changeset import Change
from dnssecd.store import zonedb
from dnssecd.store.errors import StoreError
from dnssecd.store.zonedb import ZoneDatabase


class NotVerified(Exception):
    """The version is not published."""


NEW = RRset(b"\3www\0", 16, 60, pack([b"\1a"]))


def test_no_row_of_a_transaction_that_fails_is_published_by_another_thread(tmp_path: Path) -> None:
    committed, begun, left = (threading.Event() for _ in range(3))
    with closing(ZoneDatabase(tmp_path / "z", text_to_wire("example."))) as database:

        def commit() -> None:
            with database.write() as transaction:
                transaction.set_state("x", {"a": 1})
                transaction.commit_state()
                committed.set()
                begun.wait(0.5)  # as where the answers to updates are made
            left.set()

        def fail() -> None:
            committed.wait(5)
            with contextlib.suppress(NotVerified), database.write() as transaction:
                begun.set()
                left.wait(5)
                transaction.apply_content([Change(NEW.owner, NEW.rtype, None, NEW)])
                raise NotVerified

        threads = [threading.Thread(target=each) for each in (commit, fail)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with database.snapshot() as snapshot:
            assert list(snapshot.scan()) == []
            assert snapshot.state("x") == {"a": 1}


def test_the_wait_of_a_writer_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zonedb, "WRITER_WAIT_S", 0.05)
    with (
        closing(ZoneDatabase(tmp_path / "z", text_to_wire("example."))) as database,
        database.write(),
        pytest.raises(StoreError, match="another thread"),
        database.write(),
    ):
        pass


def test_evidence_is_no_part_of_the_transaction_of_another_thread(tmp_path: Path) -> None:
    begun, done = threading.Event(), threading.Event()
    with closing(ZoneDatabase(tmp_path / "z", text_to_wire("example."))) as database:

        def fail() -> None:
            with contextlib.suppress(NotVerified), database.write() as transaction:
                transaction.set_state("x", {"a": 1})
                begun.set()
                done.wait(0.2)  # by itself evidence would be written now, and rolled back
                raise NotVerified

        thread = threading.Thread(target=fail)
        thread.start()
        begun.wait(5)
        database.set_evidence([("parent", "192.0.2.1", {"ds": []}, 7)])
        done.set()
        thread.join()
        assert database.evidence() == [("parent", "192.0.2.1", {"ds": []}, 7)]


def test_who_reads_evidence_waits_for_no_transaction(tmp_path: Path) -> None:
    """A transaction may wait for signatures: the plan of a rollover would report a failing store."""
    with closing(ZoneDatabase(tmp_path / "z", text_to_wire("example."))) as database:
        database.set_evidence([("parent", "192.0.2.1", {"ds": []}, 7)])
        with database.write() as transaction:
            transaction.set_state("x", {"a": 1})
            assert database.evidence() == [("parent", "192.0.2.1", {"ds": []}, 7)]
