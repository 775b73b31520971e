"""The newest backup is found, checked once and each night, and judged by its age."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dnssecd.clock import FakeClock
from dnssecd.config.load import parse
from dnssecd.config.model import Config
from dnssecd.daemon import backup_watch
from dnssecd.daemon.backup_report import CheckReport, Refused
from dnssecd.daemon.backup_watch import BackupWatch, find_newest
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import Metrics
from dnssecd.replacing import replace
from tests.unit.daemon_rollover.rig import FakeSchedule

NOW = 1_790_000_000
DAY = 86_400
TEXT = """
[server]
state_dir = "state"
[keystore.local]
type = "software"
[policy.default]
keystore = "local"
[zone."z.test."]
source = "dynamic"
parent = "none"
[backup]
directory = "backups"
max_age = "2d"
check_at = "03:30"
"""


class Rig:
    """A watch whose checks are answered by ``report``; ``asked``: the files it had checked."""

    def __init__(self, home: Path) -> None:
        (home / "backups").mkdir()
        self.config: Config = parse(TEXT, home / "config.toml")
        self.clock = FakeClock(NOW)
        self.events = EventCore(home / "events.sqlite", self.clock)
        self.metrics = Metrics(self.events)
        self.schedule = FakeSchedule()
        self.asked: list[str] = []
        self.report = CheckReport(file="", made_at=NOW, restorable=3)
        self.watch = BackupWatch(
            lambda: self.config,
            self.schedule,  # type: ignore[arg-type]
            self.events,
            self.metrics.backup,
            self.clock,
        )

    async def ask(self, file: str, config: Path) -> CheckReport:
        self.asked.append(Path(file).name)
        return self.report

    def look(self) -> list[str]:
        asyncio.run(self.watch.look())
        return sorted(event.name for event in self.events.firing())

    def put(self, name: str, at: int = NOW) -> Path:
        path = Path(str(self.config.backup.directory)) / name
        path.write_bytes(b"")
        os.utime(path, (at, at))
        return path

    def sample(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"dnssecd_backup_{name}", labels)


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    monkeypatch.setattr(backup_watch, "ask_checker", rig.ask)
    with closing(rig.events):
        yield rig


def test_without_a_backup_and_without_the_directory(rig: Rig) -> None:
    assert rig.look() == ["backup-old"]
    (event,) = rig.events.firing()
    assert "there is no complete backup (*.tar) in" in event.cause
    Path(str(rig.config.backup.directory)).rmdir()
    assert rig.look() == ["backup-old"]
    assert rig.asked == []


def test_a_backup_is_checked_once_and_each_night(rig: Rig) -> None:
    rig.put("a.tar")
    assert rig.look() == rig.look() == []
    assert rig.asked == ["a.tar"]
    assert (rig.sample("zones", result="restorable"), rig.sample("checked_timestamp_seconds")) == (3, NOW)
    at, action = rig.schedule.wakes["backup-check daemon"]
    assert 0 < at - NOW <= DAY
    assert at % DAY == 3 * 3600 + 1800
    action(None)
    assert rig.look() == []
    assert rig.asked == ["a.tar", "a.tar"]
    rig.put("b.tar", NOW + 5)
    assert rig.look() == []
    assert rig.asked[2:] == ["b.tar"]


def test_refused_zones_fire_and_a_better_backup_ends_it(rig: Rig) -> None:
    rig.put("a.tar")
    refusals = [Refused(zone="z.test.", code="foreign-dnskey", what="it is signed with other keys")]
    rig.report = CheckReport(file="a.tar", made_at=NOW, restorable=2, refused=1, refusals=refusals)
    assert rig.look() == ["backup-unusable"]
    (event,) = rig.events.firing()
    assert event.cause == (
        "a.tar: 1 of 3 zones cannot be restored: z.test.: it is signed with other keys (foreign-dnskey)"
    )
    assert (rig.sample("zones", result="refused"), rig.sample("checked_timestamp_seconds")) == (1, 0)
    rig.report = CheckReport(file="b.tar", made_at=NOW, restorable=3, absent=1, absent_zones=["new.test."])
    rig.put("b.tar", NOW + 5)
    assert rig.look() == []
    assert rig.sample("zones", result="absent") == 1


def test_a_backup_of_none_of_the_zones_or_that_cannot_be_checked_is_not_usable(rig: Rig) -> None:
    rig.put("a.tar")
    rig.report = CheckReport(file="a.tar", made_at=NOW, absent=3)
    assert rig.look() == ["backup-unusable"]
    rig.report = CheckReport(file="a.tar", problem="a.tar is truncated or damaged")
    rig.watch.configure()
    assert rig.look() == ["backup-unusable"]


def test_age_counts_from_when_it_was_made_not_copied(rig: Rig) -> None:
    rig.put("a.tar")
    rig.report = replace_made(rig.report, NOW - 3 * DAY)
    assert rig.look() == ["backup-old"]
    assert rig.sample("made_timestamp_seconds") == NOW - 3 * DAY
    (event,) = rig.events.firing()
    assert "3d old; max_age is 2d" in event.cause
    rig.report = replace_made(rig.report, NOW - DAY)
    rig.put("b.tar", NOW + 1)
    assert rig.look() == []
    rig.clock.advance(DAY + 1)
    assert rig.look() == ["backup-old"]


def test_switched_off_nothing_fires(rig: Rig) -> None:
    assert rig.look() == ["backup-old"]
    rig.config = replace(rig.config, backup=replace(rig.config.backup, directory=None))
    rig.watch.configure()
    assert rig.look() == []
    assert not rig.schedule.wakes


def test_the_newest_complete_file_counts(tmp_path: Path) -> None:
    for name, at in (("a.tar", 5), ("b.tar.incomplete", 9), (".c.tar", 9), ("d.tar", 7), ("e.txt", 9)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (at, at))
    (tmp_path / "f.tar").mkdir()
    (tmp_path / "g.tar").symlink_to(tmp_path / "nowhere")
    newest = find_newest(tmp_path)
    assert newest is not None
    assert (Path(newest.path).name, newest.changed_ns) == ("d.tar", 7_000_000_000)


def replace_made(report: CheckReport, at: int) -> CheckReport:
    return CheckReport(file=report.file, made_at=at, restorable=report.restorable)
