"""Restored databases in place of what was there: whole, kept, and never beside another's write-ahead log."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from dnssecd.backup.content import stored
from dnssecd.backup.judge import Options, Stored, decide
from dnssecd.backup.place import Note, Placer, prepare, settle
from dnssecd.config.model import Config
from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.keys.restore_limits import LiveServer
from dnssecd.daemon.zones.specs import database_path
from dnssecd.pipeline.version import state
from dnssecd.store.catalogue import Catalogue, CatalogueEntry
from dnssecd.store.errors import StoreError
from dnssecd.store.zonedb import ZoneDatabase
from tests.unit.backup.test_archive import NOW, config, database, put_version
from tests.unit.core_parent.keysets import in_place

Z = "a.test."
NOTE = Note(NOW, "root", "from a test")
__all__ = ["config"]


def unpacked(home: Path, serial: int) -> Path:
    """A zone's database as it comes out of a backup, on the file system of the others."""
    path = home / "state" / "zones" / "unpacked.sqlite"
    with closing(ZoneDatabase(path, text_to_wire(Z))) as db:
        put_version(db, serial)
        db.set_evidence([("secondary", "ns1", {"serial": serial}, NOW)])
    return path


def put(config: Config, path: Path, frozen: bool = False) -> None:
    prepare(path, None, None, NOTE)
    settle([path])
    with closing(Catalogue(config.server.state_dir / "catalogue.sqlite")) as catalogue:
        placer = Placer(config, catalogue, NOW)
        placer.forget({Z: (frozen, None)})
        placer.put(Z, path)
        placer.finish()


def test_the_old_one_is_kept_with_all_that_was_in_its_log(config: Config, tmp_path: Path) -> None:
    target = database_path(config, Z)
    db = database(tmp_path, Z)
    put_version(db, 7)
    for suffix in ("", "-wal", "-shm"):  # as a kill -9 leaves it
        shutil.copy(f"{target}{suffix}", tmp_path / f"killed{suffix}")
    db.close()
    for suffix in ("", "-wal", "-shm"):
        os.replace(tmp_path / f"killed{suffix}", f"{target}{suffix}")
    put(config, unpacked(tmp_path, 5))
    assert stored(target)[0] == 5
    assert not Path(f"{target}-wal").exists() or not os.stat(f"{target}-wal").st_size
    (kept,) = (target.parent / "removed").iterdir()
    assert stored(kept)[0] == 7
    assert os.stat(target).st_mode & 0o777 == 0o600


def test_a_damaged_one_is_set_aside(config: Config, tmp_path: Path) -> None:
    target = database_path(config, Z)
    target.write_bytes(b"nonsense" * 1000)
    Path(f"{target}-wal").write_bytes(b"more nonsense")
    put(config, unpacked(tmp_path, 5))
    assert stored(target)[0] == 5
    assert not Path(f"{target}-wal").exists() or not os.stat(f"{target}-wal").st_size
    assert b"nonsense" in next((target.parent / "removed").glob(f"{target.name}.{NOW}")).read_bytes()


def test_the_catalogue_forgets_what_was_served_but_not_a_freeze(config: Config, tmp_path: Path) -> None:
    path = config.server.state_dir / "catalogue.sqlite"
    with closing(Catalogue(path)) as catalogue:
        catalogue.put(CatalogueEntry(Z, 7, frozen=1))
    put(config, unpacked(tmp_path, 5))
    with closing(Catalogue(path)) as catalogue:
        entry = catalogue.entries()[Z]
    assert (entry.serial, entry.frozen) == (None, 1), "so that its own database is read at the next start"


def test_no_database_is_replaced_that_the_catalogue_could_not_forget(config: Config, tmp_path: Path) -> None:
    """Served from the catalogue, with the serial of what was there, a restored zone would not be held."""
    path = unpacked(tmp_path, 5)
    before = database_path(config, Z).read_bytes()
    catalogue_path = config.server.state_dir / "catalogue.sqlite"
    with closing(sqlite3.connect(catalogue_path)) as other:
        other.execute("CREATE TRIGGER full BEFORE INSERT ON zone BEGIN SELECT RAISE(FAIL, 'disk full'); END")
    with pytest.raises(StoreError, match=r"catalogue\.sqlite: disk full"):
        put(config, path)
    assert database_path(config, Z).read_bytes() == before
    with closing(Catalogue(catalogue_path)) as catalogue:
        assert catalogue.entries()[Z].serial == 1


def test_the_catalogue_forgets_on_the_disk_and_all_or_nothing(config: Config) -> None:
    with closing(Catalogue(config.server.state_dir / "catalogue.sqlite")) as catalogue:
        seen: list[str] = []
        catalogue._connection.set_trace_callback(seen.append)
        catalogue.forget({Z: True, "new.test.": False})
        assert catalogue.entries()[Z] == CatalogueEntry(Z, frozen=1)
        assert catalogue.entries()["new.test."] == CatalogueEntry("new.test.", frozen=0)
    begun = [text.split("(")[0].strip() for text in seen]
    assert begun[:2] == ["PRAGMA synchronous = FULL", "BEGIN IMMEDIATE"]
    assert begun.count("COMMIT") == 1
    assert begun.index("PRAGMA synchronous = NORMAL") > begun.index("COMMIT")


@pytest.mark.parametrize("passed", [True, False])
def test_a_version_that_another_signer_signed_has_no_keys_to_compare(tmp_path: Path, passed: bool) -> None:
    """Its secondaries show the DNSKEYs of that signer: they would be foreign in any restore of it."""
    (tmp_path / "state" / "zones").mkdir(parents=True)
    path = unpacked(tmp_path, 5)
    with closing(ZoneDatabase(path, text_to_wire(Z))) as db, db.write() as transaction:
        policy = state.PASSED if passed else ""
        transaction.set_state(state.VERSION, {**(transaction.old.version or {}), "policy": policy})
        transaction.commit_state()
    serial, keyset = stored(path)
    assert serial == 5
    assert (keyset is None) is passed
    keys = frozenset(key.rdata for key in in_place().keys)
    decision = decide(Z, Stored(serial, keyset), Stored(), [LiveServer("ns1", 5, keys, "")], Options())
    assert [refusal.code for refusal in decision.refusals] == ([] if passed else ["foreign-dnskey"])


@pytest.mark.parametrize("held", [True, False])
def test_evidence_is_forgotten_and_waits_begin_again(config: Config, tmp_path: Path, held: bool) -> None:
    path = unpacked(tmp_path, 5)
    restored = state.Restored(at=NOW, who="root", source="b.tar", floor=9, standby=True)
    prepare(path, in_place(), restored if held else None, NOTE)
    with closing(ZoneDatabase(path, text_to_wire(Z))) as db:
        assert db.evidence() == []
        with db.snapshot() as snapshot:
            keyset = state.keyset_from(snapshot.state(state.KEYSET))
            found = state.restored_from(snapshot.state(state.RESTORED))
            assert snapshot.history()[0]["what"] == "restored"
    assert keyset is not None
    assert keyset.trust_after == NOW
    assert found == (restored if held else None)


def test_an_older_schema_in_the_back_up_is_upgraded(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dnssecd.store import schema

    path = unpacked(tmp_path, 5)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE second (a);"))
    put(config, path)
    with closing(sqlite3.connect(database_path(config, Z))) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(schema.MIGRATIONS),)
    assert list(path.parent.glob("*.schema-*")) == []


def test_the_log_of_a_database_that_is_gone_is_not_replayed_into_the_restored_one(
    config: Config, tmp_path: Path
) -> None:
    """As it is left when an operator deletes a damaged database, and restores the zone."""
    target, log = database_path(config, Z), Path(f"{database_path(config, Z)}-wal")
    db = database(tmp_path, Z)
    put_version(db, 7)
    shutil.copy(log, tmp_path / "log")
    db.close()
    target.unlink()
    os.replace(tmp_path / "log", log)
    put(config, unpacked(tmp_path, 5))
    assert stored(target)[0] == 5
    assert not log.exists() or not log.stat().st_size


def test_a_database_whose_notes_stay_in_its_log_is_not_put_in_place(config: Config, tmp_path: Path) -> None:
    """On a full disk the log is not merged: the file alone would be served, without the note that holds the zone."""
    path = unpacked(tmp_path, 5)
    restored = state.Restored(at=NOW, who="root", source="b.tar")
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM state").fetchone()
        with pytest.raises(StoreError, match="write-ahead log"):
            prepare(path, None, restored, NOTE)
    prepare(path, None, restored, NOTE)


def test_the_log_of_a_lost_catalogue_is_not_replayed_into_the_restored_one(
    config: Config, tmp_path: Path
) -> None:
    path, saved = config.server.state_dir / "events.sqlite", tmp_path / "saved"
    for made, name in ((saved, "saved"), (path, "lost")):
        with closing(sqlite3.connect(made)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"CREATE TABLE {name} (a)")
            db.commit()
            if made == path:
                shutil.copy(f"{path}-wal", tmp_path / "log")
    path.unlink()
    os.replace(tmp_path / "log", f"{path}-wal")
    with closing(Catalogue(config.server.state_dir / "catalogue.sqlite")) as catalogue:
        Placer(config, catalogue, NOW).put_common("events.sqlite", saved)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT name FROM sqlite_schema").fetchall() == [("saved",)]
