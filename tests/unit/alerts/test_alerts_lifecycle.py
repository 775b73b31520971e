"""The automaton of one alert on any sequence of events and times."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnssecd.ops.alerts import digest, lifecycle
from dnssecd.ops.alerts.grouping import GAP_S, PER_HOUR_MAX, Budget
from dnssecd.ops.alerts.lifecycle import DAY, HOUR, Alert, Settings
from dnssecd.ops.event_kinds import EVENT_KINDS
from dnssecd.replacing import replace
from dnssecd.store.event_log import Event

Deed = Literal["fire", "end", "ack", "wait"]
DEEDS = st.lists(
    st.tuples(st.sampled_from(["fire", "end", "ack", "wait"]), st.sampled_from([1, 30, 400, 4_000, 90_000])),
    max_size=25,
)


def event(name: str, now: float) -> Event:
    kind = EVENT_KINDS[name]
    return Event(name, "z.", "", kind.severity, "x", kind.effect, kind.remedy, True, now, now, 1)


class World:
    """One event and its alert; the messages sent, in order."""

    def __init__(self, name: str) -> None:
        self.name, self.now = name, 1e9
        self.event: Event | None = None
        self.alert: Alert | None = None
        self.told: list[tuple[float, str]] = []

    def do(self, deed: Deed) -> None:
        if deed == "fire" and self.event is None:
            self.event = event(self.name, self.now)
            self.alert = lifecycle.fires(self.alert, self.event, self.now)
        elif deed == "end" and self.event is not None:
            self.alert = lifecycle.ends(self.alert, replace(self.event, firing=False), self.now)
            self.event = None
        elif deed == "ack" and self.event is not None:
            self.event = replace(self.event, acked_by="alice", acked_at=self.now)
            self.alert = lifecycle.fires(self.alert, self.event, self.now)

    def wait(self, seconds: float) -> None:
        """Time passes; what falls due is told at its time."""
        until = self.now + seconds
        while self.alert is not None:
            step = lifecycle.next_step(self.alert, Settings(DAY))
            if step is None or step[0] > until:
                break
            self.now = max(self.now, step[0])
            self.told.append((self.now, step[1]))
            self.alert = lifecycle.told(self.alert, step[1], self.now, f"<{len(self.told)}>")
            assert len(self.told) < 500, "it must not ring for ever at one moment"
        self.now = until


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(["runway-low", "ds-missing", "secondary-lagging", "verification-failed"]),
    deeds=DEEDS,
)
def test_any_history(name: str, deeds: list[tuple[Deed, float]]) -> None:
    world = World(name)
    known = False
    for deed, seconds in deeds:
        world.do(deed)
        before = len(world.told)
        world.wait(seconds)
        for _, step in world.told[before:]:
            if step in ("firing", "passed"):
                assert not known, "told anew what people know"
                known = step == "firing"
            else:
                assert known, f"{step} of what nobody was told of"
                known = step != "resolved"
    gaps = [b[0] - a[0] for a, b in zip(world.told, world.told[1:], strict=False)]
    assert sum(gap < 10 for gap in gaps) <= len(deeds)
    firing = world.event is not None
    world.wait(HOUR)
    last = world.told[-1][1] if world.told else None
    assert (last in (None, "resolved", "passed")) != firing, "in the end people know how it is"


@pytest.mark.parametrize("acked", [False, True])
def test_runway_low_rings_until_it_is_over(acked: bool) -> None:
    world = World("runway-low")
    world.do("fire")
    world.wait(60)
    if acked:
        world.do("ack")
    world.wait(10 * DAY)
    steps = [step for _, step in world.told]
    assert steps.count("escalated") == 1
    assert steps.count("reminder") >= 55


def test_the_deadline_sets_the_pace() -> None:
    alert = lifecycle.fires(None, event("runway-low", 0.0), 0.0, deadline=8 * HOUR)
    alert = lifecycle.told(alert, "firing", 10.0, "<1>")
    assert lifecycle.escalates_at(alert, Settings(DAY)) == 4 * HOUR
    assert lifecycle.reminds_at(alert) == pytest.approx(2 * HOUR, abs=60)
    late = replace(alert, told_at=8 * HOUR - 60)
    assert lifecycle.reminds_at(late) - late.told_at == lifecycle.REMIND_MIN_S  # type: ignore[operator]
    past = replace(alert, told_at=9 * HOUR)
    assert lifecycle.reminds_at(past) == 10 * HOUR


def test_budget_gap_and_hour() -> None:
    budget = Budget()
    assert budget.free_at("trouble", 0.0, urgent=False) <= 0.0
    for number in range(PER_HOUR_MAX):
        budget.note("trouble", number * GAP_S)
    last = (PER_HOUR_MAX - 1) * GAP_S
    assert budget.free_at("trouble", last, urgent=True) == last + GAP_S
    assert budget.free_at("trouble", last, urgent=False) == HOUR
    assert budget.free_at("over", last, urgent=False) == last
    assert budget.free_at("trouble", last - DAY, urgent=False) == last - DAY, "the clock was set back"


@pytest.mark.parametrize(
    ("rhythm", "last", "due"),
    [
        ("never", 0.0, None),
        ("daily", None, 60.0),
        ("daily", 6 * HOUR - 1, 6 * HOUR),
        ("daily", 6 * HOUR, DAY + 6 * HOUR),
        ("weekly", 0.0, 4 * DAY + 6 * HOUR),
        ("weekly", 4 * DAY + 6 * HOUR, 11 * DAY + 6 * HOUR),
    ],
)
def test_when_the_digest_is_due(rhythm: digest.Rhythm, last: float | None, due: float | None) -> None:
    assert digest.due_at(rhythm, last, 0.0) == due
