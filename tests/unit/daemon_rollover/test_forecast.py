"""Looking ahead: what is assumed, what a changed policy would do, what has to be signed."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from dnssecd.control.command import Refused
from dnssecd.control.peer import ALL_ROLES, Caller
from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.keys.keystate import Role
from dnssecd.core.keys.simulate import Assumptions, Unwanted, simulate
from dnssecd.core.keys.types import KeySpec
from dnssecd.daemon.commands.forecast import ForecastCommands
from dnssecd.daemon.commands.forecast_thread import ForecastThread, Wanted
from dnssecd.daemon.commands.rollover import RolloverCommands
from dnssecd.daemon.rollover import forecast
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.replacing import replace
from tests.commands import give_named
from tests.unit.daemon_rollover.rig import CONFIG, Rig

DAY = 86_400


async def ask(rig: Rig, name: str, **args: Any) -> Any:
    zones = {rig.name: rig.zone}
    commands = ForecastCommands(
        zones, rig.rollovers, RolloverCommands(zones, rig.rollovers), lambda: rig.config
    ).commands()
    zone = {"zone": rig.name} if name == "simulate" else {}
    return await give_named(commands, name, **zone, **args)


async def test_400_days_with_a_picture(rig: Rig) -> None:
    answer = await ask(rig, "simulate", days=400, svg=True)
    made = [event for event in answer["events"] if event["event"] == "generate"]
    assert len(made) == 4, "a ZSK every 90 days"
    assert all(event["zone"] == rig.name for event in answer["events"])
    assert answer["svg"].startswith("<svg")
    assert answer["stop"] - answer["start"] == 400 * DAY


@pytest.mark.parametrize(
    "args",
    [
        {"days": 0},
        {"days": 4000},
        {"days": 10, "outages": ["parent:1d"]},
        {"days": 10, "outages": ["x:1d:1d"]},
    ],
)
async def test_what_cannot_be_simulated_is_refused(rig: Rig, args: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        await ask(rig, "simulate", **args)


async def test_an_outage_delays(rig: Rig) -> None:
    usual = await ask(rig, "simulate", days=400)
    late = await ask(rig, "simulate", days=400, outages=["secondaries:80d:20d"])

    def settled(answer: Any) -> int:
        return next(e["at"] for e in answer["events"] if e["event"] == "dnskey omnipresent")

    assert settled(late) > settled(usual)


async def test_a_plan_tells_what_the_changed_file_would_do_and_does_nothing(rig: Rig) -> None:
    before = rig.keyset()
    path = rig.home / "config.toml"
    path.write_text(CONFIG.format(home=rig.home, policy="", name=rig.name))
    assert (await ask(rig, "plan"))["zones"] == []
    policy = 'ksk = { algorithm = "ed25519" }\nzsk = { algorithm = "ed25519" }\ndenial = "nsec"'
    path.write_text(CONFIG.format(home=rig.home, policy=policy, name=rig.name))
    (planned,) = (await ask(rig, "plan"))["zones"]
    assert any("denial" in note for note in planned["notes"])
    assert {event["event"] for event in planned["events"]} >= {
        "generate",
        "publish dnskey",
    }
    assert rig.keyset() == before
    path.write_text("[server\n")
    with pytest.raises(Refused, match="error"):
        await ask(rig, "plan")


async def test_the_load_of_a_key_store(rig: Rig) -> None:
    rig.zone.refresh_s, rig.zone.earliest_expiration = 2 * DAY, int(rig.clock.now()) + 5 * DAY
    answer = await ask(rig, "schedule", load=True)
    (store,) = answer["load"]
    assert store["keystore"] == "local"
    assert store["runway_seconds"] == 5 * DAY
    with rig.zone.database.snapshot() as snapshot:
        rrsets = sum(1 for _ in snapshot.rrsig_scan())
    due = sum(day["signatures"] for day in store["days"])
    assert rrsets <= due <= 2 * rrsets, "each once in the four weeks that signatures last, and a little over"


def test_an_outage_is_read() -> None:
    outage = forecast.parse_outage("parent:10d:2d", 1_000, {"10d": 10 * DAY, "2d": 2 * DAY})
    assert (outage.what, outage.start, outage.stop) == ("parent", 1_000 + 10 * DAY, 1_000 + 12 * DAY)


async def test_events_that_happen_anyway_are_no_part_of_a_plan(rig: Rig) -> None:
    policy = rig.rollovers.policy(rig.zone)
    evidence = rig.rollovers.of(rig.zone).gathered(rig.zone, (), clock_sure=True)
    assume = forecast.assumptions(rig.zone, evidence, policy, DAY)
    now = int(rig.clock.now())
    assert forecast.compare(rig.keyset(), policy, policy, assume, now, now + 400 * DAY).events == ()
    shorter = replace(policy, specs=(policy.specs[0], KeySpec(Role.ZSK, 13, lifetime=30 * DAY)))
    assert forecast.compare(rig.keyset(), policy, shorter, assume, now, now + 60 * DAY).events


READER, OPERATOR = Caller(1, 61003, 61003, frozenset({"viewer"})), Caller(2, 0, 0, ALL_ROLES)


async def test_forecasts_of_disconnected_clients_delay_no_other_client() -> None:
    thread, begun = ForecastThread(), threading.Event()

    def endless(wanted: Wanted) -> None:
        begun.set()
        while wanted():
            time.sleep(0.001)
        raise Unwanted

    for _ in range(40):
        left = asyncio.ensure_future(thread.run(READER, endless))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        begun.clear()
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
    async with asyncio.timeout(2):
        assert await thread.run(OPERATOR, lambda wanted: 7) == 7
    thread.close()


async def test_one_user_does_not_take_all_forecasts() -> None:
    thread, over = ForecastThread(), threading.Event()
    work = [asyncio.ensure_future(thread.run(READER, lambda wanted: over.wait(10))) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Refused, match="2 forecasts are being computed"):
        await thread.run(READER, lambda wanted: None)
    other = asyncio.ensure_future(thread.run(OPERATOR, lambda wanted: 7))
    await asyncio.sleep(0)
    over.set()
    assert await asyncio.gather(*work, other) == [True, True, 7]
    assert await thread.run(READER, lambda wanted: 8) == 8, "and then it may again"
    thread.close()


async def test_a_simulation_ends_when_it_is_not_wanted_any_more(rig: Rig) -> None:
    asked = 0

    def wanted() -> bool:
        nonlocal asked
        asked += 1
        return asked < 3

    known = await RolloverCommands({rig.name: rig.zone}, rig.rollovers).known(rig.zone)
    now = int(rig.rollovers.engine.clock.now())
    with pytest.raises(Unwanted):
        simulate(known.keyset, rig.rollovers.policy(rig.zone), Assumptions(), now, now + 3650 * DAY, wanted)
    assert asked == 3
    with pytest.raises(Unwanted):
        forecast.loads([rig.zone], 0, 30, lambda: False)


async def test_a_calendar_says_that_it_assumes_a_backup(rig: Rig) -> None:
    """Which keys have a backup is known; when an operator makes the next one is not."""
    rig.configure('require_backup = true\nzsk = { lifetime = "30d" }')
    answer = await ask(rig, "simulate", days=60)
    assert any("confirmed backup" in note for note in answer["notes"])
    assert any(event["event"] == "confirm backup" for event in answer["events"])
    assert "confirm a backup" in answer["summary"]


async def test_a_calendar_shows_the_spare_key_that_comes_next(rig: Rig) -> None:
    made = await rig.signer.generate(text_to_wire(rig.name), "zsk", 13, store="local")
    rig.configure('keys = "given"\nzsk = { lifetime = "20d" }')
    answer = await ask(rig, "simulate", days=60)
    used = [event["key_tag"] for event in answer["events"] if event["event"] == "use spare key"]
    assert used == [made.tag]
    (note,) = answer["notes"]
    assert "no key made" in note, "the rollover after that has no key"


async def test_a_calendar_without_the_key_service_says_so(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def keys(origin: bytes) -> list[Any]:
        raise SignerError("it does not answer")

    monkeypatch.setattr(rig.signer, "keys", keys)
    answer = await ask(rig, "simulate", days=10)
    assert answer["notes"] == [
        "spare keys are not known here, because the key service did not list them: it does not answer"
    ]
