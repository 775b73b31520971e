"""What comes in very many zones: alike ones share a forecast, those with a step soon get their own."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dnssecd.clock import FakeClock
from dnssecd.control.command import Refused
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.keystate import Role
from dnssecd.core.keys.simulate import Assumptions, simulate
from dnssecd.core.keys.summary import Hands
from dnssecd.core.keys.types import KeySpec, RolloverPolicy
from dnssecd.daemon.commands.forecast import Basis
from dnssecd.daemon.page import ahead
from dnssecd.daemon.page.ahead import ComingSteps
from dnssecd.replacing import replace

DAY = 86_400
SPECS = (KeySpec(Role.KSK, 13, lifetime=200 * DAY), KeySpec(Role.ZSK, 13, lifetime=60 * DAY))
POLICY, ASSUME = RolloverPolicy(SPECS), Assumptions()


class Forecasts:
    """Makes forecasts of zones, and counts them. refuse: names of zones that have none."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock, self.made, self.refuse = clock, list[str](), set[str]()

    async def basis(self, zone: Any, *, tags: bool = True) -> Basis:
        assert not tags, "the key service is not asked for each zone"
        if zone.name in self.refuse:
            raise Refused("not now", "later")
        keyset = zone.keys.committed.keyset
        return Basis(keyset, keyset, POLICY, ASSUME, Hands.PERSON, int(self.clock.now()), [])

    async def look_from(self, caller: object, name: str, basis: Basis, days: int) -> Any:
        self.made.append(name)
        stop = basis.start + days * DAY
        return SimpleNamespace(ahead=simulate(basis.approved, POLICY, ASSUME, basis.start, stop))


class Zone(SimpleNamespace):
    """A zone is known by its object."""

    __hash__ = object.__hash__


def made(number: int, born: int, now: int) -> Any:
    name = f"z{number:04}"
    keyset = simulate(Keyset(bytes([5]) + name.encode() + b"\x00"), POLICY, ASSUME, born, now).keyset
    keys = SimpleNamespace(committed=SimpleNamespace(keyset=keyset))
    return Zone(name=f"{name}.", gone=False, serial=1, keys=keys)


class World:
    def __init__(self, number: int, age: int = 10 * DAY) -> None:
        self.clock = FakeClock(1_700_000_000)
        now = int(self.clock.now())
        # Forty minutes between the first and the last zone: as long as a first start may take.
        self.zones = {zone.name: zone for zone in (made(n, now - age + 8 * n, now) for n in range(number))}
        self.forecasts = Forecasts(self.clock)
        self.steps = ComingSteps(self.zones, cast(Any, self.forecasts), self.clock)

    async def look(self, until: Any) -> None:
        task = asyncio.create_task(self.steps.run())
        try:
            async with asyncio.timeout(60):
                while not until() and not task.done():
                    await asyncio.sleep(0.01)
        finally:
            task.cancel()
        assert not task.done()


async def test_alike_zones_share_a_forecast() -> None:
    world = World(300)
    await world.look(lambda: world.steps.list_all()[1] == 300)
    entries, _ = world.steps.list_all()
    assert len(world.forecasts.made) < 10
    by_zone = {name: [entry for entry in entries if entry.zone == name] for name in world.zones}
    tags = {name: {key.tag for key in zone.keys.committed.keyset.keys} for name, zone in world.zones.items()}
    first = by_zone["z0000."]
    for name, mine in by_zone.items():
        assert [entry.act for entry in mine] == [entry.act for entry in first]
        named = {
            int(word) for entry in mine for word in entry.what.replace(",", "").split() if word.isdigit()
        }
        assert named <= tags[name], "the tags are the zone's own"


async def test_a_zone_with_a_step_soon_gets_its_own_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "ROUND_S", 0.01)
    world = World(12, age=57 * DAY)
    await world.look(lambda: len(set(world.forecasts.made)) == 12)
    now = int(world.clock.now())
    for name, zone in world.zones.items():
        keyset = zone.keys.committed.keyset
        own = simulate(keyset, POLICY, ASSUME, now, now + 400 * DAY).events
        begins = [event.at for event in own if event.event == "generate"]
        entries = [entry for entry in world.steps.list_all()[0] if entry.zone == name and not entry.act]
        assert [entry.at for entry in entries] == begins


async def test_a_changed_key_set_and_a_refusal_are_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "ROUND_S", 0.01)
    world = World(3)
    world.forecasts.refuse = {"z0001."}
    await world.look(lambda: world.steps.list_all()[1] == 3)
    assert {entry.zone for entry in world.steps.list_all()[0]} == {"z0000.", "z0002."}
    world.forecasts.refuse.clear()
    world.clock.advance(ahead.FAILED_LASTS_S + 1)
    committed = world.zones["z0002."].keys.committed
    committed.keyset = replace(committed.keyset, keys=())
    made = len(world.forecasts.made)
    await world.look(lambda: "z0001." in {entry.zone for entry in world.steps.list_all()[0]})
    await world.look(lambda: len(world.forecasts.made) > made)
