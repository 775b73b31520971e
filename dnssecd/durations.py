"""Durations as people write them: ``"90d"``, ``"1h"``, ``"-1h"``, ``"1d12h"``.

Units: s, m (minutes), h, d, w (7 days), y (365 days). A bare number has no unit and is refused: ``30`` may
mean seconds or days, and the difference is an outage.
"""

from __future__ import annotations

import re

SECONDS = {"y": 31_536_000, "w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}

_WHOLE = re.compile(r"([+-]?)((?:[0-9]{1,10}[smhdwy])+)")
_PART = re.compile(r"(\d+)([smhdwy])")


def parse_duration(text: str) -> int:
    """Seconds of *text*; ValueError says what is wrong with it."""
    match = _WHOLE.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            f'"{text}" is no duration: write a number and a unit (s, m, h, d, w, y), as in "90d"'
        )
    total = sum(int(number) * SECONDS[unit] for number, unit in _PART.findall(match[2]))
    return -total if match[1] == "-" else total


def format_duration(seconds: float) -> str:
    """Text of *seconds* that :func:`parse_duration` reads back exactly: ``5400`` → ``"1h30m"``.

    Weeks are written as days, years only when whole: ``"90d"`` and ``"1y"`` are what people write.
    """
    rest = int(abs(seconds))
    if rest == 0:
        return "0s"
    sign = "-" if seconds < 0 else ""
    if rest % SECONDS["y"] == 0:
        return f"{sign}{rest // SECONDS['y']}y"
    parts = []
    for unit in "dhms":
        number, rest = divmod(rest, SECONDS[unit])
        if number:
            parts.append(f"{number}{unit}")
    return sign + "".join(parts)


def about(seconds: float) -> str:
    """Text of *seconds* for people, two units at most: ``"29d 11h"``, ``"5m"``, ``"-3h"``."""
    rest = int(abs(seconds))
    sign = "-" if seconds < 0 else ""
    for first, second in ("dh", "hm", "ms"):
        number, below = divmod(rest, SECONDS[first])
        if number:
            more = below // SECONDS[second]
            return f"{sign}{number}{first}" + (f" {more}{second}" if more else "")
    return f"{sign}{rest}s"
