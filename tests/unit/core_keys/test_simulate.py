"""The forecast, its picture, and the plan after a compromise."""

import time
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest

from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.keyset import DIGEST_SHA256, DIGEST_SHA384, Keyset, ds_rdata
from dnssecd.core.keys.keystate import Rec, Role, State
from dnssecd.core.keys.recovery import recovery_plan
from dnssecd.core.keys.simulate import Assumptions, Outage, Simulation, Span, simulate
from dnssecd.core.keys.timeline_axis import ticks
from dnssecd.core.keys.timeline_svg import BAR_MIN, KEYS_MAX, Flag, render_svg

from .bench import APEX, DAY, HOUR, ksk_zsk, policy, running

START = 1_750_000_000


def forecast(days: int = 400, **kwargs: object) -> Simulation:
    assume = Assumptions(**kwargs)  # type: ignore[arg-type]
    rolling = policy((*ksk_zsk(lifetime=90 * DAY),))
    return simulate(Keyset(APEX), rolling, assume, START, START + days * DAY)


def test_400_days_take_about_a_second_and_come_out_the_same() -> None:
    began = time.process_time()
    first = forecast()
    assert time.process_time() - began < 5
    assert first == forecast()
    assert sum(event.event == "submit ds" for event in first.events) == 5
    assert all(before.at <= after.at for before, after in zip(first.events, first.events[1:], strict=False))


def test_a_parent_that_never_acts_stops_ksk_rollovers_only() -> None:
    events = forecast(ds_delay=None).events
    assert not [event for event in events if event.event.startswith("ds omni")]
    assert sum(event.event == "generate" and event.role == "zsk" for event in events) >= 4


def test_an_outage_of_the_secondaries_delays_what_waits_for_them() -> None:
    def omnipresent(simulation: Simulation) -> int:
        return next(event.at for event in simulation.events if event.event == "dnskey omnipresent")

    late = forecast(days=30, outages=(Outage("secondaries", START, START + 5 * DAY),))
    assert omnipresent(late) - omnipresent(forecast(days=30)) >= 5 * DAY - HOUR


def test_it_continues_from_a_zone_in_the_middle_of_a_rollover() -> None:
    bench = running()
    bench.keyset = commands.roll_over(bench.keyset, Role.KSK)
    bench.step()
    ahead = simulate(bench.keyset, bench.policy, Assumptions(), bench.now, bench.now + 30 * DAY)
    assert [key.role for key in ahead.keyset.keys] == [Role.ZSK, Role.KSK]
    assert not [event for event in ahead.events if event.event == "generate"]


def test_a_ds_that_is_awaited_at_the_start_comes_after_the_delay() -> None:
    bench = running()
    bench.keyset = commands.roll_over(bench.keyset, Role.KSK)
    bench.step()
    for _ in range(3):
        bench.secondaries_follow()
        bench.wait(DAY)
    assert [key.ds.state for key in bench.keyset.keys if key.role is Role.KSK] == [
        State.UNRETENTIVE,
        State.RUMOURED,
    ]
    ahead = simulate(bench.keyset, bench.policy, Assumptions(ds_delay=DAY), bench.now, bench.now + 30 * DAY)
    ksks = [key for key in ahead.keyset.keys if key.role is Role.KSK]
    assert [key.ds.state for key in ksks if key.goal.value == "present"] == [State.OMNIPRESENT]
    at = next(event.at for event in ahead.events if event.event == "ds omnipresent")
    assert at >= bench.now + DAY


def test_what_a_changed_policy_would_do() -> None:
    bench = running(ksk_zsk(8))
    ahead = simulate(bench.keyset, policy(ksk_zsk(13)), Assumptions(), bench.now, bench.now + 60 * DAY)
    assert {key.algorithm for key in ahead.keyset.keys} == {13}
    assert {key.algorithm for key in bench.keyset.keys} == {8}


SVG = "{http://www.w3.org/2000/svg}"


def bars_of(text: str) -> list[ElementTree.Element]:
    """The bars of a picture: rectangles that say what they are."""
    root = ElementTree.fromstring(text)
    return [rect for rect in root.iter(f"{SVG}rect") if rect.find(f"{SVG}title") is not None]


def test_the_picture() -> None:
    simulation = forecast(days=120)
    text = render_svg(simulation.spans, START, START + 120 * DAY, "keys of <example.> & co")
    bars = bars_of(text)
    shown = [span for span in simulation.spans if span.state is not State.HIDDEN]
    assert len(bars) == len(shown)
    assert all(float(bar.attrib["x"]) + float(bar.attrib["width"]) <= 1_000 for bar in bars)
    assert "23 Jun 2025" in text
    assert "style" not in text  # a page that allows no inline styles contains it


@pytest.mark.parametrize("days", [1, 30, 400, 3_650])
def test_each_step_can_be_seen_at_any_scale(days: int) -> None:
    simulation = forecast(days=120)
    bars = bars_of(render_svg(simulation.spans, START, START + days * DAY, "keys"))
    assert bars
    assert BAR_MIN == 4
    assert min(float(bar.attrib["width"]) for bar in bars) >= 4
    rows: dict[str, list[tuple[float, float]]] = {}
    for bar in bars:
        bottom = float(bar.attrib["y"]) + float(bar.attrib["height"])
        left = float(bar.attrib["x"])
        rows.setdefault(str(bottom), []).append((left, left + float(bar.attrib["width"])))
    for row in rows.values():
        assert all(after[0] >= before[1] - 0.11 for before, after in pairwise(row))
        assert row[-1][1] <= 1_000


def test_a_picture_has_a_limit() -> None:
    spans = [
        Span(f"k{n}", Role.ZSK, f"ZSK {n}", Rec.DNSKEY, State.OMNIPRESENT, START + n, None)
        for n in range(500)
    ]
    text = render_svg(spans, START, START + DAY, "keys")
    assert len(bars_of(text)) == KEYS_MAX
    assert f"and {500 - KEYS_MAX} more keys" in text


def test_today_and_the_flags_where_a_person_acts() -> None:
    flags = [
        Flag(START + 5 * DAY, "hand over the DS"),
        Flag(START + 5 * DAY + 60, "another"),
        Flag(START - 1, "past"),
    ]
    text = render_svg([], START, START + 100 * DAY, "keys", now=START + DAY, flags=flags)
    root = ElementTree.fromstring(text)
    places = [
        float(line.attrib["x1"])
        for group in root.iter(f"{SVG}g")
        if group.get("class") == "flag"
        for line in group.iter(f"{SVG}line")
    ]
    assert len(places) == 2
    assert places[1] - places[0] >= 14  # both can be read
    assert "1. 2025-06-20" in text
    assert len([line for line in root.iter(f"{SVG}line") if line.get("class") == "today"]) == 1
    assert "no keys in this time" in text


def test_the_picture_tells_a_revoked_key_and_one_that_is_still_to_be_made() -> None:
    bench = running()
    bench.keyset = commands.revoke(bench.keyset, bench.key(Role.KSK).ref)
    ahead = simulate(bench.keyset, bench.policy, Assumptions(), bench.now, bench.now + 90 * DAY)
    labels = {span.label for span in ahead.spans if span.state is not State.HIDDEN}
    revoked = next(event.key_tag for event in ahead.events if event.event == "revoke")
    assert {f"KSK {revoked}, algorithm 13, revoked", "KSK new-1, algorithm 13"} <= labels
    assert {event.stand_in for event in ahead.events if event.event == "generate"} == {1}
    first = bench.key(Role.KSK)
    assert {event.stand_in for event in ahead.events if event.key_tag in (first.tag, revoked)} == {0}


def test_recovery_of_a_ksk_hangs_on_the_parent() -> None:
    bench = running()
    plan = recovery_plan(
        bench.keyset, bench.policy, Assumptions(ds_delay=DAY), bench.now, bench.key(Role.KSK).ref
    )
    assert plan.safe_at is not None
    assert bench.now + 2 * DAY < plan.safe_at < bench.now + 3 * DAY
    assert any("have the parent remove" in step.text for step in plan.steps if step.who == "people")
    assert any("standby" in cost for cost in plan.costs)


def test_recovery_of_a_zsk_needs_no_operator() -> None:
    bench = running()
    plan = recovery_plan(bench.keyset, bench.policy, Assumptions(), bench.now, bench.key(Role.ZSK).ref)
    assert plan.safe_at is not None
    assert plan.safe_at < bench.now + 2 * DAY
    assert not any("the parent" in step.text for step in plan.steps)
    assert any("replaced at once" in cost for cost in plan.costs)


def test_recovery_when_the_parent_never_acts() -> None:
    bench = running()
    plan = recovery_plan(
        bench.keyset, bench.policy, Assumptions(ds_delay=None), bench.now, bench.key(Role.KSK).ref
    )
    assert plan.safe_at is None


def test_it_starts_from_the_ds_that_the_parent_serves() -> None:
    """The parent has the new DS already: nothing is awaited from it, and the old key can leave."""
    bench = running()
    bench.keyset = commands.roll_over(bench.keyset, Role.KSK)
    bench.step()
    for _ in range(3):
        bench.secondaries_follow()
        bench.wait(DAY)
    new = bench.key(Role.KSK)
    for digest in (DIGEST_SHA256, DIGEST_SHA384):
        seen = (ds_rdata(APEX, new.rdata, digest),)
        assume = Assumptions(ds_delay=20 * DAY, ds=seen)
        ahead = simulate(bench.keyset, bench.policy, assume, bench.now, bench.now + 30 * DAY)
        arrived = next(event.at for event in ahead.events if event.event == "ds omnipresent")
        assert arrived < bench.now + 5 * DAY, "no new wait of ds_delay"


def test_a_year_follows_the_first_mark_of_an_axis_without_one() -> None:
    """Two labels with a year do not fit beside each other: a picture from December on shows the next year at least."""
    december = 1_796_083_200  # 2026-12-01
    texts = [text for _, text in ticks(december, december + 400 * DAY)]
    assert texts[:3] == ["Dec", "Jan 2027", "Feb"]
    texts = [text for _, text in ticks(december - 40 * DAY, december + 360 * DAY)]
    assert texts[:3] == ["Nov 2026", "Dec", "Jan 2027"]


def test_an_island_has_trust_anchors_in_place_of_a_ds() -> None:
    span = Span("a", Role.KSK, "KSK 1, algorithm 13", Rec.DS, State.OMNIPRESENT, 0, None)
    island, child = (render_svg([span], 0, DAY, "keys", island=island) for island in (True, False))
    assert ("trust anchor" in island, "DS" in island) == (True, False)
    assert ("trust anchor" in child, "DS at the parent" in child) == (False, True)
