"""The engine as the daemon runs it: started, stopped in the middle of a message, told of the zones."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from dnssecd.clock import FakeClock
from dnssecd.config.model import AlertsConfig
from dnssecd.control.command import Refused
from dnssecd.daemon.alerting import AlertEngine
from dnssecd.daemon.zones.schedule import Schedule
from dnssecd.ops.alerts.channels import Parcel, Sent
from dnssecd.ops.alerts.metrics import AlertMetrics
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import Metrics
from dnssecd.replacing import replace
from tests.commands import make_call
from tests.unit.alerts.rig import MAIL, NIGHT, ZONE, FakeWay, Rig


class SlowChannel(FakeWay):
    """Takes a message, but says so only when *release* is set."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.release = asyncio.Event(), asyncio.Event()

    async def send(self, parcel: Parcel) -> Sent:
        self.sent.append(parcel)
        self.began.set()
        await self.release.wait()
        return Sent()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path, SlowChannel())
    yield rig
    rig.stop()


@pytest.mark.parametrize("answers", [True, False])
async def test_stopping_lets_what_is_being_sent_end(
    rig: Rig, answers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dnssecd.ops.alerts.engine.STOP_S", 5.0 if answers else 0.05)
    rig.events.raise_event("verification-failed", ZONE, "bad RRSIG")
    rig.engine.tick()
    rig.clock.advance(10)
    rig.engine.tick()
    way = rig.way
    assert isinstance(way, SlowChannel)
    running = asyncio.create_task(rig.engine.run())
    await asyncio.wait_for(way.began.wait(), 10)
    running.cancel()
    if answers:
        asyncio.get_running_loop().call_soon(way.release.set)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 10)
    assert rig.engine.store.queue("mail").waiting == (0 if answers else 1)


async def test_an_event_from_another_thread_wakes_the_engine(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    running = asyncio.create_task(rig.engine.run())
    told = asyncio.Event()
    rig.way.fate = lambda parcel: told.set() or Sent()  # type: ignore[func-returns-value]
    await asyncio.to_thread(rig.events.raise_event, "verification-failed", ZONE, "bad RRSIG")
    while rig.engine._alerts.get(("verification-failed", ZONE, "")) is None:
        await asyncio.sleep(0.01)
    rig.clock.advance(10)
    await asyncio.to_thread(rig.events.raise_event, "disk-low", None, "3 MiB")
    await asyncio.wait_for(told.wait(), 10)
    assert rig.way.subjects[0].startswith("CRITICAL example.com. verification-failed")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    rig.engine.close()
    rig.events.close()


def zone(name: str, expires: float | None, serial: int | None = 1) -> Any:
    return SimpleNamespace(
        name=name,
        serial=serial,
        earliest_expiration=expires,
        runway_s=lambda now: None if expires is None else expires - now,
    )


async def give_test(alerts: AlertEngine, progress: list[Any]) -> Any:
    (command,) = alerts.commands()
    return msgspec.to_builtins(await command.answer(make_call("alerts.test", {}, progress)))


@pytest.fixture
def wired(tmp_path: Path) -> Iterator[tuple[AlertEngine, EventCore]]:
    clock = FakeClock(NIGHT)
    events = EventCore(tmp_path / "events.sqlite", clock)
    config: Any = SimpleNamespace(server=SimpleNamespace(state_dir=tmp_path), alerts=AlertsConfig())
    zones = {"a.": zone("a.", NIGHT + 500), ZONE: zone(ZONE, NIGHT + 100), "new.": zone("new.", None, None)}
    alerts = AlertEngine(
        config,
        events,
        clock,
        AlertMetrics(CollectorRegistry()),
        zones,
        Schedule(clock),
        lambda: {},
    )
    yield alerts, events
    alerts.close()
    events.close()


def test_what_the_digest_and_the_deadlines_know_of_the_zones(
    wired: tuple[AlertEngine, EventCore],
) -> None:
    alerts, events = wired
    facts = alerts._facts()
    assert (facts.served, facts.waiting, facts.runway) == (2, 1, (100, ZONE))
    events.raise_event("runway-low", ZONE, "x")
    events.raise_event("input-error", ZONE, "x")
    assert {event.name: alerts._deadline(event) for event in events.firing()} == {
        "runway-low": NIGHT + 100,
        "input-error": None,
    }


async def test_without_a_way_the_test_says_what_to_do_and_a_reload_makes_one(
    wired: tuple[AlertEngine, EventCore],
) -> None:
    alerts, events = wired
    assert await alerts.status() == []
    with pytest.raises(Refused, match="no channel for alerts is configured") as refused:
        await give_test(alerts, [])
    assert "[alerts.mail]" in refused.value.remedy
    events.raise_event("disk-low", None, "3 MiB")
    alerts.engine.tick()
    mail = replace(MAIL, host="127.0.0.1", port=1, tls="none", escalate_to=())
    alerts.configure(SimpleNamespace(alerts=AlertsConfig(mail=mail)))  # type: ignore[arg-type]
    told: list[Any] = []
    result: Any = await give_test(alerts, told)
    assert [(one["way"], one["ok"]) for one in result["results"]] == [("mail", False)]
    assert told[0]["progress"]["text"] == "mail failed"
    alerts.engine.tick()
    assert [alert.state for alert in alerts.engine._alerts.values()] == ["settling"]
    assert (await alerts.status())[0]["way"] == "mail"


def test_the_metrics_are_in_the_table() -> None:
    names = {row.name for row in Metrics().table() if row.name.startswith("dnssecd_alert_")}
    assert names == {
        "dnssecd_alert_deliveries_total",
        "dnssecd_alert_queue_messages",
        "dnssecd_alert_queue_oldest_timestamp_seconds",
        "dnssecd_alert_last_delivered_timestamp_seconds",
        "dnssecd_alert_way_working",
    }
