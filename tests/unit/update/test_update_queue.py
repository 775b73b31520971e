"""The queue of updates in the front, and the catalogue it writes to, when something behind them fails."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dnssecd.clock import SystemClock
from dnssecd.core.grants import EVERYTHING
from dnssecd.core.update_types import NOERROR
from dnssecd.front.updates import Updates
from dnssecd.pipeline.outcome import Outcome
from dnssecd.pipeline.updates import Committed
from dnssecd.store.catalogue import Catalogue, CatalogueEntry


async def test_queue_survives_what_follows_a_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure after the commit is the answer to those it concerns; the next ones are taken as ever."""
    failing = [True]

    def committed(zone: Any, outcome: Outcome) -> None:
        if failing.pop():
            raise sqlite3.OperationalError("database or disk is full")

    def work(self: Any, zone: Any, updates: list[Any], told: Any) -> Committed:
        outcome = SimpleNamespace(result="published")
        return Committed([(NOERROR, "")] * len(updates), cast("Outcome", outcome))

    monkeypatch.setattr(Updates, "_work", work)
    lock = asyncio.Lock()
    updates = Updates(SystemClock(), "/nonexistent", lambda name: lock, committed, int, lambda rcode: None)
    monkeypatch.setattr(updates, "_grants_of", lambda zone: SimpleNamespace(of=lambda key: EVERYTHING))
    monkeypatch.setattr("dnssecd.front.updates.parse_update", lambda wire: wire)
    monkeypatch.setattr("dnssecd.front.updates._ttl_max", lambda zone: 1)
    parts = {"config": SimpleNamespace(source="dynamic"), "database": SimpleNamespace(untidy=False)}
    zone = cast("Any", SimpleNamespace(name="z.", frozen=False, serial=1, **parts))
    request = cast("Any", SimpleNamespace(wire=b"", key=None))
    with pytest.raises(sqlite3.OperationalError):
        await updates._handle(zone, request)
    failing.append(False)
    async with asyncio.timeout(5):
        assert await updates._handle(zone, request) == (NOERROR, "")
    await updates.close()


def test_catalogue_keeps_what_it_cannot_write(tmp_path: Path) -> None:
    """With a full disk (a bound on pages stands for it) entries wait, and are written with the next that can be."""
    path = tmp_path / "catalogue.sqlite"
    catalogue = Catalogue(path)
    (pages,) = catalogue._connection.execute("PRAGMA page_count").fetchone()
    catalogue._connection.execute(f"PRAGMA max_page_count = {pages}")
    names = [f"zone{number}." + "x" * 100 for number in range(200)]
    for name in names:
        catalogue.put(CatalogueEntry(name, 1))
    assert len(catalogue.entries()) < len(names)
    catalogue._connection.execute("PRAGMA max_page_count = 1000000")
    catalogue.put(CatalogueEntry("last.", 2))
    catalogue.close()
    again = Catalogue(path)
    assert set(again.entries()) == {*names, "last."}
    again.close()
