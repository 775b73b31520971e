"""Events and log lines on updates: one event a zone and kind, resolved after a quiet day, and no flood of lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from dnssecd.clock import SystemClock
from dnssecd.daemon.zones import update_notes as updatenotes
from dnssecd.daemon.zones.update_notes import UpdateNotes
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore


def a_zone(name: str) -> FrontZone:
    parts: Any = SimpleNamespace(name=name)
    return FrontZone(parts, parts, parts, [], [], parts)


@pytest.fixture
def a() -> FrontZone:
    return a_zone("a.")


@pytest.fixture
def events(tmp_path: Path) -> Iterator[EventCore]:
    core = EventCore(tmp_path / "events.sqlite", SystemClock())
    yield core
    core.close()


async def test_an_event_for_each_zone_and_kind(events: EventCore, a: FrontZone) -> None:
    b = a_zone("b.")
    counted: list[str] = []
    notes = UpdateNotes({a.name: a}, events, counted.append, lambda: 0.0)
    notes.refused(a, "127.0.0.1", "101 SRV records")
    notes.ignored(a, "127.0.0.1", ["x not added", "y hidden", "z hidden", "more", "more yet"])
    notes.ignored(b, "127.0.0.1", ["x not added"])
    firing = {(event.name, event.zone): event.cause for event in events.firing()}
    assert firing == {
        ("update-refused", "a."): "an update from 127.0.0.1 was refused: 101 SRV records",
        ("update-ignored", "a."): "in an update from 127.0.0.1: x not added; y hidden; z hidden (and 2 more)",
        ("update-ignored", "b."): "in an update from 127.0.0.1: x not added",
    }
    assert counted == ["update-refused", "update-ignored", "update-ignored"]
    notes.close()


async def test_a_flood_is_counted_and_logs_little(events: EventCore, a: FrontZone) -> None:
    now = [0.0]
    notes = UpdateNotes({a.name: a}, events, lambda name: None, lambda: now[0])
    with structlog.testing.capture_logs() as lines:
        for number in range(1000):
            notes.refused(a, "127.0.0.1", f"reason {number}")
            notes.refused(a, "127.0.0.1", "the same")
    assert len([line for line in lines if line["event"] == "update refused"]) == updatenotes.LINES_MAX
    assert [event.count for event in events.firing()] == [1]
    now[0] = 61.0
    with structlog.testing.capture_logs() as lines:
        notes.refused(a, "127.0.0.1", "again")
    assert [line["cause"] for line in lines if line["event"] == "update refused"]
    assert [event.count for event in events.firing()] == [2]
    notes.close()


async def test_events_resolve_after_a_quiet_time_and_those_from_before_too(
    events: EventCore, a: FrontZone, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    before = UpdateNotes({a.name: a}, events, lambda name: None, lambda: now[0])
    before.refused(a, "127.0.0.1", "x")
    before.close()
    notes = UpdateNotes({a.name: a}, events, lambda name: None, lambda: now[0])
    notes.start()
    now[0] = updatenotes.QUIET_S - 1
    notes._look(a, "update-refused")
    assert events.firing(), "a second too early"
    notes.refused(a, "127.0.0.1", "x")
    now[0] = updatenotes.QUIET_S + 1
    notes._look(a, "update-refused")
    assert events.firing(), "it happened again in between"
    now[0] = 2 * updatenotes.QUIET_S
    notes._look(a, "update-refused")
    assert not events.firing()
    notes.close()
