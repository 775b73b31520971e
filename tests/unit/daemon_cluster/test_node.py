"""A node renews its lease whatever its other work does, and makes no versions while it is unfit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from dnssecd.clock import SystemClock
from dnssecd.cluster import ownership
from dnssecd.cluster.errors import DatabaseAway, NameTaken, Superseded
from dnssecd.cluster.membership import Beat, NodeState
from dnssecd.cluster.ownership import Owner, Taken
from dnssecd.daemon.cluster import node as module
from dnssecd.daemon.cluster.node import AWAY, UNFIT, UNSAFE, ClusterNode
from dnssecd.ops.cluster_metrics import ClusterMetrics

ZONE = "z.test."


class Membership:
    """The row of node a; the database's clock is off by ``offset`` seconds. unsafe: why commits are not replicated."""

    def __init__(self) -> None:
        self.unsafe = ""
        self.beats: list[float] = []
        self.offset, self.error, self.taken = (
            0.0,
            cast("Exception | None", None),
            cast("Exception | None", None),
        )

    def join(self, *row: object) -> None:
        if self.taken is not None:
            raise self.taken

    def publish(self, *settings: object) -> None:
        pass

    def leave(self) -> None:
        pass

    def beat(self, unfit: str, offset: float) -> Beat:
        if self.error is not None:
            raise self.error
        self.beats.append(time.monotonic())
        state = NodeState("a", 10.0, [], "0", b"", False, unfit, offset)
        return Beat(time.time() + self.offset, {"a": state}, False, self.unsafe)


class Events:
    """The events that fire."""

    def __init__(self) -> None:
        self.firing: set[str] = set()

    def raise_event(self, name: str, zone: str | None, cause: str, **more: object) -> None:
        self.firing.add(name)

    def resolve(self, name: str, zone: str | None, subject: str = "") -> None:
        self.firing.discard(name)


class Followers:
    """What the node passes to those who follow logs: the zones that it owns."""

    def __init__(self) -> None:
        self.owned: set[str] = set()
        self.progress: dict[object, object] = {}

    def taken(self, one: Taken) -> None:
        self.owned.add(one.zone)

    def give_up_all(self) -> None:
        self.owned.clear()

    def news(self, heads: object) -> None:
        pass

    def prove_some(self) -> None:
        pass

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        pass


class Successors:
    """Has nothing to report."""

    def __init__(self, *parts: object) -> None:
        pass

    async def report(self) -> None:
        pass

    async def look(self, nodes: object) -> None:
        pass


class Rig:
    """A node a whose database has a zone of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.membership, self.events, self.followers = Membership(), Events(), Followers()
        self.slow_s, self.error = 0.0, cast("Exception | None", None)
        self.threads = ThreadPoolExecutor(4)
        monkeypatch.setattr(module, "Membership", lambda *place: self.membership)
        monkeypatch.setattr(module, "Successors", Successors)
        monkeypatch.setattr(module, "BEAT_S", 0.05)
        monkeypatch.setattr(module, "CLAIMS_S", 0.0)
        monkeypatch.setattr(module, "check_schema", lambda session: None)
        monkeypatch.setattr(module, "check_synchronous", lambda session: "")
        monkeypatch.setattr(module.settings, "settings_of", lambda config: {})
        monkeypatch.setattr(ownership, "owners", self._owners)
        config = SimpleNamespace(
            node="a", take_over_after=10, require_synchronous=False, nodes={"a": SimpleNamespace(address=())}
        )
        place = SimpleNamespace(place=SimpleNamespace(node="a", incarnation="i"), own_session=_session)
        link = SimpleNamespace(
            config=config, lease=place, database=place, previous="", joined=lambda: None, run=self._run,
            log=SimpleNamespace(heads=dict, news=lambda position: ("0", {}), refusal="", refusals=0),
        )  # fmt: skip
        whole = SimpleNamespace(server=SimpleNamespace(clock_tolerance=300), zones={ZONE: None})
        zone = SimpleNamespace(
            name=ZONE,
            cluster=SimpleNamespace(owner="", owned=False, refused="", behind_since=None, applied=1),
        )
        self.node = ClusterNode(
            cast(Any, link), lambda: cast(Any, whole), cast(Any, {ZONE: zone}), cast(Any, self.followers),
            cast(Any, self.events), SystemClock(), cast(Any, SimpleNamespace(run=asyncio.Event().wait)),
            ClusterMetrics(CollectorRegistry()), cast(Any, SimpleNamespace(run=asyncio.Event().wait)),
            cast(Any, SimpleNamespace(run=asyncio.Event().wait)),
            cast(Any, SimpleNamespace(run=asyncio.Event().wait, why_not=lambda zone: "")),
        )  # fmt: skip
        monkeypatch.setattr(self.node._news, "listen", asyncio.Event().wait)

    async def _run(self, work: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.threads, work, *args)

    def _owners(self, database: object) -> dict[str, Owner]:
        time.sleep(self.slow_s)
        if self.error is not None:
            raise self.error
        return {ZONE: Owner(ZONE, "a", 1, 1, 0.0, "")}


@contextmanager
def _session() -> Iterator[None]:
    yield


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch)


@contextmanager
def ending(rig: Rig) -> Iterator[None]:
    running = asyncio.create_task(rig.node.run())
    try:
        yield
    finally:
        running.cancel()
        rig.threads.shutdown(wait=False)


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_the_lease_is_renewed_while_other_work_is_slow(rig: Rig) -> None:
    rig.slow_s = 1.0
    with ending(rig):
        await until(lambda: len(rig.membership.beats) > 1)
        await until(lambda: rig.followers.owned)
    gaps = [
        later - earlier
        for earlier, later in zip(rig.membership.beats, rig.membership.beats[1:], strict=False)
    ]
    assert len(gaps) > 3
    assert max(gaps) < 0.8, "a heartbeat waited for the owners"


async def test_a_node_that_is_unfit_gets_none_of_its_zones(rig: Rig) -> None:
    """Its clock is wrong, and the database was away: no other node has taken its zones over."""
    rig.membership.offset = 3600.0
    with ending(rig):
        await until(lambda: UNFIT in rig.events.firing)
        for _ in range(2):
            seen = len(rig.membership.beats)
            await until(lambda seen=seen: len(rig.membership.beats) > seen + 3)
            assert not rig.followers.owned
            rig.membership.error = DatabaseAway("away", "wait")
            await until(lambda: AWAY in rig.events.firing)
            rig.membership.error = None
        rig.membership.offset = 0.0
        await until(lambda: rig.followers.owned)
        assert UNFIT not in rig.events.firing


async def test_work_that_fails_is_an_alert_until_it_succeeds(rig: Rig) -> None:
    rig.error = DatabaseAway("the table is locked", "wait")
    with ending(rig):
        await until(lambda: AWAY in rig.events.firing)
        seen = len(rig.membership.beats)
        await until(lambda: len(rig.membership.beats) > seen + 3)
        assert AWAY in rig.events.firing, "heartbeats alone do not end it"
        rig.error = None
        await until(lambda: AWAY not in rig.events.firing)
        await until(lambda: rig.followers.owned)


async def test_a_node_that_was_replaced_during_a_read_owns_nothing(rig: Rig) -> None:
    rig.slow_s = 0.5
    with ending(rig):
        await until(lambda: len(rig.membership.beats) > 1)
        rig.membership.error = Superseded("another process", "stop it")
        await until(lambda: UNFIT in rig.events.firing)
        await asyncio.sleep(0.7)
        assert not rig.followers.owned
        rig.membership.error = None
        await until(lambda: rig.followers.owned)


async def test_a_start_does_not_wait_an_hour_for_a_lease(rig: Rig) -> None:
    """The previous process died, and could not store its name; the zones that are stored are served meanwhile."""
    rig.node.link.config = cast(
        Any, SimpleNamespace(**{**vars(rig.node.link.config), "take_over_after": 3600})
    )
    rig.membership.taken = NameTaken("a node named a is running already", "wait")
    async with asyncio.timeout(5):
        await rig.node.start()
    assert UNFIT in rig.events.firing
    with ending(rig):
        await asyncio.sleep(0.2)
        assert not rig.followers.owned
        rig.membership.taken = None
        await until(lambda: rig.followers.owned)
        assert UNFIT not in rig.events.firing


async def test_a_log_that_takes_no_records_is_an_alert_until_it_takes_one(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk of the database is full: heartbeats change rows, and records need room."""
    log = cast(Any, rig.node.link.log)
    with ending(rig):
        await until(lambda: len(rig.membership.beats) > 2)
        assert AWAY not in rig.events.firing
        log.refusal, log.refusals = "the disk of the database is full", 1
        await until(lambda: AWAY in rig.events.firing)
        count = len(rig.membership.beats)
        await until(lambda: len(rig.membership.beats) > count + 3)
        assert AWAY in rig.events.firing
        log.refusal = ""
        await until(lambda: AWAY not in rig.events.firing)
        monkeypatch.setattr(module, "REFUSED_S", 0.2)
        log.refusal, log.refusals = "the disk of the database is full", 2
        await until(lambda: AWAY in rig.events.firing)
        await until(lambda: AWAY not in rig.events.firing)


@pytest.mark.parametrize("required", [True, False])
async def test_a_database_that_lost_its_standby_is_noticed_at_the_next_heartbeat(
    rig: Rig, *, required: bool
) -> None:
    """It failed over to a server that has no standby of its own."""
    rig.node.link.config.require_synchronous = required  # type: ignore[misc]
    with ending(rig):
        await until(lambda: rig.followers.owned)
        assert UNSAFE not in rig.events.firing
        rig.membership.unsafe = "the database has no synchronous standby"
        await until(lambda: UNSAFE in rig.events.firing)
        assert bool(rig.followers.owned) is not required
        assert (UNFIT in rig.events.firing) is required
        rig.membership.unsafe = ""
        await until(lambda: rig.followers.owned and UNSAFE not in rig.events.firing)
        assert UNFIT not in rig.events.firing


async def test_a_node_that_cannot_sign_now_says_so_and_looks_after_its_zones(rig: Rig) -> None:
    """Proofs of all zones take minutes; a token that fails is known at once."""
    whys, ran = ["key store hsm cannot be used"], asyncio.Event()

    async def run() -> None:
        ran.set()
        await asyncio.Event().wait()

    rig.node._step_down = cast(Any, SimpleNamespace(run=run, why_not=lambda zone: whys[0]))
    rig.followers.ready = lambda zone: ""  # type: ignore[attr-defined]
    rig.node.comparison = cast(Any, SimpleNamespace(why_not=lambda name, nodes: "", compare=_compare))
    zone = rig.node._zones[ZONE]
    assert rig.node.why_not(zone) == "key store hsm cannot be used"
    whys[0] = ""
    assert rig.node.why_not(zone) == ""
    with ending(rig):
        await until(ran.is_set)


async def _compare(nodes: object) -> None:
    pass
