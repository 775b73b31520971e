"""A served zone whose database cannot be opened is reported until it can: its clients get SERVFAIL."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.daemon.zones.databases import Databases
from dnssecd.daemon.zones.machine import State
from dnssecd.daemon.zones.unreadable import SUBJECT, UnreadableZones
from dnssecd.store.errors import StoreError


class Events:
    """What fires, by zone and subject."""

    def __init__(self) -> None:
        self.firing: dict[tuple[str, str], str] = {}

    def raise_event(self, name: str, zone: str, cause: str, *, subject: str, **_: str) -> None:
        assert name == "store-failed"
        self.firing[zone, subject] = cause

    def resolve(self, name: str, zone: str, subject: str) -> None:
        del self.firing[zone, subject]


class Zone:
    """As much of a zone as is needed."""

    def __init__(self, databases: Databases[Any], path: Path) -> None:
        self.name, self.state, self.gone = "a.example.", State.SERVED, False
        self._databases, self._path = databases, path

    @property
    def database(self) -> Any:
        return self._databases.get(self, self._path, text_to_wire(self.name), lambda: None)


async def test_it_fires_until_the_database_can_be_opened(tmp_path: Path) -> None:
    databases, events = Databases[Any](), Events()
    zone = Zone(databases, tmp_path / "a.sqlite")
    unreadable = UnreadableZones(databases, cast(Any, events))
    await unreadable.round()
    assert events.firing == {}, "one that was not needed is not looked at"
    zone._path.write_bytes(b"x" * 4096)
    with pytest.raises(StoreError, match="not a database"):
        _ = zone.database
    await unreadable.round()
    assert "not a database" in events.firing[zone.name, SUBJECT]
    zone._path.unlink()
    await unreadable.round()
    assert events.firing == {}
    databases.close()


async def test_zones_that_are_not_served_have_events_of_their_own(tmp_path: Path) -> None:
    databases, events = Databases[Any](), Events()
    zone = Zone(databases, tmp_path / "a.sqlite")
    zone._path.write_bytes(b"x" * 4096)
    zone.state = State.WAITING
    with pytest.raises(StoreError):
        _ = zone.database
    unreadable = UnreadableZones(databases, cast(Any, events))
    await unreadable.round()
    assert events.firing == {}
    zone.state = State.SERVED
    await unreadable.round()
    assert list(events.firing) == [(zone.name, SUBJECT)]
    databases.retire(zone)
    await unreadable.round()
    assert databases.faults() == {}
    databases.close()
