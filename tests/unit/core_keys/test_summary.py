"""A forecast in one sentence: when it is done, when a person has to act."""

from __future__ import annotations

import pytest

from dnssecd.core.keys.simulate import SimEvent
from dnssecd.core.keys.summary import Hands, summarize

DAY = 86_400
NOW = 1_700_000_000  # 2023-11-14 22:13 UTC


def event(days: float, tag: int, what: str, stand_in: int = 0) -> SimEvent:
    return SimEvent(NOW + int(days * DAY), "ksk", tag, what, "", stand_in)


ROLL = [
    event(0, 2, "publish dnskey"),
    event(1, 2, "submit ds"),
    event(1, 1, "withdraw ds"),
    event(3, 1, "dnskey hidden"),
    event(10, 1, "remove"),
    event(90, 3, "submit ds", 1),
    event(95, 2, "dnskey hidden"),
]


@pytest.mark.parametrize(
    ("hands", "says"),
    [
        (Hands.PERSON, "you act once, on 2023-11-15 22:13 UTC: hand over the DS."),
        (
            Hands.PERSON_OR_CDS,
            "you act once, on 2023-11-15 22:13 UTC: hand over the DS, unless the parent follows CDS.",
        ),
        (Hands.ANCHORS, "you act once, on 2023-11-15 22:13 UTC: give validators the new trust anchor."),
        (Hands.AUTOMATIC, "you do not have to act."),
    ],
)
def test_it_ends_with_the_old_key(hands: Hands, says: str) -> None:
    """Neither the destruction of the private key nor the next rollover belongs to it."""
    assert summarize(ROLL, hands, {1}) == f"Done about 2023-11-17 22:13 UTC; {says}"


def test_the_acts_of_a_whole_period_are_counted() -> None:
    assert summarize(ROLL, Hands.PERSON) == (
        "Done about 2024-02-17 22:13 UTC; you act 2 times, first on 2023-11-15 22:13 UTC: hand over the DS."
    )


def test_without_steps_there_is_no_sentence() -> None:
    assert summarize([], Hands.PERSON, {1}) == ""


def test_a_rollover_without_ds_needs_no_person() -> None:
    assert summarize([event(2, 1, "dnskey hidden")], Hands.PERSON, {1}).endswith("you do not have to act.")
