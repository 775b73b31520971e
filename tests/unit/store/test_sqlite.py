"""The one opener of SQLite files: errors leave the store as its own, with file and cause, wherever SQLite fails."""

from __future__ import annotations

import ast
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

import dnssecd
from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.zone.changeset import Change
from dnssecd.store import sqlite
from dnssecd.store.catalogue import Catalogue, CatalogueEntry, read_catalogue
from dnssecd.store.errors import DatabaseDamaged, DatabaseFailed
from dnssecd.store.event_log import EventStore
from dnssecd.store.operator_log import Act, ActLog
from dnssecd.store.zonedb import ZoneDatabase

ORIGIN = text_to_wire("example.com.")
#: A statement, not a sentence that has such a word in it.
SQL = re.compile(
    r"\b(SELECT\b.*\bFROM|INSERT (OR \w+ )?INTO|DELETE FROM|UPDATE \w+ SET|CREATE TABLE|BEGIN IMMEDIATE|PRAGMA )",
    re.DOTALL,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.sqlite"


def filled(path: Path, names: int = 20_000) -> None:
    changes = [
        Change(b"%05d" % number, 16, None, RRset(b"%05d" % number, 16, 300, b"\0\3\2ab"))
        for number in range(names)
    ]
    with closing(ZoneDatabase(path, ORIGIN)) as db, db.write() as transaction:
        transaction.apply_content(changes)
        transaction.set_state("version", {"serial": 1})
        transaction.commit_if(transaction.generation)


def spoil_a_page(path: Path) -> None:
    """Damage a page of content, so that the file opens well and fails while it is read."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 4096 * 2 // 3 * 4096)
        file.write(b"\xff" * 4096)


def test_damage_met_in_the_middle_of_a_walk_is_the_stores_error(path: Path) -> None:
    filled(path)
    spoil_a_page(path)
    seen: list[RRset] = []
    with closing(ZoneDatabase(path, ORIGIN)) as db:

        def walk() -> None:
            with db.snapshot() as snapshot:
                seen.extend(snapshot.scan())

        def walk_in_a_write() -> None:
            with db.write() as transaction:
                list(transaction.scan())

        for read in (walk, walk_in_a_write):
            with pytest.raises(DatabaseDamaged, match=rf"^{re.escape(str(path))}: .*malformed"):
                read()
    assert 0 < len(seen) < 20_000


class Full(sqlite3.Connection):
    """A disk that is full when the next version is committed."""

    def execute(self, sql: str, parameters: object = (), /) -> sqlite3.Cursor:
        if sql == "COMMIT" and self.in_transaction and full:
            raise sqlite3.OperationalError("database or disk is full")
        return super().execute(sql, parameters)  # type: ignore[arg-type]


full: list[bool] = []


@pytest.fixture
def disk_full() -> Iterator[Callable[[], None]]:
    yield lambda: full.append(True)
    full.clear()


def commit(db: ZoneDatabase) -> None:
    with db.write() as transaction:
        transaction.set_state("version", {"serial": 1})
        transaction.commit_state()


def test_a_full_disk_is_no_damage(path: Path, disk_full: Callable[[], None]) -> None:
    with closing(ZoneDatabase(path, ORIGIN, factory=Full)) as db:
        disk_full()
        with pytest.raises(
            DatabaseFailed, match=f"^{re.escape(str(path))}: database or disk is full$"
        ) as caught:
            commit(db)
        assert not isinstance(caught.value, DatabaseDamaged)
        full.clear()
        with db.snapshot() as snapshot:
            assert snapshot.version is None, "rolled back"


@pytest.mark.parametrize(
    "use",
    [
        lambda path: ZoneDatabase(path, ORIGIN),
        Catalogue,
        read_catalogue,
        ActLog,
    ],
    ids=["zone", "catalogue", "catalogue read", "acts"],
)
def test_a_file_that_is_no_database_is_damage(path: Path, use: Callable[[Path], object]) -> None:
    path.write_bytes(b"this is no database, and long enough to be looked at" * 100)
    with pytest.raises(DatabaseDamaged, match=f"^{re.escape(str(path))}: file is not a database"):
        use(path)


@pytest.mark.parametrize(
    ("use", "table"),
    [
        (lambda log: log.record(Act(1, "root", 0, "x", ""), [("a.", 1)]), "act"),
        (lambda log: log.of_zone("a.", 1), "act"),
    ],
)
def test_every_method_of_a_log_translates(path: Path, use: Callable[[ActLog], object], table: str) -> None:
    with closing(ActLog(path)) as log:
        with closing(sqlite3.connect(path)) as other:
            other.execute(f"DROP TABLE {table}")
        with pytest.raises(DatabaseFailed, match="no such table"):
            use(log)


def test_a_catalogue_that_cannot_be_read_says_which_file(path: Path) -> None:
    with closing(Catalogue(path)) as known:
        known.put(CatalogueEntry("a.", 1))
    with closing(sqlite3.connect(path)) as other:
        other.execute("DROP TABLE serving")
    with pytest.raises(DatabaseFailed, match=f"^{re.escape(str(path))}: no such table: serving"):
        read_catalogue(path)


def test_a_symbolic_link_is_no_place_for_events(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        EventStore(tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()


def test_what_a_failed_block_wrote_is_rolled_back(path: Path) -> None:
    with closing(sqlite.open_database(path, ("CREATE TABLE a (b);",), 0)) as db:

        def fail() -> None:
            with sqlite.transaction(db):
                db.execute("INSERT INTO a VALUES (1)")
                raise ValueError("stop")

        with pytest.raises(ValueError, match="stop"):
            fail()
        assert db.execute("SELECT count(*) FROM a").fetchone() == (0,)
        with sqlite.transaction(db):
            db.execute("INSERT INTO a VALUES (1)")
        assert db.execute("SELECT count(*) FROM a").fetchone() == (1,)


def test_no_sql_is_written_outside_the_store() -> None:
    root = Path(dnssecd.__file__).parent
    found = [
        f"{file.relative_to(root)}:{node.lineno}"
        for file in root.rglob("*.py")
        if file.relative_to(root).parts[0] not in ("store", "migration", "cluster")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.search(node.value)
    ]
    assert found == []
    assert SQL.search((root / "store" / "view.py").read_text())
