"""Durations, freeze windows and the fake clock."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnssecd.clock import FakeClock
from dnssecd.config.freeze import parse_freeze
from dnssecd.core.utc import about
from dnssecd.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30d", 2_592_000), ("1h", 3600), ("-1h", -3600), ("1y", 31_536_000), ("2w", 1_209_600), ("5m", 300),
     ("90s", 90), ("1d12h", 129_600), ("0s", 0)],
)  # fmt: skip
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "30", "d", "1 d", "1.5h", "1M", "1d-2h", "--1d", "1d ago", "٣d", "9" * 40 + "d"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@given(st.integers(-(10**10), 10**10))
def test_formatting_is_read_back(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


def test_about_is_for_people() -> None:
    assert [about(n) for n in (0, 59.9, 61, 3600, 86_399, 90_061, -7200, 10**7)] == [
        "0s", "59s", "1m 1s", "1h", "23h 59m", "1d 1h", "-2h", "115d 17h",
    ]  # fmt: skip


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_freeze_once() -> None:
    window = parse_freeze("2026-12-20/2027-01-05")
    assert window.covers(at("2026-12-19T23:59:59")) is None
    assert window.covers(at("2026-12-20")) == at("2027-01-06")
    assert window.covers(at("2027-01-05T23:59:59")) == at("2027-01-06")
    assert window.covers(at("2027-01-06")) is None
    exact = parse_freeze("2026-12-20T18:00/2026-12-20T20:00")
    assert exact.covers(at("2026-12-20T19:59:59")) == at("2026-12-20T20:00")
    assert exact.covers(at("2026-12-20T20:00")) is None


def test_freeze_every_year() -> None:
    window = parse_freeze("12-20/01-05")
    for moment in ("2026-12-25", "2027-01-03"):
        assert window.covers(at(moment)) == at("2027-01-06")
    assert window.covers(at("2027-06-01")) is None
    leap = parse_freeze("02-29/03-02")
    assert leap.covers(at("2027-02-28T12:00")) == at("2027-03-03")


def test_fake_clock() -> None:
    clock = FakeClock(1000)
    clock.advance(5)
    clock.step(-100)
    assert (clock.now(), clock.monotonic()) == (905, 5)
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)
