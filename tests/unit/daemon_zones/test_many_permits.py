"""Many zones that want to be published ask the key service a few at a time, and none waits for ever."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dnssecd.daemon.zones import permits as permits_module
from dnssecd.daemon.zones.first_publication import Permission
from dnssecd.daemon.zones.key_lists import ZONES_MAX, KeyLists
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.permits import Permits
from dnssecd.daemon.zones.work import ZoneJobs
from dnssecd.daemon.zones.zone import ZoneGone
from dnssecd.keyservice_client.errors import SignerBusy
from dnssecd.store.errors import DatabaseFailed


class SlowSigner:
    """Counts the calls that wait at the same time, and the zones in each."""

    def __init__(self, *, fails: bool) -> None:
        self.waiting = self.most = 0
        self.asked: list[int] = []
        self.fails = fails

    async def keys_of_zones(self, zones: list[bytes]) -> list[Any]:
        self.asked.append(len(zones))
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await asyncio.sleep(0)
        self.waiting -= 1
        if self.fails:
            raise SignerBusy("not now", retry_in_s=1.0)
        return [[zone] for zone in zones]


async def test_a_first_start_with_thousands_of_zones_does_not_flood_the_key_service() -> None:
    signer, tried = SlowSigner(fails=True), []
    outcomes = SimpleNamespace(retry=lambda zone, job: tried.append(zone))
    nothing = cast(Any, None)
    permits = Permits(
        nothing, nothing, cast(Any, outcomes), cast(Any, signer), nothing, nothing, nothing, nothing
    )
    zones = [cast(Any, SimpleNamespace(origin=b"%d" % number)) for number in range(5 * ZONES_MAX)]
    found = await asyncio.gather(*(permits._permission(zone) for zone in zones))
    assert {permission.event for permission in found} == {"signing-failed"}
    assert len(tried) == len(zones)
    assert (signer.asked, signer.most) == ([ZONES_MAX] * 5, 1)


async def test_each_zone_gets_its_own_keys_also_if_others_leave() -> None:
    signer = SlowSigner(fails=False)
    lists = KeyLists(cast(Any, signer))
    tasks = [asyncio.create_task(lists.keys(b"%d" % (number % 100))) for number in range(150)]
    await asyncio.sleep(0)
    tasks[7].cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(found.pop(7), asyncio.CancelledError)
    assert found == [[b"%d" % (number % 100)] for number in range(150) if number != 7]
    assert signer.asked == [64, 64, 22]
    assert await lists.keys(b"later") == [b"later"]


async def test_a_job_that_ends_with_an_error_is_tried_again() -> None:
    """No fault, not even a bug, leaves a zone without its next job."""
    nothing = cast(Any, None)
    tried: list[tuple[str, str]] = []
    outcomes = cast(Any, SimpleNamespace(retry=lambda zone, job: tried.append((zone.name, job))))

    class Runner:
        def job(self, *_: object, **__: object) -> None:
            raise RuntimeError("a bug")

    class Watched:
        async def permit(self, *_: object, **__: object) -> None:
            raise OSError("a fault")

        async def prove(self, *_: object) -> None:
            raise ZoneGone("z.")

    jobs = ZoneJobs(
        nothing, cast(Any, Runner()), outcomes, cast(Any, Watched()), nothing, nothing, nothing, nothing, nothing,
        Mailbox(),
    )  # fmt: skip
    zone = cast(Any, SimpleNamespace(name="z.", jobs=SimpleNamespace(begin=lambda kind: None)))
    for kind in ("resign", "load", "prove"):
        await jobs._requested(zone, kind)
    assert tried == [("z.", "resign"), ("z.", "load")]


async def test_a_zone_whose_backups_cannot_be_read_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def keys(zones: list[bytes]) -> list[Any]:
        return [[] for _ in zones]

    async def allowed(*_: object) -> Permission:
        return Permission(True)

    async def unreadable(*_: object) -> None:
        raise DatabaseFailed("z.sqlite: disk I/O error")

    monkeypatch.setattr(permits_module, "ask_permission", allowed)
    monkeypatch.setattr(permits_module, "keys_unsaved", unreadable)
    monkeypatch.setattr(permits_module, "keys_lacking", lambda zone, held: None)
    monkeypatch.setattr(permits_module, "held_keys", lambda spec, keys: {})
    nothing = cast(Any, None)
    permits = Permits(
        lambda: nothing, nothing, nothing, cast(Any, SimpleNamespace(keys_of_zones=keys)), nothing, nothing,
        cast(Any, SimpleNamespace(now=lambda: 0.0)), nothing,
    )  # fmt: skip
    spec = SimpleNamespace(offline=(), database="/nonexistent/z.sqlite")
    found = await permits._permission(cast(Any, SimpleNamespace(origin=b"\x01z\x00", spec=spec)))
    assert (found.allowed, found.event) == (False, "store-failed")
