"""Gates: the table is complete, and what is not in it is an error."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dnssecd.daemon.zones.gates import STOPPED_BY, Gate, Gates, Work, shut_for
from dnssecd.daemon.zones.mailbox import Mailbox, Signal

FLAGS = {
    Gate.GONE: {"gone": True},
    Gate.DOUBT: {"doubt": "changed"},
    Gate.HELD: {"held": "restored"},
    Gate.UNCONFIGURED: {"orphan": True},
    Gate.FROZEN: {"frozen": True},
    Gate.OWNER: {"owned": False},
    Gate.KEYS: {"signed_elsewhere": True},
}
#: Work that signs, or that takes what is signed next.
SIGNS = frozenset(Work) - {
    Work.PROVE,
    Work.VERIFY,
    Work.LOOK,
    Work.PLAN,
    Work.EXPIRE,
    Work.FOLLOW,
    Work.SNAPSHOT,
    Work.OUTPUT,
}


def zone(**flags: Any) -> Any:
    return SimpleNamespace(
        **{"gone": False, "doubt": None, "held": None, "orphan": False, "frozen": False, "owned": True}
        | {"signed_elsewhere": False}
        | flags
    )


def gates(clock: str = "", key_service: str = "") -> Gates:
    return Gates(lambda: clock, lambda: key_service)


def test_every_work_has_an_entry() -> None:
    assert set(STOPPED_BY) == set(Work)


def test_every_gate_stops_something() -> None:
    assert frozenset().union(*STOPPED_BY.values()) == set(Gate)


@pytest.mark.parametrize("work", Work)
def test_a_zone_that_is_gone_is_not_worked_on(work: Work) -> None:
    assert shut_for(zone(gone=True), work) is Gate.GONE


@pytest.mark.parametrize("work", sorted(SIGNS, key=str))
def test_nothing_is_signed_while_the_time_is_in_doubt(work: Work) -> None:
    assert gates(clock="it jumped").why_stopped(work) == "it jumped"
    assert gates().why_stopped(work) == ""


@pytest.mark.parametrize("gate", sorted(FLAGS, key=str))
def test_a_gate_stops_what_the_table_says(gate: Gate) -> None:
    for work in Work:
        assert shut_for(zone(**FLAGS[gate]), work) is (gate if gate in STOPPED_BY[work] else None)
        assert shut_for(zone(), work) is None


def test_the_daemons_gates_are_not_a_zones() -> None:
    assert set(Gate) - set(FLAGS) == {Gate.CLOCK, Gate.KEY_SERVICE}


def test_work_that_is_not_in_the_table_is_an_error() -> None:
    with pytest.raises(ValueError, match="dream"):
        gates().why_job_stopped("dream")
    with pytest.raises(KeyError):
        shut_for(zone(), "dream")  # type: ignore[arg-type]


def test_gates_have_no_default() -> None:
    with pytest.raises(TypeError):
        Gates()  # type: ignore[call-arg]


def test_signals_reach_subscribers_in_order() -> None:
    signal, taken = Signal[int](), []
    signal.send(1)
    signal.subscribe(lambda number: taken.append(("a", number)))
    signal.subscribe(lambda number: taken.append(("b", number)))
    signal.send(2)
    assert taken == [("a", 2), ("b", 2)]


def test_a_signal_that_no_part_takes_is_named() -> None:
    mailbox = Mailbox()
    mailbox.published.subscribe(lambda zone: None)
    assert "published" not in mailbox.unheard()
    assert "seen" in mailbox.unheard()
