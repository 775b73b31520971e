"""A stored zone that was changed in any one place is known as changed, and is served only as what it was."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dnssecd.core.dns.rrset import pack
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.jobs.prove import prove
from dnssecd.store import filemark
from dnssecd.store.errors import StoreError
from dnssecd.store.filemark import FileMark, Standing
from dnssecd.store.zonedb import ZoneDatabase
from tests.pipeline_zone import ZONE, PipelineZone

WWW = b"www\x00"
FLIPS = 60


@pytest.fixture(scope="module", params=["nsec", "nsec3"])
def original(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, signer: str
) -> Iterator[PipelineZone]:
    """A zone at its second version, at rest."""
    made = PipelineZone(tmp_path_factory.mktemp("zone"), signer, denial=request.param)
    assert made.load(ZONE).result == "published"
    assert made.load(ZONE.replace("192.0.2.2", "192.0.2.22")).result == "published"
    made.db.close()
    yield made
    made.signer.close()


class Stored:
    """A copy of the zone's database, marked as it was left."""

    def __init__(self, zone: PipelineZone, home: Path) -> None:
        self.zone, self.path = zone, home / "zone.sqlite"
        shutil.copy(zone.spec.database, self.path)
        mark = filemark.take(str(self.path))
        assert mark is not None
        self.mark: FileMark = mark

    def standing(self) -> Standing:
        found = filemark.take(str(self.path))
        assert found is not None
        return filemark.compare(self.mark, found)[0]

    def prove(self, known_serial: int | None = 2) -> Outcome | None:
        """What the job says; None where the database cannot be opened at all."""
        try:
            db = ZoneDatabase(self.path, self.zone.spec.origin)
        except (StoreError, sqlite3.Error):
            return None
        with closing(db):
            return prove(db, self.zone.spec, self.zone.tools(), known_serial)

    def content(self) -> list[tuple[object, ...]]:
        """All that is served: each table of the zone, in order."""
        with closing(sqlite3.connect(self.path)) as db:
            return [
                (table, *row)
                for table in ("rrset", "denial", "rrsig")
                for row in db.execute(f"SELECT * FROM {table} ORDER BY 1, 2")
            ]


@pytest.fixture
def stored(original: PipelineZone, tmp_path: Path) -> Stored:
    return Stored(original, tmp_path)


def sql(statement: str, *values: object) -> Callable[[sqlite3.Connection], object]:
    return lambda db: db.execute(statement, values)


def flipped(table: str, column: str, where: str) -> Callable[[sqlite3.Connection], object]:
    """Flip the last bit of one column."""

    def change(db: sqlite3.Connection) -> None:
        (value,) = db.execute(f"SELECT {column} FROM {table} WHERE {where}").fetchone()
        wrong = bytes([*value[:-1], value[-1] ^ 1])
        db.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (wrong,))

    return change


def replaced(name: str, old: str, new: str) -> Callable[[sqlite3.Connection], object]:
    def change(db: sqlite3.Connection) -> None:
        (text,) = db.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
        assert old in text
        db.execute("UPDATE state SET value = ? WHERE name = ?", (text.replace(old, new, 1), name))

    return change


REFUSED = {
    "an address": sql(
        "UPDATE rrset SET rdata = ? WHERE owner = ? AND rtype = 1", pack([b"\x06\x06\x06\x06"]), WWW
    ),
    "a TTL": sql("UPDATE rrset SET ttl = 301 WHERE owner = ?", WWW),
    "an RRset more": sql("INSERT INTO rrset VALUES (?, 16, 300, ?)", WWW, pack([b"\x01x"])),
    "an RRset less": sql("DELETE FROM rrset WHERE owner = ?", WWW),
    "an RDATA cut": sql("UPDATE rrset SET rdata = x'00' WHERE owner = ?", WWW),
    "no RDATA": sql("UPDATE rrset SET rdata = x'' WHERE owner = ?", WWW),
    "text for RDATA": sql("UPDATE rrset SET rdata = 'x' WHERE owner = ?", WWW),
    "an owner of bad form": sql("UPDATE rrset SET owner = x'ff' WHERE owner = ?", WWW),
    "the SOA gone": sql("DELETE FROM rrset WHERE owner = x'' AND rtype = 6"),
    "the DNSKEY RRset gone": sql("DELETE FROM rrset WHERE owner = x'' AND rtype = 48"),
    "a key of the DNSKEY RRset": flipped("rrset", "rdata", "owner = x'' AND rtype = 48"),
    "a link of the chain": flipped("denial", "rdata", "owner = (SELECT max(owner) FROM denial)"),
    "a link less": sql("DELETE FROM denial WHERE owner = (SELECT max(owner) FROM denial)"),
    "no chain": sql("DELETE FROM denial"),
    "a signature": flipped("rrsig", "rdata", "owner = x'77777700' AND covered = 1"),
    "a signature less": sql("DELETE FROM rrsig WHERE owner = ? AND covered = 1", WWW),
    "no signatures": sql("DELETE FROM rrsig"),
    "the date of a signature": sql("UPDATE rrsig SET expiration = expiration + 86400 WHERE owner = ?", WWW),
    "the serial": replaced("version", '"serial": 2', '"serial": 3'),
    "when it was published": replaced("version", '"published_at": 1', '"published_at": '),
    "a version that is none": sql("UPDATE state SET value = '{' WHERE name = 'version'"),
    "no version": sql("DELETE FROM state WHERE name = 'version'"),
    "a key set that is none": sql("UPDATE state SET value = '[]' WHERE name = 'keyset'"),
    "a state that is none": replaced("keyset", '"rumoured"', '"rumourex"'),
    "no key set": sql("DELETE FROM state WHERE name = 'keyset'"),
    "another zone's origin": sql("UPDATE meta SET value = ? WHERE name = 'origin'", b"\x05other\x00"),
    "no table of signatures": sql("DROP TABLE rrsig"),
}

#: What no signature covers: it is known as changed (and alerted), and no difference sequence of it is served.
KNOWN = {
    "an address of glue": sql(
        "UPDATE rrset SET rdata = ? WHERE owner = ?", pack([b"\x06\x06\x06\x06"]), b"sub\x00ns\x00"
    ),
    "a difference sequence": sql("UPDATE journal_chunk SET rrs = x'00' WHERE part = 0"),
    "a difference sequence's serial": sql("UPDATE journal SET to_serial = 7"),
    "a note of history": sql("UPDATE history SET who = 'x'"),
    "a table more": sql("CREATE TABLE more (a)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_was_changed_is_not_served(stored: Stored, name: str) -> None:
    with closing(sqlite3.connect(stored.path)) as db, db:
        REFUSED[name](db)
    assert stored.standing() is Standing.CHANGED
    outcome = stored.prove()
    if outcome is not None:
        assert outcome.result == "failed", outcome
        assert outcome.problems[0].event in ("verification-failed", "store-failed")
        assert not outcome.whole


@pytest.mark.parametrize("name", KNOWN)
def test_what_no_signature_covers_is_known_as_changed(stored: Stored, name: str) -> None:
    with closing(sqlite3.connect(stored.path)) as db, db:
        KNOWN[name](db)
    assert stored.standing() is Standing.CHANGED
    outcome = stored.prove()
    assert outcome is not None
    assert outcome.result == "unchanged"
    assert outcome.whole
    with closing(sqlite3.connect(stored.path)) as db:
        assert db.execute("SELECT count(*) FROM journal").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM journal_chunk").fetchone() == (0,)


def test_what_was_not_changed_is_proven_at_any_later_time(stored: Stored) -> None:
    """Signatures that expired while the daemon was down are no damage: they are renewed when it is served again."""
    assert stored.standing() is Standing.SAME
    before = stored.content()
    stored.zone.now += 400 * 86_400
    try:
        outcome = stored.prove()
    finally:
        stored.zone.now -= 400 * 86_400
    assert outcome is not None
    assert (outcome.result, outcome.whole, outcome.serial) == ("unchanged", True, 2)
    assert stored.content() == before


def test_an_older_copy_is_marked_to_come_back_above_what_was_published(stored: Stored) -> None:
    outcome = stored.prove(known_serial=9)
    assert outcome is not None
    assert outcome.result == "unchanged"
    with closing(sqlite3.connect(stored.path)) as db:
        (text,) = db.execute("SELECT value FROM state WHERE name = 'restored'").fetchone()
    assert '"floor": 9' in text


def test_an_empty_file_in_place_of_a_published_zone_is_damage(stored: Stored) -> None:
    stored.path.write_bytes(b"")
    assert stored.standing() is Standing.CHANGED
    outcome = stored.prove()
    assert outcome is not None
    assert outcome.problems[0].event == "store-failed"
    assert "it has no version, but serial 2 was published" in outcome.problems[0].cause


def test_a_cut_file_is_damage(stored: Stored) -> None:
    os.truncate(stored.path, stored.path.stat().st_size // 2 // 4096 * 4096)
    assert stored.standing() is Standing.CHANGED
    outcome = stored.prove()
    assert outcome is None or outcome.result == "failed"


def test_a_bit_anywhere_is_refused_or_does_no_harm(original: PipelineZone, tmp_path: Path) -> None:
    pristine = Stored(original, tmp_path)
    octets, served = bytearray(pristine.path.read_bytes()), pristine.content()
    seeded = random.Random(12)
    refused = 0
    for _ in range(FLIPS):
        bit = seeded.randrange(len(octets) * 8)
        octets[bit // 8] ^= 1 << bit % 8
        pristine.path.write_bytes(octets)
        assert pristine.standing() is Standing.CHANGED
        outcome = pristine.prove()
        if outcome is None or outcome.result == "failed":
            refused += 1
        else:
            same = [row for row in pristine.content() if row not in served]
            assert all(_uncovered(row) for row in same), (bit, same)
        octets[bit // 8] ^= 1 << bit % 8
        for side in ("-wal", "-shm"):
            Path(f"{pristine.path}{side}").unlink(missing_ok=True)
    assert refused > FLIPS // 10


def _uncovered(row: tuple[object, ...]) -> bool:
    """Glue and delegations have no signatures."""
    return row[0] == "rrset" and isinstance(row[1], bytes) and row[1].startswith((b"sub\x00", b"secure\x00"))
