"""Export and rejoin: what holds them up, and that nothing is changed then."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dnssecd.backup import leave
from dnssecd.backup.leave import CannotLeave
from dnssecd.daemon.zones.specs import database_path
from dnssecd.store.backup_copy import HistoryEntry
from dnssecd.store.catalogue import Catalogue
from dnssecd.store.leaving import change_place, read_standing
from dnssecd.store.version_log import Position
from dnssecd.store.zonedb import ZoneDatabase

ZONE, GONE = "z.test.", "gone.test."
NOW = 1_700_000_000


class Log:
    """A log with two zones, of which one is in the configuration of a node."""

    def __init__(self) -> None:
        self.named, self.given = frozenset({ZONE}), list[str]()

    def heads(self) -> Mapping[str, Position]:
        return {ZONE: Position(7, 2), GONE: Position(3, 1)}

    def exported(self) -> frozenset[str]:
        return frozenset()

    def configured(self, zones: Collection[str]) -> frozenset[str]:
        return frozenset(zones) & self.named

    def fits(self, zone: str, at: Position) -> bool:
        return at.sequence == 7

    def export(self, zone: str, sequence: int) -> str:
        self.given.append(zone)
        return ""


@pytest.fixture
def config(tmp_path: Path) -> Any:
    """A node whose database of the zone has record 7."""
    (tmp_path / "zones").mkdir()
    Catalogue(tmp_path / "catalogue.sqlite").close()
    config = SimpleNamespace(server=SimpleNamespace(state_dir=tmp_path), zones={ZONE: None})
    path = database_path(cast(Any, config), ZONE)
    with closing(ZoneDatabase(path, b"\x01z\x04test\x00")):
        pass
    change_place(path, Position(7, 2, "d"), {}, HistoryEntry(NOW, "root", "made", None, ""))
    return config


def test_a_zone_that_no_node_has_any_more_does_not_hold_up_an_export(config: Any) -> None:
    log = Log()
    assert [moved.zone for moved in leave.export(config, log, NOW, "root")] == [ZONE]
    assert log.given == [ZONE]


def test_a_zone_of_another_node_does(config: Any) -> None:
    log = Log()
    log.named = frozenset({ZONE, GONE})
    with pytest.raises(CannotLeave, match=f"lacks records of {GONE}"):
        leave.export(config, log, NOW, "root")
    assert log.given == []


@pytest.mark.parametrize("left", [leave.DETACHED, leave.EXPORTED])
def test_a_host_that_continued_alone_does_not_go_back_to_an_older_log(config: Any, left: str) -> None:
    path = database_path(config, ZONE)
    change_place(path, None, {}, HistoryEntry(NOW, "root", left, 12, ""))
    with pytest.raises(CannotLeave, match=left) as caught:
        leave.rejoin(config, Log(), NOW, "root")
    assert "an empty database" in caught.value.remedy
    assert path.exists(), "the only copy of its versions stays where it is served from"


def test_a_database_of_another_log_is_moved_away(config: Any) -> None:
    path = database_path(config, ZONE)
    change_place(path, Position(5, 2, "other"), {}, HistoryEntry(NOW, "root", "made", None, ""))
    assert [moved.what for moved in leave.rejoin(config, Log(), NOW, "root")] == [
        "it is taken from the log; the database was moved away"
    ]
    assert not path.exists()


def test_detach_is_noted_in_the_history(config: Any) -> None:
    leave.detach(config, NOW, "root")
    path = database_path(config, ZONE)
    assert read_standing(path)[0].sequence == 0
    with pytest.raises(CannotLeave, match=leave.DETACHED):
        leave.rejoin(config, Log(), NOW, "root")
