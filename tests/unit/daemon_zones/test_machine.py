"""The states of a zone: the tables are complete and agree with each other, with the flags, and with the document."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dnssecd.daemon.zones.gates import STOPPED_BY, Gate, Work
from dnssecd.daemon.zones.machine import (
    FIRST,
    MEANING,
    POSSIBLE,
    TRANSITIONS,
    Event,
    Impossible,
    State,
    after,
    happened,
    possible,
    state_of,
)
from dnssecd.daemon.zones.machine_doc import WORDS, render

DOC = Path(__file__).parents[3] / "docs" / "zone-states.md"
#: States that are gates, too: what the gate stops is not possible in the state.
GATE_OF = {State.HELD: Gate.HELD, State.IN_DOUBT: Gate.DOUBT, State.GONE: Gate.GONE}


def zone(state: State = State.WAITING, **flags: Any) -> Any:
    known = {"gone": False, "doubt": None, "held": None, "serial": None, "expired": False}
    return SimpleNamespace(state=state, **(known | flags))


def test_the_tables_have_an_entry_for_every_state() -> None:
    assert set(MEANING) == set(POSSIBLE) == set(TRANSITIONS) == set(State)
    assert set(WORDS) == set(Work)


def test_every_state_is_reached_and_every_event_moves_something() -> None:
    reached = {State.WAITING}
    while more := {to for state in reached for to in TRANSITIONS[state].values()} - reached:
        reached |= more
    assert reached == set(State)
    moving = {event for state, moves in TRANSITIONS.items() for event, to in moves.items() if to is not state}
    assert moving == set(Event) - {Event.EMPTY} | {Event.EMPTY}


def test_every_work_is_possible_somewhere() -> None:
    assert frozenset().union(*POSSIBLE.values()) == set(Work)


@pytest.mark.parametrize("state", GATE_OF)
def test_what_a_states_gate_stops_is_not_possible_in_it(state: State) -> None:
    for work in POSSIBLE[state]:
        assert GATE_OF[state] not in STOPPED_BY[work]


@pytest.mark.parametrize("state", FIRST)
def test_what_comes_first_is_possible(state: State) -> None:
    assert possible(state, FIRST[state])


def test_nothing_is_possible_for_a_zone_that_is_gone() -> None:
    assert not POSSIBLE[State.GONE]
    for event in Event:
        with pytest.raises(Impossible, match="gone"):
            after(State.GONE, event)


def test_only_a_served_zone_takes_updates() -> None:
    assert [state for state in State if possible(state, Work.UPDATE)] == [State.SERVED]


def test_no_version_is_served_without_having_been_verified() -> None:
    """Into SERVED lead only a stored version as it was left, a commit, and a primary for one that was served."""
    into = {
        (state, event)
        for state, moves in TRANSITIONS.items()
        for event, to in moves.items()
        if to is State.SERVED
    }
    assert {event for _, event in into} == {Event.RECALLED, Event.PUBLISHED, Event.CONFIRMED}
    assert {state for state, event in into if event is Event.CONFIRMED} == {State.SERVED, State.EXPIRED}
    assert (State.IN_DOUBT, Event.PUBLISHED) not in into


def test_the_flags_give_the_state() -> None:
    for gone, doubt, held, serial, expired in itertools.product(
        (False, True), (None, 1), (None, 1), (None, 1), (False, True)
    ):
        flags = zone(gone=gone, doubt=doubt, held=held, serial=serial, expired=expired)
        state = state_of(flags)
        assert (state is State.GONE) == gone
        served = state in (State.SERVED, State.EXPIRED)
        assert served == (not gone and doubt is None and held is None and serial is not None)
        assert state is not State.EXPIRED or expired


def test_a_zone_moves() -> None:
    one = zone()
    happened(one, Event.CHANGED)
    assert one.state is State.IN_DOUBT
    with pytest.raises(Impossible, match="in doubt: a verified version was committed"):
        happened(one, Event.PUBLISHED)
    assert one.state is State.IN_DOUBT


def test_the_document_is_up_to_date() -> None:
    assert DOC.read_text() == render(), (
        "write it again: python -c 'from dnssecd.daemon.zones.machine_doc import render; print(render(), end=\"\")' "
        "> docs/zone-states.md"
    )
