"""Schemas of our databases: an older one is brought up to date as a whole, with a copy; a newer one is left alone."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.store import catalogue, schema, sqlite
from dnssecd.store import operator_log as acts
from dnssecd.store.catalogue import Catalogue
from dnssecd.store.errors import DatabaseFailed, SchemaTooNew, StoreError
from dnssecd.store.operator_log import ActLog
from dnssecd.store.zonedb import ZoneDatabase

NOW = len(schema.MIGRATIONS)
ORIGIN = text_to_wire("example.com.")
SECOND = """
CREATE TABLE extra (name TEXT NOT NULL PRIMARY KEY, value TEXT DEFAULT 'a;b') WITHOUT ROWID;
INSERT INTO extra (name) SELECT what FROM history;
"""


def older(path: Path) -> None:
    """A zone database of today's schema with one entry."""
    with closing(ZoneDatabase(path, ORIGIN)) as db, db.write() as transaction:
        transaction.add_history(1, "root", "noted", None, "")
        transaction.commit_state()


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


def version(path: Path) -> object:
    return rows(path, "PRAGMA user_version")[0][0]


def test_an_older_schema_is_upgraded_with_a_copy_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "zone.sqlite"
    older(path)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, SECOND, "CREATE TABLE third (a);"))
    with closing(ZoneDatabase(path, ORIGIN)) as db, db.snapshot() as snapshot:
        assert snapshot.history()[0]["what"] == "noted"
    assert version(path) == NOW + 2
    assert rows(path, "SELECT * FROM extra") == [("noted", "a;b")]
    copy = sqlite.copy_name(path, NOW)
    assert version(copy) == NOW
    assert rows(copy, "SELECT what FROM history") == [("noted",)]
    assert os.stat(copy).st_mode & 0o777 == 0o600
    assert sorted(p.name for p in tmp_path.glob("*tmp*")) == []


def test_the_copy_is_what_a_downgrade_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "zone.sqlite"
    older(path)
    known = schema.MIGRATIONS
    monkeypatch.setattr(schema, "MIGRATIONS", (*known, SECOND))
    ZoneDatabase(path, ORIGIN).close()
    monkeypatch.setattr(schema, "MIGRATIONS", known)
    with pytest.raises(
        SchemaTooNew,
        match=rf"schema {NOW + 1}, this dnssecd supports {NOW}: run the newer dnssecd, or restore",
    ):
        ZoneDatabase(path, ORIGIN)
    os.replace(sqlite.copy_name(path, NOW), path)
    with closing(ZoneDatabase(path, ORIGIN)) as db, db.snapshot() as snapshot:
        assert snapshot.history()[0]["what"] == "noted"


def test_an_upgrade_that_fails_half_way_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "zone.sqlite"
    older(path)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, SECOND, "CREATE TABLE history (a);"))
    with pytest.raises(DatabaseFailed, match="already exists"):
        ZoneDatabase(path, ORIGIN)
    assert version(path) == NOW
    assert rows(path, "SELECT count(*) FROM sqlite_schema WHERE name = 'extra'") == [(0,)]
    monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[: NOW + 1])
    ZoneDatabase(path, ORIGIN).close()
    assert version(path) == NOW + 1


def test_two_that_open_it_at_once_upgrade_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "zone.sqlite"
    older(path)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, SECOND))
    opened: list[ZoneDatabase] = []
    threads = [threading.Thread(target=lambda: opened.append(ZoneDatabase(path, ORIGIN))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(opened) == 4
    for db in opened:
        db.close()
    assert rows(path, "SELECT * FROM extra") == [("noted", "a;b")]


@pytest.mark.parametrize(
    ("make", "known"),
    [
        (lambda path: ZoneDatabase(path, ORIGIN), schema.MIGRATIONS),
        (Catalogue, catalogue.MIGRATIONS),
        (ActLog, acts.MIGRATIONS),
    ],
    ids=["zone", "catalogue", "acts"],
)
def test_a_newer_schema_is_refused_untouched(
    tmp_path: Path, make: type[Catalogue], known: tuple[str, ...]
) -> None:
    path = tmp_path / "db.sqlite"
    make(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {len(known) + 1}")
        db.execute("PRAGMA journal_mode = DELETE")
    before = sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns
    with pytest.raises(SchemaTooNew, match=f"has schema {len(known) + 1}, .* the file was not changed"):
        make(path)
    assert (sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns) == before
    assert [p.name for p in tmp_path.iterdir()] == ["db.sqlite"]


def test_another_kind_of_database_is_not_taken_for_ours(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite"
    Catalogue(path).close()
    with pytest.raises(StoreError, match="not a dnssecd database of the kind expected"):
        ZoneDatabase(path, ORIGIN)
