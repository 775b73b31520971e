"""Which primary is asked next, and by what: a round of transfers without network."""

from __future__ import annotations

import pytest

from dnssecd.daemon.zones.transfer_round import TransferRound
from dnssecd.pipeline.jobs.outcome import Outcome, Problem


def ended(event: str = "", result: str = "rejected") -> Outcome:
    """How a job ended; no event: published."""
    if not event:
        return Outcome(zone="example.", result="published")
    return Outcome(zone="example.", result=result, problems=(Problem(event, f"cause {event}", "remedy"),))


CONTENT = ["input-error", "ttl-rejected", "delta-guard"]


@pytest.mark.parametrize("event", [*CONTENT, "ixfr-unusable", "transfer-broken", "verification-failed"])
def test_differences_that_make_no_zone_are_followed_by_axfr(event: str) -> None:
    turn = TransferRound(["a", "b"], 7)
    assert turn.took("a", 7, ended(event)) is None
    assert (turn.names, turn.base, turn.passed) == (["a", "b"], None, [])
    good = ended()
    assert turn.took("a", None, good) is good


@pytest.mark.parametrize("event", [*CONTENT, "transfer-broken"])
def test_a_whole_zone_that_is_not_good_is_followed_by_the_next_primary(event: str) -> None:
    turn = TransferRound(["a", "b"], None)
    assert turn.took("a", None, ended(event)) is None
    assert turn.names == ["b"]
    assert turn.took("b", None, ended()) == ended()
    assert [passed.primary for passed in turn.passed] == ["a"]


@pytest.mark.parametrize("event", ["signing-failed", "store-failed", "verification-failed"])
def test_what_is_no_fault_of_a_primary_ends_the_round(event: str) -> None:
    failed = ended(event, "failed")
    assert TransferRound(["a", "b"], None).took("a", None, failed) is failed


@pytest.mark.parametrize("event", ["signing-failed", "store-failed"])
def test_nor_is_it_a_fault_of_differences(event: str) -> None:
    failed = ended(event, "failed")
    assert TransferRound(["a", "b"], 7).took("a", 7, failed) is failed


def test_every_round_ends() -> None:
    turn, asked = TransferRound(["a", "b", "c"], 7), 0
    outcome = None
    while outcome is None:
        outcome = turn.took(turn.names[0], turn.base, ended("input-error"))
        asked += 1
        assert asked <= 4
    assert asked == 4
    assert outcome.result == "rejected"
    assert outcome.problems[0].cause.count("cause") == 3


def test_the_first_rejection_is_the_verdict() -> None:
    turn = TransferRound(["a", "b"], None)
    assert turn.took("a", None, ended("transfer-broken", "failed")) is None
    verdict = turn.took("b", None, ended("delta-guard"))
    assert verdict is not None
    assert (verdict.result, verdict.problems[0].event) == ("rejected", "delta-guard")
    assert "transfer-broken" in verdict.problems[0].cause


def test_where_nothing_can_be_fetched_any_more() -> None:
    nothing = ended("input-error", "failed")
    turn = TransferRound(["a"], 7)
    assert turn.failed(nothing) is nothing
    turn = TransferRound(["a", "b"], None)
    turn.took("a", None, ended("delta-guard"))
    assert turn.failed(nothing).problems[0].event == "delta-guard"


def test_a_stream_that_is_no_transfer_is_an_event_of_the_input() -> None:
    verdict = TransferRound(["a"], None).took("a", None, ended("transfer-broken", "failed"))
    assert verdict is not None
    assert (verdict.result, verdict.problems[0].event) == ("failed", "input-error")
