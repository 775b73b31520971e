"""A zone's database says whose it is; under another zone's name it is refused."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.store import schema, sqlite
from dnssecd.store.errors import StoreError, WrongZone
from dnssecd.store.zonedb import ZoneDatabase

A, B = text_to_wire("a.example."), text_to_wire("b.example.")


def of_schema_1(path: Path, signer: bytes | None) -> None:
    """A database from before there were origins, with one RRSIG of ``signer``."""
    with closing(sqlite.open_database(path, schema.MIGRATIONS[:1], schema.APPLICATION_ID)) as db:
        if signer is not None:
            rdata = bytes(18) + signer + bytes(64)
            packed = len(rdata).to_bytes(2, "big") + rdata
            db.execute("INSERT INTO rrsig VALUES (x'', 6, 300, ?, 1)", (packed,))


def change(path: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(sql, values)


def test_the_origin_is_stored_and_checked_at_each_opening(tmp_path: Path) -> None:
    path = tmp_path / "zone.sqlite"
    ZoneDatabase(path, A).close()
    with pytest.raises(WrongZone, match=r"is the database of a\.example\., not of b\.example\..*exchanged"):
        ZoneDatabase(path, B)
    ZoneDatabase(path, A).close()


def test_two_databases_of_one_zone_can_be_told_apart(tmp_path: Path) -> None:
    ids = []
    for name in ("one", "two", "one"):
        with closing(ZoneDatabase(tmp_path / name, A)) as db:
            ids.append(db.instance)
    assert ids[0] == ids[2] != ids[1]
    assert len(ids[0]) == 32


def test_an_older_database_takes_the_zone_of_its_signatures(tmp_path: Path) -> None:
    for name, signer in (("signed", A), ("unsigned", None)):
        path = tmp_path / name
        of_schema_1(path, signer)
        if signer is not None:
            with pytest.raises(WrongZone, match=r"of a\.example\., not of b\.example\."):
                ZoneDatabase(path, B)
        with closing(ZoneDatabase(path, A)) as db:
            assert db.instance
        with pytest.raises(WrongZone):
            ZoneDatabase(path, B)


@pytest.mark.parametrize("value", ["text", b"\x05a", b"", 7])
def test_a_damaged_origin_is_an_error_of_the_store(tmp_path: Path, value: object) -> None:
    path = tmp_path / "zone.sqlite"
    ZoneDatabase(path, A).close()
    change(path, "UPDATE meta SET value = ? WHERE name = 'origin'", value)
    with pytest.raises(WrongZone, match=r"not of a\.example\."):
        ZoneDatabase(path, A)


def test_a_lost_instance_id_is_an_error_of_the_store(tmp_path: Path) -> None:
    path = tmp_path / "zone.sqlite"
    ZoneDatabase(path, A).close()
    change(path, "DELETE FROM meta WHERE name = 'instance'")
    with pytest.raises(StoreError, match="no instance id"):
        ZoneDatabase(path, A)


def test_a_lost_origin_is_taken_from_the_signatures(tmp_path: Path) -> None:
    path = tmp_path / "zone.sqlite"
    ZoneDatabase(path, A).close()
    change(path, "DELETE FROM meta WHERE name = 'origin'")
    change(
        path, "INSERT INTO rrsig VALUES (x'', 6, 300, ?, 1)", b"\x00\x40" + bytes(18) + A + bytes(46 - len(A))
    )
    with pytest.raises(WrongZone):
        ZoneDatabase(path, B)
    ZoneDatabase(path, A).close()
