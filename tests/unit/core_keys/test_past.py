"""What a zone's keys were until now: from the history, and from the key set alone."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.keystate import Rec, Role, State
from dnssecd.core.keys.past import PastStep, joined, past_spans, read_step, step_text
from dnssecd.core.keys.simulate import Assumptions, Span, simulate

from .bench import APEX, DAY, ksk_zsk, policy, running


def test_a_step_is_read_as_it_was_written() -> None:
    assert read_step(7, step_text("ksk", 4711, "publish dnskey")) == PastStep(
        7, "ksk", 4711, "publish dnskey"
    )


@pytest.mark.parametrize(
    "text",
    ["published", "ksk made", "ksk: publish dnskey", "ksk ²: x", "ksk -1: x", "host 1: x", "", "ksk 1:x"],
)
def test_other_entries_of_the_history_are_no_steps(text: str) -> None:
    assert read_step(0, text) is None


def test_the_history_of_a_year_is_what_the_forecast_said() -> None:
    """The steps of a simulated year, read as history, give the states that the simulation went through."""
    start = 1_750_000_000
    rolling = policy(ksk_zsk(lifetime=90 * DAY))
    ahead = simulate(Keyset(APEX), rolling, Assumptions(), start, start + 400 * DAY)
    steps = [PastStep(event.at, event.role, event.key_tag, event.event) for event in ahead.events]
    past = past_spans(ahead.keyset, steps, start + 400 * DAY)
    expected = Counter(
        (span.rec, span.state, span.start)
        for span in ahead.spans
        if span.state is not State.HIDDEN and span.start < start + 400 * DAY
    )
    assert len(expected) > 50
    assert (
        Counter((span.rec, span.state, span.start) for span in past if span.state is not State.HIDDEN)
        == expected
    )
    assert {span.ref.startswith("past ") for span in past} == {True, False}


def test_without_history_the_key_set_tells_the_present_states() -> None:
    bench = running()
    spans = past_spans(bench.keyset, (), bench.now + DAY)
    now = {(span.ref, span.rec): span.state for span in spans if span.stop == bench.now + DAY}
    for key in bench.keyset.keys:
        for rec in key.records:
            assert now.get((key.ref, rec), State.HIDDEN) is key.record(rec).state
    for one, after in pairwise(sorted(spans, key=lambda span: (span.ref, span.rec, span.start))):
        if (one.ref, one.rec) == (after.ref, after.rec):
            assert one.stop == after.start


def test_a_state_that_lasts_is_one_span() -> None:
    ksk = running().key(Role.KSK)
    past = [
        Span(ksk.ref, Role.KSK, "KSK", Rec.DS, State.OMNIPRESENT, 10, 20),
        Span(ksk.ref, Role.KSK, "KSK", Rec.DNSKEY, State.RUMOURED, 10, 20),
    ]
    ahead = [
        Span(ksk.ref, Role.KSK, "KSK", Rec.DS, State.OMNIPRESENT, 20, None),
        Span(ksk.ref, Role.KSK, "KSK", Rec.DNSKEY, State.OMNIPRESENT, 20, None),
    ]
    assert joined(past, ahead) == (
        past[1],
        Span(ksk.ref, Role.KSK, "KSK", Rec.DS, State.OMNIPRESENT, 10, None),
        ahead[1],
    )
