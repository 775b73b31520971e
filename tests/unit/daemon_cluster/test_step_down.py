"""An owner that cannot sign gives its zones to a node that can: late, once, and never without such a node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from dnssecd.cluster import ownership, retention
from dnssecd.cluster.errors import DatabaseAway, DatabaseRefused
from dnssecd.cluster.ownership import Target
from dnssecd.daemon.cluster.step_down import (
    AT_ONCE,
    LOOK_S,
    PAUSE_S,
    PROOFS_AT_ONCE,
    UNABLE_S,
    UNTAKEN_S,
    StepDown,
)
from dnssecd.daemon.zones.rooms import ClusterRoom
from dnssecd.ops.cluster_metrics import ClusterMetrics

FAILED = SimpleNamespace(event="signing-failed")
WHY = "key 7 cannot be proved by this node's key service: token a: no answer"


class Zone:
    """What is looked at of a zone that this node owns."""

    def __init__(self, name: str) -> None:
        self.name, self.serial, self.gone = name, cast("int | None", 1), False
        self.problems: list[SimpleNamespace] = []
        self.keys: SimpleNamespace | None = None
        self.cluster = ClusterRoom(cast(Any, SimpleNamespace(epoch=1)))
        self.spec = SimpleNamespace(
            keys=[SimpleNamespace(keystore="hsm"), SimpleNamespace(keystore="safe")], offline=("safe",)
        )

    @property
    def owned(self) -> bool:
        return self.cluster.owned

    @property
    def signed_elsewhere(self) -> bool:
        return self.cluster.signed_elsewhere


class Rig:
    """Node a of a, b and c. ``able``: which can take any zone; ``down``: why its key service does not answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *names: str, after_s: int = 10) -> None:
        self.zones = {name: Zone(name) for name in names}
        self.down, self.stores, self.why = "", set[str](), WHY
        self.able, self.now = ["b", "c"], 1000.0
        self.proved: list[str] = []
        self.moves: list[Mapping[str, Target]] = []
        self.move_to: dict[str, str] = {}
        self.withdrawn: list[Mapping[str, str]] = []
        self.error: Exception | None = None
        self.metrics = ClusterMetrics(CollectorRegistry())
        monkeypatch.setattr(retention, "able_nodes", self._able)
        monkeypatch.setattr(ownership, "moves", self._moves)
        monkeypatch.setattr(ownership, "give_up", self._give_up)
        monkeypatch.setattr(ownership, "withdraw", self._withdraw)
        nodes = {"a": None, "b": None, "c": None}
        config = SimpleNamespace(node="a", nodes=nodes, take_over_after=after_s)
        link = SimpleNamespace(config=config, database=None, run=self._run)
        clock = SimpleNamespace(monotonic=lambda: self.now)
        self.step_down = StepDown(
            cast(Any, link), cast(Any, self.zones), self._why_unusable, cast(Any, self._prove), cast(Any, clock),
            self.metrics,
        )  # fmt: skip

    async def _run(self, work: Callable[..., object], *args: object) -> object:
        return work(*args)

    def _why_unusable(self, stores: Iterable[str]) -> str:
        return self.down or next((f"key store {one}" for one in stores if one in self.stores), "")

    async def _prove(self, zone: Zone) -> str:
        self.proved.append(zone.name)
        return self.why

    def _able(self, database: None, zones: list[str], others: list[str]) -> dict[str, list[str]]:
        assert others == ["b", "c"]
        if self.error is not None:
            raise self.error
        return {zone: self.able for zone in zones if self.able}

    def _moves(self, database: None, zones: list[str]) -> dict[str, str]:
        return {zone: self.move_to[zone] for zone in zones if zone in self.move_to}

    def _give_up(self, database: None, node: str, zones: Mapping[str, Target]) -> list[str]:
        assert node == "a"
        assert all(self.move_to.get(name, "") == target.before for name, target in zones.items())
        self.moves.append(zones)
        self.move_to |= {name: target.node for name, target in zones.items()}
        return list(zones)

    def _withdraw(self, database: None, node: str, zones: Mapping[str, str]) -> list[str]:
        assert node == "a"
        self.withdrawn.append(zones)
        for name in zones:
            del self.move_to[name]
        return list(zones)

    async def looks(self, seconds: float) -> None:
        """Look as often as the task does, from now until ``seconds`` later."""
        end = self.now + seconds
        await self.step_down.look()
        while self.now + LOOK_S <= end:
            self.now += LOOK_S
            await self.step_down.look()
        self.now = end

    @property
    def moved(self) -> dict[str, str]:
        return {name: target.node for move in self.moves for name, target in move.items()}


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch, "z.test.")


async def test_a_zone_whose_key_store_fails_is_given_up(rig: Rig) -> None:
    rig.stores = {"hsm"}
    await rig.looks(UNABLE_S - LOOK_S)
    assert not rig.moves
    assert not rig.proved, "what is known without asking is no reason to ask"
    await rig.looks(LOOK_S)
    assert rig.moves == [{"z.test.": Target(ownership.preferred("z.test.", ["b", "c"]), "")}]
    room = rig.zones["z.test."].cluster
    assert room.keys == WHY, "its next report says that it cannot take the zone back"
    assert rig.metrics.given_up._value.get() == 1


async def test_so_is_each_zone_when_the_key_service_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, "x.test.", "y.test.", "z.test.")
    rig.down = "the key service does not answer"
    await rig.looks(UNABLE_S)
    assert set(rig.moved) == {"x.test.", "y.test.", "z.test."}


async def test_and_a_zone_whose_keys_are_lost(rig: Rig) -> None:
    """The key store is well; the last job of the zone could not sign."""
    rig.zones["z.test."].problems = [FAILED]
    await rig.looks(UNABLE_S - LOOK_S)
    assert rig.proved
    assert not rig.moves
    await rig.looks(2 * LOOK_S)
    assert rig.moved


async def test_a_long_lease_makes_it_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, "z.test.", after_s=60)
    rig.stores = {"hsm"}
    await rig.looks(50)
    assert not rig.moves
    await rig.looks(10)
    assert rig.moves


@pytest.mark.parametrize("evidence", ["store", "problem"])
async def test_a_single_failure_moves_nothing_however_old_it_is(rig: Rig, evidence: str) -> None:
    async def fail() -> None:
        rig.stores = {"hsm"} if evidence == "store" else set()
        rig.zones["z.test."].problems = [FAILED] if evidence == "problem" else []
        await rig.step_down.look()

    for _ in range(4):
        await fail()
        rig.now += 10 * UNABLE_S
        await fail()
        rig.stores, rig.zones["z.test."].problems = set(), []
        await rig.step_down.look()
        rig.now += LOOK_S
    assert not rig.moves


async def test_nothing_moves_while_the_keys_can_be_proved(rig: Rig) -> None:
    """One of several tokens works, or the store that fails has no key that the zone uses."""
    rig.stores, rig.why = {"hsm"}, ""
    await rig.looks(5 * UNABLE_S)
    assert rig.proved
    assert not rig.moves
    rig.stores, rig.zones["z.test."].problems = set(), [FAILED]
    await rig.looks(5 * UNABLE_S)
    assert not rig.moves


async def test_a_proof_that_works_ends_the_count(rig: Rig) -> None:
    rig.zones["z.test."].problems = [FAILED]
    await rig.looks(UNABLE_S - LOOK_S)
    rig.why = ""
    await rig.looks(LOOK_S)
    rig.why = WHY
    rig.now += LOOK_S
    await rig.looks(UNABLE_S - LOOK_S)
    assert not rig.moves


async def test_an_offline_key_store_that_is_away_is_none_of_its_business(rig: Rig) -> None:
    rig.stores = {"safe"}
    await rig.looks(5 * UNABLE_S)
    assert not rig.proved
    rig.zones["z.test."].spec.keys = []
    rig.down = "the key service does not answer"
    await rig.looks(5 * UNABLE_S)
    assert not rig.proved, "a zone without keys of its own needs no key service"


async def test_nothing_moves_while_no_node_is_able(rig: Rig) -> None:
    rig.stores, rig.able = {"hsm"}, []
    await rig.looks(5 * UNABLE_S)
    assert not rig.moves
    rig.able = ["c"]
    await rig.looks(2 * LOOK_S)
    assert rig.moved == {"z.test.": "c"}


@pytest.mark.parametrize("evidence", ["rollover", "signed elsewhere"])
async def test_and_a_zone_whose_rollover_fails_or_that_it_took_over_and_cannot_sign(
    rig: Rig, evidence: str
) -> None:
    """No job fails there: a rollover tries by itself, and all jobs wait for the first version after a take-over."""
    zone = rig.zones["z.test."]
    zone.keys = SimpleNamespace(failures=int(evidence == "rollover"))
    zone.cluster.signed_elsewhere = evidence == "signed elsewhere"
    await rig.looks(UNABLE_S)
    assert rig.moved


async def test_a_zone_is_given_up_once_in_ten_minutes(rig: Rig) -> None:
    """The other node may give it back."""
    rig.stores, rig.able = {"hsm"}, ["b"]
    await rig.looks(UNABLE_S)
    assert len(rig.moves) == 1
    rig.move_to.clear()
    await rig.looks(PAUSE_S - LOOK_S)
    assert len(rig.moves) == 1
    await rig.looks(2 * LOOK_S)
    assert rig.moves[1:] == [{"z.test.": Target("b", "")}]


async def test_another_node_is_named_when_the_first_one_fails(rig: Rig) -> None:
    rig.stores, rig.able = {"hsm"}, ["b"]
    await rig.looks(UNABLE_S)
    rig.able = ["c"]
    await rig.looks(2 * LOOK_S)
    assert rig.moves[1:] == [{"z.test.": Target("c", "b")}]


async def test_a_node_that_does_not_take_the_zone_is_passed_over(rig: Rig) -> None:
    """Its report may be wrong: a node that could not store another one, or of a version that stores none."""
    rig.stores = {"hsm"}
    await rig.looks(UNABLE_S)
    first, second = rig.moved["z.test."], ({"b", "c"} - set(rig.moved.values())).pop()
    await rig.looks(UNTAKEN_S - LOOK_S)
    assert len(rig.moves) == 1
    await rig.looks(2 * LOOK_S)
    assert rig.moves[1:] == [{"z.test.": Target(second, first)}]


async def test_where_no_other_node_can_the_move_stays_as_it_is(rig: Rig) -> None:
    rig.stores, rig.able = {"hsm"}, ["b"]
    await rig.looks(2 * PAUSE_S)
    assert len(rig.moves) == 1


async def test_a_move_from_an_earlier_process_holds_nothing_up(rig: Rig) -> None:
    """It may be an operator's, too: a node that can take the zone gets the time for that."""
    rig.stores, rig.move_to = {"hsm"}, {"z.test.": "b"}
    await rig.looks(UNABLE_S + LOOK_S)
    assert not rig.moves
    await rig.looks(UNTAKEN_S + LOOK_S)
    assert rig.moves == [{"z.test.": Target("c", "b")}]


async def test_a_move_to_a_node_that_cannot_take_the_zone_is_no_obstacle(rig: Rig) -> None:
    rig.stores, rig.able, rig.move_to = {"hsm"}, ["c"], {"z.test.": "b"}
    await rig.looks(UNABLE_S)
    assert rig.moves == [{"z.test.": Target("c", "b")}]


async def test_a_node_that_can_sign_again_keeps_what_was_not_taken_yet(rig: Rig) -> None:
    rig.stores, rig.able = {"hsm"}, ["b"]
    await rig.looks(UNABLE_S)
    rig.stores = set()
    await rig.looks(5 * LOOK_S)
    assert rig.withdrawn == [{"z.test.": "b"}]


async def test_so_does_one_whose_last_job_failed_before(rig: Rig) -> None:
    """The problems of a job stay until the next load."""
    rig.zones["z.test."].problems, rig.able = [FAILED], ["b"]
    await rig.looks(UNABLE_S)
    assert rig.moved
    rig.why = ""
    await rig.looks(2 * LOOK_S)
    assert rig.withdrawn == [{"z.test.": "b"}]


@pytest.mark.parametrize("what", ["epoch", "serial", "gone"])
async def test_only_zones_that_this_node_signs_are_looked_at(rig: Rig, what: str) -> None:
    rig.stores = {"hsm"}
    zone = rig.zones["z.test."]
    await rig.looks(UNABLE_S - LOOK_S)
    match what:
        case "epoch":
            zone.cluster.log.epoch = None
        case "serial":
            zone.serial = None
        case "gone":
            zone.gone = True
    await rig.looks(5 * UNABLE_S)
    assert not rig.proved
    assert not rig.moves


async def test_a_look_has_a_bound_and_all_zones_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, *(f"{number}.test." for number in range(2 * AT_ONCE + 10)))
    rig.stores = {"hsm"}
    await rig.looks(UNABLE_S - LOOK_S)
    rig.now += LOOK_S
    soon = []
    for count in (AT_ONCE, 2 * AT_ONCE, 2 * AT_ONCE + 10):
        soon.append(await rig.step_down.look())
        assert len(rig.proved) == len(rig.moved) == count
        rig.now += 1.0
    assert soon == [True, True, False]


@pytest.mark.parametrize(("why", "able"), [("", ["b"]), (WHY, [])])
async def test_it_does_not_hurry_where_nothing_can_move(
    monkeypatch: pytest.MonkeyPatch, why: str, able: list[str]
) -> None:
    rig = Rig(monkeypatch, *(f"{number}.test." for number in range(2 * AT_ONCE)))
    rig.stores, rig.why, rig.able = {"hsm"}, why, able
    await rig.looks(UNABLE_S - LOOK_S)
    rig.now += LOOK_S
    assert not await rig.step_down.look()
    assert rig.proved


async def test_few_proofs_are_made_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A smart card makes a few signatures in a second: proofs that wait for one another would look like failures."""
    rig = Rig(monkeypatch, *(f"{number}.test." for number in range(AT_ONCE)))
    running, most = 0, 0

    async def prove(zone: Zone) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return ""

    rig.step_down._prove = cast(Any, prove)
    for zone in rig.zones.values():
        zone.problems = [FAILED]
    await rig.step_down.look()
    assert most == PROOFS_AT_ONCE


async def test_many_zones_whose_keys_are_lost_are_proved_without_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = Rig(monkeypatch, *(f"{number}.test." for number in range(2 * AT_ONCE)))
    for zone in rig.zones.values():
        zone.problems = [FAILED]
    assert await rig.step_down.look()
    assert not rig.moves


async def test_a_zone_that_is_lost_during_the_proof_is_not_given_up(rig: Rig) -> None:
    rig.stores = {"hsm"}
    await rig.looks(UNABLE_S - LOOK_S)
    rig.now += LOOK_S
    room = rig.zones["z.test."].cluster

    async def prove(zone: Zone) -> str:
        room.log.epoch = None
        return WHY

    rig.step_down._prove = cast(Any, prove)
    await rig.step_down.look()
    assert not rig.moves


async def test_while_the_database_is_away_it_waits(rig: Rig) -> None:
    rig.stores, rig.error = {"hsm"}, DatabaseAway("away", "wait")
    await rig.looks(UNABLE_S - LOOK_S)
    rig.now += LOOK_S
    with pytest.raises(DatabaseAway):
        await rig.step_down.look()
    rig.error = None
    rig.now += LOOK_S
    await rig.step_down.look()
    assert rig.moved


async def test_a_database_that_refuses_is_counted(rig: Rig) -> None:
    """The heartbeat works, so no alert says that the database is away."""
    rig.stores, rig.error = {"hsm"}, DatabaseRefused("permission denied", "grant it")
    await rig.looks(UNABLE_S - LOOK_S)
    rig.now += LOOK_S
    task = asyncio.create_task(rig.step_down.run())
    async with asyncio.timeout(5):
        while not rig.metrics.failures.labels("step down")._value.get():
            await asyncio.sleep(0)
    task.cancel()


async def test_it_says_that_it_cannot_take_over_what_it_could_not_sign(rig: Rig) -> None:
    zone = cast(Any, rig.zones["z.test."])
    assert not rig.step_down.why_not(zone)
    rig.stores = {"hsm"}
    assert rig.step_down.why_not(zone) == "key store hsm"
