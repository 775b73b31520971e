"""A removed zone's database comes back whole: with the note that holds it, and nothing of another one's log."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.daemon.zones import restore_removed
from dnssecd.pipeline.version import state
from dnssecd.store.aside import Kept, set_aside
from dnssecd.store.errors import StoreError
from dnssecd.store.zonedb import ZoneDatabase

ORIGIN = text_to_wire("z.test.")
NOTE = state.Restored(at=5, who="root", source="kept", floor=9)


def kept_zone(home: Path) -> Kept:
    path = home / "z.test.sqlite"
    with closing(ZoneDatabase(path, ORIGIN)) as db, db.write() as transaction:
        transaction.set_state("version", {"serial": 7})
        transaction.commit_state()
    kept = set_aside(path, 1)
    assert kept is not None
    return Kept(kept, 1, 7)


def test_it_is_held_and_the_log_of_another_database_is_not_replayed(tmp_path: Path) -> None:
    target, log = tmp_path / "z.test.sqlite", tmp_path / "z.test.sqlite-wal"
    kept = kept_zone(tmp_path)
    with closing(ZoneDatabase(target, ORIGIN)) as other:
        other.set_evidence([("secondary", "ns1", {"serial": 1}, 1)])
        shutil.copy(log, tmp_path / "log")
    target.unlink()
    (tmp_path / "log").rename(log)
    prepared = tmp_path / "back"
    restore_removed._prepare(kept, prepared, ORIGIN, NOTE)
    restore_removed._place(prepared, target)
    with closing(ZoneDatabase(target, ORIGIN)) as back, back.snapshot() as snapshot:
        assert state.restored_from(snapshot.state(state.RESTORED)) == NOTE
        assert snapshot.version == {"serial": 7}
        assert back.evidence() == []


def test_it_is_refused_while_the_note_is_in_its_log_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = kept_zone(tmp_path)
    readers: list[sqlite3.Connection] = []

    class Read(ZoneDatabase):
        def close(self) -> None:
            readers.append(sqlite3.connect(self.path))
            readers[0].execute("SELECT count(*) FROM state").fetchone()
            super().close()

    monkeypatch.setattr(restore_removed, "ZoneDatabase", Read)
    with pytest.raises(StoreError, match="write-ahead log"):
        restore_removed._prepare(kept, tmp_path / "back", ORIGIN, NOTE)
    readers[0].close()
