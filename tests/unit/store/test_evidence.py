"""Evidence: rows of a zone's database, in a commit of their own or in that of what was decided by them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.store.zonedb import ZoneDatabase

ROWS = [("secondary", "ns1", {"serial": 7}, 100), ("secondary", "ns2", {"serial": 6}, 90)]


@pytest.fixture
def statements() -> list[str]:
    """The first words of the statements of the writing connection."""
    return []


@pytest.fixture
def database(tmp_path: Path, statements: list[str]) -> Iterator[ZoneDatabase]:
    with closing(ZoneDatabase(tmp_path / "z", text_to_wire("example."))) as made:
        made._writer.set_trace_callback(lambda text: statements.append(text.split()[0]))
        yield made


def test_several_rows_are_one_commit(database: ZoneDatabase, statements: list[str]) -> None:
    database.set_evidence(ROWS)
    assert statements == ["BEGIN", "INSERT", "INSERT", "COMMIT"]
    assert database.evidence() == ROWS
    database.set_evidence([("secondary", "ns1", {"serial": 8}, 200)])
    assert database.evidence() == [("secondary", "ns1", {"serial": 8}, 200), ROWS[1]]


def test_no_row_is_written_if_one_cannot_be(database: ZoneDatabase) -> None:
    bad = ("secondary", "ns3", {"serial": {7}}, 100)
    with pytest.raises(TypeError):
        database.set_evidence([*ROWS, bad])
    assert database.evidence() == []
    database.set_evidence(ROWS)
    assert database.evidence() == ROWS


def test_rows_are_committed_with_the_state_of_a_transaction(
    database: ZoneDatabase, statements: list[str]
) -> None:
    with database.write() as transaction:
        transaction.set_state("x", {"a": 1})
        transaction.put_evidence(ROWS)
        transaction.commit_state()
    assert statements.count("COMMIT") == 1
    assert database.evidence() == ROWS


def test_rows_of_a_transaction_that_is_not_committed_are_not_written(database: ZoneDatabase) -> None:
    with database.write() as transaction:
        transaction.put_evidence(ROWS)
    assert database.evidence() == []
