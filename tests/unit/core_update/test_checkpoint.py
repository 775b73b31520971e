"""The write-ahead log of a zone's database: short at last, whoever commits, and moved outside commits."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.store import zonedb
from dnssecd.store.zonedb import ZoneDatabase


def commits(db: ZoneDatabase, number: int, octets: int = 20_000) -> None:
    for each in range(number):
        with db.write() as transaction:
            transaction.set_state("version", {"serial": each, "ballast": "x" * octets})
            transaction.commit_if(transaction.generation)


@pytest.fixture
def db(tmp_path: Path) -> ZoneDatabase:
    return ZoneDatabase(tmp_path / "zone.sqlite", text_to_wire("example."))


def test_log_is_moved_now_and_then(db: ZoneDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zonedb, "CHECKPOINT_COMMITS_MAX", 20)
    commits(db, 19)
    before = db.path.with_name("zone.sqlite-wal").stat().st_size
    commits(db, 200)
    after = db.path.with_name("zone.sqlite-wal").stat().st_size
    assert after <= 2 * before, "the log is begun anew after it was moved"
    db.close()


def test_untidy_until_looked_after(db: ZoneDatabase) -> None:
    commits(db, zonedb.CHECKPOINT_COMMITS - 1, 10)
    assert not db.untidy
    db.set_evidence([("secondary", "ns1", {}, 0)])
    assert db.untidy
    db.checkpoint()
    assert not db.untidy
    db.close()


def test_long_log_is_moved_at_once(db: ZoneDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zonedb, "WAL_OCTETS_MAX", 100_000)
    commits(db, 1, 400_000)
    assert db._commits == 0, "moved with the commit"
    db.close()


def test_a_held_snapshot_delays_nothing(db: ZoneDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zonedb, "CHECKPOINT_COMMITS_MAX", 5)
    commits(db, 1)
    with db.snapshot() as held:
        commits(db, 30)
        assert held.serial == 0
    commits(db, 12)
    with db.snapshot() as snapshot:
        assert snapshot.serial == 11
    db.close()
