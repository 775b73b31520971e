"""A zone's history: versions are its clients' doing and are kept up to a bound, acts stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.store import history
from dnssecd.store.zonedb import ZoneDatabase


def entries(database: ZoneDatabase) -> list[tuple[str, int]]:
    with database.snapshot() as snapshot:
        return [(entry["what"], entry["serial"]) for entry in snapshot.history(10_000)]


def publish(database: ZoneDatabase, first: int, last: int) -> None:
    with database.write() as transaction:
        for serial in range(first, last + 1):
            transaction.add_history(serial, "dnssecd", history.PUBLISHED, serial, "")
        transaction.commit_state()


def test_of_published_versions_the_newest_are_kept_and_of_acts_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "PUBLISHED_KEPT", 300)
    database = ZoneDatabase(tmp_path / "zone.sqlite", text_to_wire("zone.example."))
    with database.write() as transaction:
        transaction.add_history(1, "root", "zone restored", 1, "")
        transaction.commit_state()
    publish(database, 2, 1_000)
    found = entries(database)
    assert found[-1] == ("zone restored", 1)
    assert [serial for _, serial in found[:-1]] == list(range(1_000, 700, -1))
    database.close()


def test_an_old_long_history_shrinks_in_portions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = ZoneDatabase(tmp_path / "zone.sqlite", text_to_wire("zone.example."))
    publish(database, 1, 2_999)
    monkeypatch.setattr(history, "PUBLISHED_KEPT", 100)
    monkeypatch.setattr(history, "PRUNED_MAX", 500)
    publish(database, 3_000, 3_000)
    assert len(entries(database)) == 2_500
    publish(database, 3_001, 4_000)
    assert len(entries(database)) == 100
    database.close()
