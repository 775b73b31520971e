"""What prevents take-overs is reported by each node, and the owner reports zones that no other node can take over."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from dnssecd.cluster import retention
from dnssecd.cluster.errors import DatabaseAway
from dnssecd.cluster.membership import NodeState
from dnssecd.cluster.retention import Progress
from dnssecd.daemon.cluster.successors import AFTER_S, IMPOSSIBLE, LOOK_S, Successors
from dnssecd.ops.cluster_metrics import ClusterMetrics


class Zone:
    """What is looked at of a zone."""

    def __init__(self, name: str, room: SimpleNamespace) -> None:
        self.name, self.cluster, self.owned = name, room, False


def state(name: str, *, alive_s: float = 9.0, draining: bool = False, unfit: str = "") -> NodeState:
    return NodeState(name, alive_s, [], "0", b"", draining, unfit, 0.0)


class Rig:
    """Node a with one zone; ``whys``: what the database says of zones without successor."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = SimpleNamespace(
            owned=False, applied=3, refused="", hindrance=None, alone=False, alone_since=None
        )
        self.zone = Zone("z.test.", self.room)
        self.why, self.now, self.error = "", 0.0, cast("Exception | None", None)
        self.stored: list[dict[str, Progress]] = []
        self.whys: dict[str, dict[str, str]] = {}
        self.firing: dict[str, str] = {}
        self.followers = SimpleNamespace(progress={})
        self.metrics = ClusterMetrics(CollectorRegistry())
        monkeypatch.setattr(retention, "report_applied", self._store)
        monkeypatch.setattr(retention, "without_successor", lambda *_: self.whys)
        link = SimpleNamespace(
            config=SimpleNamespace(node="a", nodes={"a": None, "b": None, "c": None}),
            database=None,
            run=self._run,
        )
        events = SimpleNamespace(
            firing=lambda: [SimpleNamespace(name=IMPOSSIBLE, zone=zone) for zone in self.firing],
            raise_event=lambda name, zone, cause: self.firing.update({zone: cause}),
            resolve=lambda name, zone: self.firing.pop(zone),
        )
        clock = SimpleNamespace(monotonic=lambda: self.now)
        self.successors = Successors(
            cast(Any, link), cast(Any, {"z.test.": self.zone}), cast(Any, self.followers), cast(Any, events),
            cast(Any, clock), self.metrics, lambda zone: self.why,
        )  # fmt: skip

    async def _run(self, work: Callable[..., object], *args: object) -> object:
        return work(*args)

    def _store(self, database: None, node: str, zones: dict[str, Progress]) -> None:
        if self.error is not None:
            raise self.error
        self.stored.append(zones)

    async def look(self, after_s: float, *nodes: NodeState) -> None:
        self.now += after_s
        await self.successors.look({one.name: one for one in nodes})


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch)


async def test_a_hindrance_is_stored_when_it_changes(rig: Rig) -> None:
    for why in ("", "a key has not come", "", "other settings"):
        rig.why = why
        for _ in range(3):
            await rig.successors.report()
        assert rig.stored.pop() == {"z.test.": Progress(3, "", why)}
        assert not rig.stored, "once"


async def test_a_report_that_failed_is_made_again(rig: Rig) -> None:
    rig.followers.progress[rig.zone] = Progress(4)
    rig.error = DatabaseAway("away", "wait")
    with pytest.raises(DatabaseAway):
        await rig.successors.report()
    rig.error = None
    await rig.successors.report()
    assert rig.stored == [{"z.test.": Progress(4)}]


async def test_what_hinders_the_owner_is_no_hindrance(rig: Rig) -> None:
    rig.room.owned = rig.zone.owned = True
    rig.why = "a reason"
    rig.followers.progress[rig.zone] = Progress(4)
    await rig.successors.report()
    await rig.successors.report()
    assert rig.stored == [{"z.test.": Progress(4)}]


async def test_a_zone_without_successor_is_reported_after_a_minute(rig: Rig) -> None:
    rig.room.owned = rig.zone.owned = True
    rig.whys = {"z.test.": {"b": "key 1 has not come", "c": ""}, "other.test.": {}}
    await rig.look(0.0)
    await rig.look(AFTER_S / 2)
    assert not rig.firing
    assert not rig.room.alone
    await rig.look(AFTER_S, state("b"), state("c", alive_s=-1.0))
    assert rig.firing == {"z.test.": "node b cannot: key 1 has not come; node c is away"}
    assert rig.room.alone
    assert rig.metrics.alone._value.get() == 1.0
    await rig.look(LOOK_S, state("b", draining=True), state("c", unfit="its clock"))
    assert rig.firing == {"z.test.": "node b is draining; node c may not make versions"}
    rig.whys = {"z.test.": {}}
    await rig.look(LOOK_S, state("b"))
    assert rig.firing == {"z.test.": "node b does not have the zone; node c never joined the cluster"}
    rig.whys = {}
    await rig.look(LOOK_S / 2)
    assert rig.firing, "it is looked at every few seconds"
    await rig.look(LOOK_S)
    assert not rig.firing
    assert not rig.room.alone
    assert rig.metrics.alone._value.get() == 0.0


async def test_one_that_a_previous_process_reported_is_resolved(rig: Rig) -> None:
    rig.firing["z.test."] = "node b is away"
    await rig.look(0.0, state("b"))
    assert not rig.firing
