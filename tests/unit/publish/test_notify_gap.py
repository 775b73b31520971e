"""The gap between NOTIFYs: short for single versions, longer in a stream, never long for one who waits for it."""

from __future__ import annotations

from collections.abc import Callable

from dnssecd.publish.notify_gap import STREAM_GAPS, NotifyGap

SHORT, LONG = 0.01, 0.05


def played(versions_in: Callable[[float], int], gaps: int) -> list[float]:
    """The gaps with a sender that makes so many versions in a gap of that length."""
    gap, seen = NotifyGap(SHORT, LONG), []
    for _ in range(gaps):
        seen.append(gap.seconds)
        gap.ended(versions_in(gap.seconds))
    return seen


def test_single_versions_are_never_held_up() -> None:
    turns = iter(range(1000))
    assert set(played(lambda _: next(turns) % 5 == 0, 500)) == {SHORT}


def test_a_stream_gets_a_longer_gap_soon_and_keeps_it() -> None:
    seen = played(lambda seconds: round(seconds * 100), 100)
    assert seen == [SHORT] * STREAM_GAPS + [LONG] * (100 - STREAM_GAPS)


def test_a_sender_that_waits_for_its_version_at_the_secondary_is_slowed_down_less_and_less() -> None:
    seen = played(lambda _: 1, 10_000)
    assert seen.count(LONG) <= 6


def test_after_a_stream_single_versions_are_announced_at_once_again() -> None:
    gap = NotifyGap(SHORT, LONG)
    for _ in range(STREAM_GAPS):
        gap.ended(1)
    gap.ended(5)
    gap.ended(0)
    assert gap.seconds == SHORT


def test_what_is_asked_for_after_the_fetch_of_all_that_was_announced_waits_for_no_gap() -> None:
    gap = NotifyGap(SHORT, LONG)
    assert not gap.is_over_for(1.0)
    gap.announced(2**32 - 1)
    gap.fetched(2**32 - 2, at=2.0)
    assert not gap.is_over_for(3.0)
    gap.fetched(0, at=4.0)
    gap.fetched(1, at=6.0)
    assert [gap.is_over_for(at) for at in (3.9, 4.0, 5.0, None)] == [False, True, True, False]
    gap.announced(1)
    assert not gap.is_over_for(5.0)


def test_a_sender_that_waits_for_its_version_ends_the_longer_gap() -> None:
    gap = NotifyGap(SHORT, LONG)
    for _ in range(STREAM_GAPS):
        gap.ended(1)
    assert gap.seconds == LONG
    gap.cut_short()
    assert gap.seconds == SHORT
    gap.ended(1)
    assert gap.seconds == SHORT
