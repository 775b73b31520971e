"""What the daemon collects for its page: of real keys, of very many zones, and when it cannot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from dnssecd.daemon.commands.forecast import ForecastCommands
from dnssecd.daemon.commands.rollover import RolloverCommands
from dnssecd.daemon.commands.status import StatusCommand, ZoneStates
from dnssecd.daemon.page import ahead, surveys
from dnssecd.daemon.page.ahead import ComingSteps
from dnssecd.daemon.page.surveys import Surveys, describe_stores, docs_link, list_freezes
from dnssecd.daemon.page.zone_views import ZoneViews
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.keyservice_protocol import StatusReply, StoreStatus
from dnssecd.page.digest import Digest
from dnssecd.page.model import Unavailable
from dnssecd.page.overview import Query
from dnssecd.page.render import load_pages
from dnssecd.page.weeks import make_weeks
from dnssecd.replacing import replace
from dnssecd.store.errors import StoreError
from tests.unit.daemon_rollover.rig import Rig

DAY = 86_400


@pytest_asyncio.fixture
async def rig(tmp_path: Path, signer: str) -> AsyncIterator[Rig]:
    made = Rig(tmp_path, signer, 'freeze = ["12-20/01-05"]')
    await made.plan()
    await made.settle()
    yield made
    await made.close()


class Data:
    """The source of a page of these zones."""

    def __init__(self, rig: Rig, zones: dict[str, FrontZone]) -> None:
        states = ZoneStates(rig.events, rig.clock)
        forecasts = ForecastCommands(
            zones, rig.rollovers, RolloverCommands(zones, rig.rollovers), lambda: rig.config
        )

        async def no_delivery() -> list[dict[str, Any]]:
            return []

        async def no_acts(zone: str | None, limit: int) -> list[dict[str, object]]:
            return [{"at": 5, "who": "root", "uid": 0, "what": "zone reload", "serial": None, "detail": ""}]

        self.status = status = StatusCommand(
            zones,
            states,
            rig.events,
            rig.clock,
            lambda: {"mode": "child", "state": "ok"},
            no_delivery,
            lambda: "",
            lambda: [],
        )
        self.coming = ComingSteps(zones, forecasts, rig.clock)
        self.views = ZoneViews(zones, states, forecasts, no_acts, rig.clock)
        self.source = Surveys(status, self.views, self.coming, lambda: rig.config, lambda: None, rig.clock)


async def looked_ahead(data: Data, number: int) -> list[Any]:
    task = asyncio.create_task(data.coming.run())
    try:
        async with asyncio.timeout(20):
            while data.coming.list_all()[1] < number:
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
    return data.coming.list_all()[0]


async def test_a_zone_with_its_keys_past_and_ahead(rig: Rig) -> None:
    data = Data(rig, {rig.name: rig.zone})
    view = await data.views.view(rig.name.upper().rstrip("."), 120)
    assert view is not None
    assert view.zone.zone == rig.name
    assert [key.role for key in view.zone.keys] == ["ksk", "zsk"]
    assert view.times.why == ""
    for key in view.zone.keys:
        assert f"{key.role.upper()} {key.tag}, algorithm" in view.times.svg
    assert 'class="today"' in view.times.svg
    assert [step.what for step in view.coming if step.what.startswith("ZSK new-1: is made")]
    assert "zone reload" in {entry.what for entry in view.history}
    assert any("dnskey omnipresent" in entry.what for entry in view.history)
    assert load_pages().zone(view, 120)


@pytest.mark.parametrize("name", ["", ".", "other.example.", "x" * 5_000, "z\x00.", "..", "[a]"])
async def test_an_unknown_name_has_no_page(rig: Rig, name: str) -> None:
    assert await Data(rig, {rig.name: rig.zone}).views.view(name, 30) is None


async def test_a_zone_that_cannot_be_read_is_said_to_be(rig: Rig) -> None:
    data = Data(rig, {rig.name: rig.zone})

    def fail() -> None:
        raise OSError("input/output error")

    rig.zone.databases.get = lambda *args: fail()  # type: ignore[method-assign,assignment,func-returns-value]
    with pytest.raises(Unavailable, match="input/output error"):
        await data.views.view(rig.name, 30)


async def test_what_comes_in_all_zones(rig: Rig) -> None:
    data = Data(rig, {rig.name: rig.zone})
    entries = await looked_ahead(data, 1)
    assert [entry.what for entry in entries if entry.what == "rollover: a new ZSK"]
    assert entries == sorted(entries, key=lambda entry: entry.at)
    rig.zone.gone = True
    assert data.coming.list_all() == ([], 0)
    rig.zone.gone = False


@pytest.mark.parametrize(
    ("url", "shown"),
    [("", ""), ("https://d.example/o.html", "https://d.example/o.html"), ("file:///o.html", "")],
)
async def test_where_the_operations_page_is(rig: Rig, url: str, shown: str) -> None:
    """A browser follows no link from a page to a file."""
    config = replace(rig.config, alerts=replace(rig.config.alerts, docs_url=url))
    assert docs_link(config) == shown


async def test_freezes_and_key_stores(rig: Rig) -> None:
    freezes = list_freezes(rig.config, rig.clock.now())
    assert {freeze.policy for freeze in freezes} == {"default"}
    assert all(freeze.stop - freeze.start == 17 * DAY for freeze in freezes)
    assert describe_stores(None) == []
    store = StoreStatus(name="local", type="software", state="available", signatures=7)
    reply = StatusReply(0, pid=1, uptime_s=1.0, stores=(store,), warnings=(), counters={})
    assert [(one.name, one.signatures) for one in describe_stores(reply)] == [("local", 7)]


async def test_before_the_daemon_is_ready_there_is_no_page(rig: Rig) -> None:
    data = Data(rig, {rig.name: rig.zone})
    with pytest.raises(Unavailable, match="starting"):
        await asyncio.to_thread(data.source.digest)


async def test_a_page_of_ten_thousand_zones(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A survey is made in turns, and the page waits for none: it shows the last one."""
    zones = {f"z{number}.example.": rig.zone for number in range(10_000)}
    data = Data(rig, zones)
    task = asyncio.create_task(data.source.run())
    digest = await asyncio.to_thread(data.source.digest) if data.source._kept else None
    async with asyncio.timeout(30):
        while digest is None:
            await asyncio.sleep(0.05)
            digest = data.source._kept
    assert digest.survey.status.verdict.zones == 10_000
    making = surveys.Surveys._compose

    async def slowly(self: Surveys) -> Digest:
        await asyncio.sleep(30)
        return await making(self)

    monkeypatch.setattr(surveys.Surveys, "_compose", slowly)
    rig.clock.advance(30)
    started = time.monotonic()
    shown = await asyncio.to_thread(data.source.digest)
    weeks = make_weeks(shown.days, shown.survey.freezes, shown.survey.taken_at, 0)
    assert load_pages().overview(shown.page(Query()), weeks, Query())
    assert shown is digest
    assert time.monotonic() - started < 3.0  # 0.3 s where nothing else runs
    task.cancel()


async def test_surveys_take_a_part_of_the_time_only(rig: Rig) -> None:
    data = Data(rig, {rig.name: rig.zone})
    first = await data.source._make()
    data.source._not_before = rig.clock.monotonic() + 5
    assert await data.source._make() is first
    data.source._not_before = 0.0
    one, two = await asyncio.gather(data.source._make(), data.source._make())
    assert one is two
    assert one is not first


async def test_a_forecast_that_takes_too_long_is_given_up(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*args: object, **more: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(ahead, "LOOK_S", 0.05)
    data = Data(rig, {rig.name: rig.zone})
    monkeypatch.setattr(data.coming._forecasts, "look_from", never)
    assert await looked_ahead(data, 1) == []


async def test_data_that_cannot_be_read_are_unavailable_for_a_while(rig: Rig) -> None:
    data = Data(rig, {rig.name: rig.zone})

    async def fail(zone: object) -> None:
        raise StoreError("disk I/O error")

    whole, data.source._status.compose = data.source._status.compose, fail  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(data.source.run())
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="disk I/O error"):
        await asyncio.to_thread(data.source.digest)
    data.source._status.compose = whole  # type: ignore[method-assign]
    assert (await asyncio.to_thread(data.source.digest)).survey.status.verdict.zones == 1
    task.cancel()
