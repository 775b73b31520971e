"""A large first version: RRSIGs are sorted by expiration once, and the planner reads content from memory."""

import sqlite3
from pathlib import Path

import pytest

from dnssecd.core.dns.rrset import RRset, Rrsigs, pack
from dnssecd.core.zone.changeset import Change
from dnssecd.pipeline.version.first_version_view import FirstContent, planned_from
from dnssecd.store import transaction as transaction_module
from dnssecd.store.transaction import WriteTransaction
from dnssecd.store.zonedb import ZoneDatabase

ORIGIN = b"\x07example\0"
COUNT = 50


def changes() -> list[Change]:
    rrsets = [RRset(b"n%03d\0" % number, 1, 60, pack([bytes(4)])) for number in range(COUNT)]
    return [Change(rrset.owner, rrset.rtype, None, rrset) for rrset in rrsets]


def write(transaction: WriteTransaction) -> None:
    transaction.apply_content(changes())
    rows = [
        (None, Rrsigs(change.owner, 1, 60, pack([bytes(20)])), COUNT - at)
        for at, change in enumerate(changes())
    ]
    transaction.put_rrsigs(rows)


def has_index(path: Path) -> bool:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'rrsig_expiration'").fetchone()
    connection.close()
    return found is not None


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ZoneDatabase:
    monkeypatch.setattr(transaction_module, "INDEX_LATER_RRSETS", COUNT - 1)
    return ZoneDatabase(tmp_path / "zone.db", ORIGIN)


def test_the_index_is_there_once_the_version_is(database: ZoneDatabase) -> None:
    with database.write() as transaction:
        write(transaction)
        plan = transaction._connection.execute(
            "EXPLAIN QUERY PLAN SELECT min(expiration) FROM rrsig"
        ).fetchall()
        assert "rrsig_expiration" not in str(plan)
        transaction.commit_if(transaction.generation)
    assert has_index(database.path)
    with database.snapshot() as snapshot:
        assert [owner for owner, _ in snapshot.rrsigs_due(3, 9)] == [b"n049\0", b"n048\0", b"n047\0"]


def test_a_version_that_fails_leaves_the_index_as_it_was(database: ZoneDatabase) -> None:
    with database.write() as transaction:
        write(transaction)
    assert has_index(database.path)
    with database.write() as transaction:
        assert next(transaction.rrsig_scan(), None) is None


def test_what_the_planner_reads_of_a_first_version_is_what_was_written(database: ZoneDatabase) -> None:
    with database.write() as transaction:
        write(transaction)
        view = planned_from(transaction, transaction.old, changes(), complete=True)
        assert isinstance(view, FirstContent)
        for span in ((b"", None), (b"n003\0", b"n007\0"), (b"n003", b"n003\xff"), (b"x", None)):
            assert list(view.scan(*span)) == list(transaction.scan(*span))
        assert view.rrset(b"n004\0", 1) == transaction.rrset(b"n004\0", 1) is not None
        assert list(view.rrsig_scan()) == list(transaction.rrsig_scan())
        assert planned_from(transaction, transaction.old, changes(), complete=False) is transaction
        assert planned_from(transaction, transaction, changes(), complete=True) is transaction


def test_a_first_version_needs_no_snapshot_of_nothing(database: ZoneDatabase) -> None:
    with database.write() as transaction:
        walks = list(transaction.old.scan()), list(transaction.old.denial_scan())
        assert transaction.old.rrset(b"", 6) is None
        write(transaction)
        assert (*walks, list(transaction.old.rrsig_scan())) == ([], [], [])
        assert list(transaction.old.scan()) == []
        assert len(list(transaction.scan())) == COUNT
        assert database.held == 0
        transaction.commit_if(transaction.generation)
    with database.write() as transaction:
        assert len(list(transaction.old.scan())) == COUNT


def test_zone_data_without_a_version_is_seen(database: ZoneDatabase) -> None:
    """Only something that is wrong leaves it; the next version replaces it."""
    with sqlite3.connect(database.path) as connection:
        connection.execute("INSERT INTO rrsig VALUES (x'', 6, 60, x'00', 1)")
    connection.close()
    with database.write() as transaction:
        assert transaction.old.version is None
        write(transaction)
        assert [row.covered for row in transaction.old.rrsig_scan()] == [6]
