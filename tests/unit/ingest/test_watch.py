"""The watcher sees every way a zone file comes to have other content, and reports each difference once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dnssecd.ingest import watch as watching
from dnssecd.ingest.watch import Timing, ZoneWatcher, identity_now, points

QUICK = Timing(quiet=0.02, most=0.5, poll=60)


class Watched:
    """A watcher being iterated, and what it reported."""

    def __init__(self, timing: Timing) -> None:
        self.watcher = ZoneWatcher(timing)
        self.reports: asyncio.Queue[frozenset[str]] = asyncio.Queue()

    async def run(self) -> None:
        async for zones in self.watcher.changes():
            self.reports.put_nowait(zones)

    async def next(self) -> frozenset[str]:
        async with asyncio.timeout(5):
            return await self.reports.get()

    async def all_of(self, count: int) -> set[str]:
        """Return this many zones: a write during a comparison is reported in two parts."""
        found: set[str] = set()
        while len(found) < count:
            found |= await self.next()
        return found

    def watch(self, zone: str, *paths: Path) -> None:
        self.watcher.watch(zone, [identity_now(path) for path in paths])

    async def armed(self) -> None:
        """Wait until all hints were worked off: every watch is in place."""
        async with asyncio.timeout(5):
            while self.watcher._hinted or not set(self.watcher._read) <= set(self.watcher._places):
                await asyncio.sleep(0.001)


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    harness = Watched(QUICK)
    task = asyncio.create_task(harness.run())
    yield harness
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def in_one_step(path: Path, text: str) -> None:
    """Write by renaming: truncating and writing are two changes to whoever looks in between."""
    temporary = path.with_name("new")
    temporary.write_text(text)
    temporary.rename(path)


async def test_a_write_is_reported_once(watched: Watched, tmp_path: Path) -> None:
    zone, other = tmp_path / "a.zone", tmp_path / "b.zone"
    zone.write_text("1")
    other.write_text("1")
    watched.watch("a.", zone)
    watched.watch("b.", other)
    await watched.armed()
    in_one_step(zone, "22")
    assert await watched.next() == {"a."}
    in_one_step(other, "22")
    assert await watched.next() == {"b."}, "a. is not reported again"


async def test_a_rename_over_the_file(watched: Watched, tmp_path: Path) -> None:
    zone = tmp_path / "a.zone"
    zone.write_text("1")
    watched.watch("a.", zone)
    await watched.armed()
    temporary = tmp_path / "a.zone.swp"
    temporary.write_text("2")
    temporary.rename(zone)
    assert await watched.next() == {"a."}


async def test_an_include_in_another_directory(watched: Watched, tmp_path: Path) -> None:
    zone, included = tmp_path / "a.zone", tmp_path / "inc" / "hosts"
    included.parent.mkdir()
    zone.write_text("1")
    included.write_text("1")
    watched.watch("a.", zone, included)
    await watched.armed()
    included.write_text("22")
    assert await watched.next() == {"a."}


async def test_a_file_of_one_of_few_and_of_many_zones(watched: Watched, tmp_path: Path) -> None:
    shared, zones = tmp_path / "hosts", [f"z{number}." for number in range(10)]
    shared.write_text("1")
    for number, zone in enumerate(zones, 1):
        watched.watch(zone, shared)
        await watched.armed()
        in_one_step(shared, "2" * (number + 1))
        assert await watched.all_of(number) == set(zones[:number])
    for number, zone in enumerate(zones[:-1], 1):
        watched.watcher.forget(zone)
        in_one_step(shared, "3" * (number + 20))
        assert await watched.all_of(10 - number) == set(zones[number:])
    watched.watcher.forget(zones[-1])
    assert not watched.watcher._zones, "nothing is kept of zones that are gone"


async def test_a_directory_goes_and_comes_back(watched: Watched, tmp_path: Path) -> None:
    zone = tmp_path / "zones" / "a.zone"
    zone.parent.mkdir()
    zone.write_text("1")
    watched.watch("a.", zone)
    await watched.armed()
    zone.unlink()
    zone.parent.rmdir()
    assert await watched.next() == {"a."}
    zone.parent.mkdir()
    zone.write_text("2")
    assert await watched.next() == {"a."}
    zone.write_text("333")
    assert await watched.next() == {"a."}, "the new directory is watched"


async def test_a_link_to_a_directory_is_swapped(watched: Watched, tmp_path: Path) -> None:
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "a.zone").write_text(version)
    (tmp_path / "current").symlink_to("v1")
    watched.watch("a.", tmp_path / "current" / "a.zone")
    await watched.armed()
    (tmp_path / "next").symlink_to("v2")
    os.replace(tmp_path / "next", tmp_path / "current")
    assert await watched.next() == {"a."}
    (tmp_path / "v2" / "a.zone").write_text("changed")
    assert await watched.next() == {"a."}, "the new target is watched"


async def test_a_change_between_reading_and_watching(watched: Watched, tmp_path: Path) -> None:
    zone = tmp_path / "a.zone"
    zone.write_text("1")
    read = identity_now(zone)
    zone.write_text("22")
    watched.watcher.watch("a.", [read])
    assert await watched.next() == {"a."}


async def test_a_file_that_does_not_exist_yet(watched: Watched, tmp_path: Path) -> None:
    zone = tmp_path / "not" / "yet" / "a.zone"
    watched.watch("a.", zone)
    await watched.armed()
    zone.parent.mkdir(parents=True)
    zone.write_text("1")
    assert await watched.next() == {"a."}


async def test_a_forgotten_zone_is_not_reported(watched: Watched, tmp_path: Path) -> None:
    zone, other = tmp_path / "a.zone", tmp_path / "b.zone"
    zone.write_text("1")
    other.write_text("1")
    watched.watch("a.", zone)
    watched.watch("b.", other)
    await watched.armed()
    watched.watcher.forget("a.")
    zone.write_text("22")
    other.write_text("22")
    assert await watched.next() == {"b."}


async def test_watches_are_given_back(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    zone, other = tmp_path / "a.zone", tmp_path / "sub" / "b.zone"
    zone.write_text("1")
    other.write_text("1")
    watched.watch("a.", zone)
    watched.watch("b.", other)
    await watched.armed()
    assert watched.watcher._inotify is not None
    kernel = Path(f"/proc/self/fdinfo/{watched.watcher._inotify.descriptor}")
    assert kernel.read_text().count("inotify wd:") == 2
    watched.watcher.forget("b.")
    assert kernel.read_text().count("inotify wd:") == 1
    assert set(watched.watcher._names.values()) == {1}


async def test_other_files_in_the_directory_wake_no_zone(watched: Watched, tmp_path: Path) -> None:
    zone = tmp_path / "a.zone"
    zone.write_text("1")
    watched.watch("a.", zone)
    await watched.armed()
    assert watched.watcher._inotify is not None
    (tmp_path / "noise").write_text("x")
    events = watched.watcher._inotify.read()
    assert events, "the directory is watched"
    assert not any((event.watch, event.name) in watched.watcher._zones for event in events)


async def test_polling_finds_what_no_event_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_inotify() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(watching, "Inotify", no_inotify)
    harness = Watched(Timing(quiet=0.01, most=0.1, poll=0.05))
    zone = tmp_path / "a.zone"
    zone.write_text("1")
    harness.watch("a.", zone)
    task = asyncio.create_task(harness.run())
    zone.write_text("22")
    assert await harness.next() == {"a."}
    assert harness.watcher.polled == {"*": "Too many open files"}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_points_follow_links_and_stop_at_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    root = os.fsencode(os.path.realpath(tmp_path))
    assert points(Path(os.fsdecode(root)) / "link" / "missing" / "a.zone") == [
        (root, b"link"),
        (root + b"/real", b"missing"),
    ]


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert len(points(tmp_path / "a")) <= 41
