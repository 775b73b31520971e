"""Zones that are being removed leave nothing behind, also if the command that removes them is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dnssecd.clock import SystemClock
from dnssecd.daemon.zones.departure import AT_ONCE, Departures
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.rooms import JobsRoom
from dnssecd.store.catalogue import Catalogue, CatalogueEntry


def nothing(*_: object) -> None:
    """In place of what is not looked at here."""


class World:
    """Zones with databases, and what removes them. ``release``: ends the workers that have a database open."""

    def __init__(self, home: Path, names: list[str], release: Callable[[str], Awaitable[None]]) -> None:
        self.home = home
        self.databases = {name: home / f"{name}sqlite" for name in names}
        self.catalogue = Catalogue(home / "catalogue")
        for name, path in self.databases.items():
            path.write_bytes(b"x")
            self.catalogue.put(CatalogueEntry(name))
        self.departures = Departures(
            cast("Any", SimpleNamespace(remove=self._zone)),
            cast("Any", SimpleNamespace(retire=lambda zone: None, settle=nothing)),
            cast("Any", SimpleNamespace(release=release)),
            SystemClock(),
            cast("Any", SimpleNamespace(remove_zone=nothing)),
            cast("Any", SimpleNamespace(forget_zone=nothing)),
            self.catalogue,
            Mailbox(),
        )

    def _zone(self, name: str) -> object:
        spec = SimpleNamespace(database=str(self.databases[name]))
        return SimpleNamespace(name=name, close=nothing, spec=spec, jobs=JobsRoom())

    def set_aside(self) -> set[str]:
        """The names of zones whose databases were set aside."""
        return {path.name.partition(".sqlite")[0] + "." for path in (self.home / "removed").glob("*")}


async def test_the_database_is_set_aside_although_the_client_has_gone(tmp_path: Path) -> None:
    asked, released = asyncio.Event(), asyncio.Event()

    async def release(path: str) -> None:
        asked.set()
        await released.wait()

    world = World(tmp_path, ["z."], release)
    removal = asyncio.create_task(world.departures.remove(["z."]))
    async with asyncio.timeout(10):
        await asked.wait()
        removal.cancel()
        await asyncio.sleep(0.01)
        released.set()
        with pytest.raises(asyncio.CancelledError):
            await removal
    assert not world.databases["z."].exists()
    assert world.set_aside() == {"z."}


async def test_a_group_leaves_at_once(tmp_path: Path) -> None:
    """One transaction, and no zone waits until another has let go of its database."""
    names = [f"z{number}." for number in range(AT_ONCE)]
    all_asked, asked = asyncio.Event(), 0

    async def release(path: str) -> None:
        nonlocal asked
        asked += 1
        if asked == len(names):
            all_asked.set()
        await all_asked.wait()

    world = World(tmp_path, names, release)
    statements: list[str] = []
    world.catalogue._connection.set_trace_callback(statements.append)
    async with asyncio.timeout(10):
        await world.departures.remove(names)
    assert sum(one.startswith("BEGIN") for one in statements) == 1
    assert world.catalogue.entries() == {}
    assert world.set_aside() == set(names)


async def test_one_database_that_cannot_be_moved_keeps_no_other(tmp_path: Path) -> None:
    async def release(path: str) -> None:
        if "z1." in path:
            raise OSError(28, "No space left on device", path)

    names = ["z1.", "z2.", "z3."]
    world = World(tmp_path, names, release)
    with pytest.raises(OSError, match="No space"):
        await world.departures.remove(names)
    assert world.set_aside() == {"z2.", "z3."}
    assert world.databases["z1."].exists()
    assert world.catalogue.entries() == {}
