"""A zone that is being removed leaves nothing behind, also if the command that removes it is cancelled."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dnssecd.clock import SystemClock
from dnssecd.daemon.zones.departure import Departures
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.rooms import JobsRoom


def nothing(*_: object) -> None:
    """In place of what is not looked at here."""


async def test_the_database_is_set_aside_although_the_client_has_gone(tmp_path: Path) -> None:
    database = tmp_path / "z.sqlite"
    database.write_bytes(b"x")
    asked, released = asyncio.Event(), asyncio.Event()

    async def release(path: str) -> None:
        asked.set()
        await released.wait()

    zone = SimpleNamespace(
        name="z.", close=nothing, spec=SimpleNamespace(database=str(database)), jobs=JobsRoom()
    )
    departures = Departures(
        cast("Any", SimpleNamespace(remove=lambda name: zone)),
        cast("Any", SimpleNamespace(retire=lambda zone: None)),
        cast("Any", SimpleNamespace(release=release)),
        SystemClock(),
        cast("Any", SimpleNamespace(remove_zone=nothing)),
        cast("Any", SimpleNamespace(forget_zone=nothing)),
        cast("Any", SimpleNamespace(remove=nothing)),
        Mailbox(),
    )
    removal = asyncio.create_task(departures.remove("z."))
    async with asyncio.timeout(10):
        await asked.wait()
        removal.cancel()
        await asyncio.sleep(0.01)
        released.set()
        with pytest.raises(asyncio.CancelledError):
            await removal
    assert not database.exists()
    assert [path for path in tmp_path.rglob("*") if path.is_file()]
