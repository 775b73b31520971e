"""Following catalogs: nothing that one of them brings ends the daemon, and a plan counts for its own moment only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dnssecd.config import parse
from dnssecd.config.added import AddedZone, with_catalogs
from dnssecd.config.diff import ConfigDiff
from dnssecd.config.model import Config
from dnssecd.core.zone.catalog import BrokenCatalog, Member
from dnssecd.daemon.zones import catalog_members
from dnssecd.daemon.zones.added_zones import AddedZones
from dnssecd.daemon.zones.catalog_members import BROKEN, CatalogMembers
from dnssecd.daemon.zones.mailbox import Mailbox

CATALOG = "c.example."
TEXT = """
[server]
[keystore.local]
[policy.default]
[primary.up]
address = "192.0.2.10"
[zone-template.plain]
source = "primaries"
primaries = ["up"]
[catalog."c.example."]
consume = { primaries = ["up"], template = "plain", max_members = 2 }
"""


class Records:
    def __init__(self, *added: AddedZone) -> None:
        self.by_name = {one.zone: one for one in added}

    def all(self) -> list[AddedZone]:
        return list(self.by_name.values())

    def of_catalog(self, catalog: str) -> dict[str, AddedZone]:
        return {name: one for name, one in self.by_name.items() if one.catalog == catalog}

    def put(self, added: list[AddedZone]) -> None:
        self.by_name.update((one.zone, one) for one in added)

    def end(self, zones: list[str], removed_at: int | None) -> None:
        for zone in zones:
            self.by_name.pop(zone, None)


class Zone:
    name, gone, serial = CATALOG, False, 1


class World:
    """A daemon's parts around the catalog: records, table, and a reloader that notes what it applies."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *added: AddedZone) -> None:
        self.config = with_catalogs(parse(TEXT, Path("/etc/c.toml")))
        self.turn = asyncio.Lock()
        self.applied: list[ConfigDiff] = []
        self.events: dict[str, str] = {}
        self.counted: list[str] = []
        self.members: Callable[[], dict[str, Member]] = dict
        self.records = Records(*added)
        self.table: dict[str, Any] = {CATALOG: Zone()}
        clock = SimpleNamespace(now=lambda: 7.0)
        added_zones = AddedZones(
            self.records,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            SimpleNamespace(by_name=self.table),  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            clock,  # type: ignore[arg-type]
        )
        monkeypatch.setattr(catalog_members, "_members", lambda zone, members_max: self.members())
        self.following = CatalogMembers(
            self.table,
            added_zones,
            self,  # type: ignore[arg-type]
            clock,  # type: ignore[arg-type]
            Mailbox(),
            self.counted.append,
        )

    async def apply(self, config: Config, found: ConfigDiff, lost: list[str], *, load: bool) -> None:
        self.config = config
        self.applied.append(found)
        for name in (*found.removed, *lost):
            del self.table[name]

    def raise_event(self, name: str, zone: str, cause: str, **more: object) -> None:
        self.events[name] = cause

    def resolve(self, name: str, zone: str | None = None, subject: str = "") -> None:
        self.events.pop(name, None)

    async def follow_until(self, done: Callable[[], bool]) -> None:
        task = asyncio.ensure_future(self.following.run())
        async with asyncio.timeout(20):
            while not done():
                assert not task.done(), task.exception()
                await asyncio.sleep(0.01)
        assert not task.done()
        task.cancel()


def test_a_member_without_a_zone_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its template was gone at the start, and it had no version: it is in the records and not in the table."""
    world = World(monkeypatch, AddedZone(zone="lost.example.", template="gone", catalog=CATALOG))
    asyncio.run(world.follow_until(lambda: "ok" in world.counted))
    assert not world.records.by_name
    assert [found.removed for found in world.applied] == [()]


def test_a_fault_in_a_catalog_is_counted_and_reported_and_the_next_is_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(monkeypatch)

    def broken() -> dict[str, Member]:
        raise KeyError("x")

    def too_many() -> dict[str, Member]:
        raise BrokenCatalog("it has more than 2 members")

    async def run() -> None:
        world.members = broken
        await world.follow_until(lambda: "failed" in world.counted)
        assert "fault in dnssecd: KeyError" in world.events[BROKEN]
        world.members = too_many
        await world.follow_until(lambda: "broken" in world.counted)
        assert "more than 2 members" in world.events[BROKEN]
        world.members = lambda: {"a.example.": Member("a.example.", "x")}
        await world.follow_until(lambda: "ok" in world.counted)

    asyncio.run(run())
    assert list(world.records.by_name) == ["a.example."]
    assert BROKEN not in world.events


def test_a_plan_for_other_zones_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file gets a zone while a member of that name is planned: the file's stays."""
    world = World(monkeypatch)
    plan_members = catalog_members.plan_members

    def overtaken(*given: Any) -> Any:
        made = plan_members(*given)
        if "a.example." not in world.config.zones:
            text = TEXT + '[zone."a.example."]\nfile = "a.zone"\n'
            world.config = with_catalogs(parse(text, Path("/etc/c.toml")))
        return made

    monkeypatch.setattr(catalog_members, "plan_members", overtaken)
    world.members = lambda: {"a.example.": Member("a.example.", "x")}
    asyncio.run(world.follow_until(lambda: "ok" in world.counted))
    assert not world.records.by_name
    assert world.config.zones["a.example."].source == "file"
