"""Freeze windows: spans of time in which no rollover step starts.

Written ``"2026-12-20/2027-01-05"`` (once) or ``"12-20/01-05"`` (every year). Both days are part of the
window; days start and end at midnight UTC. ``"2026-12-20T18:00/2026-12-21T06:00"`` is exact to the minute.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_ONCE = re.compile(r"(\d{4}-\d\d-\d\d(?:T\d\d:\d\d)?)/(\d{4}-\d\d-\d\d(?:T\d\d:\d\d)?)")
_YEARLY = re.compile(r"(\d\d-\d\d)/(\d\d-\d\d)")
_LEAP_YEAR = 2024


@dataclass(frozen=True, slots=True)
class FreezeWindow:
    """A freeze window. text: as written. first, last: ISO dates, minutes, or month-day when *yearly*."""

    text: str
    first: str
    last: str
    yearly: bool

    def covers(self, now: float) -> float | None:
        """Return the end of the window (epoch seconds) if *now* (epoch seconds) is in it, else None."""
        year = datetime.fromtimestamp(now, UTC).year
        for start, end in self.spans(range(year - 1, year + 1)):
            if start <= now < end:
                return float(end)
        return None

    def spans(self, years: Iterable[int]) -> list[tuple[int, int]]:
        """Return the windows (from, until; epoch seconds) that start in *years*; one that is not yearly: always."""
        if not self.yearly:
            return [(int(_moment(self.first).timestamp()), int(_end(self.last).timestamp()))]
        found = []
        for year in years:
            last_year = year + 1 if self.last < self.first else year
            end = _yearly(last_year, self.last) + timedelta(days=1)
            found.append((int(_yearly(year, self.first).timestamp()), int(end.timestamp())))
        return found


def parse_freeze(text: str) -> FreezeWindow:
    """Return the window written as *text*. Raise ValueError with the reason."""
    yearly = _YEARLY.fullmatch(text)
    match = yearly or _ONCE.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text}" is not a span of days')
    year = f"{_LEAP_YEAR}-" if yearly else ""
    try:
        first, last = _moment(year + match[1]), _end(year + match[2])
    except ValueError:
        raise ValueError(f'"{text}" has a date that does not exist') from None
    if yearly:
        return FreezeWindow(text, match[1], match[2], yearly=True)
    if last <= first:
        raise ValueError(f'"{text}" ends before it starts')
    return FreezeWindow(text, match[1], match[2], yearly=False)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _end(text: str) -> datetime:
    """Return the end: a day ends when the next one starts; a minute is exact."""
    return _moment(text) + (timedelta() if "T" in text else timedelta(days=1))


def _yearly(year: int, month_day: str) -> datetime:
    try:
        return _moment(f"{year}-{month_day}")
    except ValueError:  # 29 February in a common year
        return _moment(f"{year}-02-28")
