"""Durations in configuration files and options: ``"90d"``, ``"1h"``, ``"-1h"``, ``"1d12h"``.

Units: s, m (minutes), h, d, w (7 days), y (365 days). A number without a unit is refused: ``30`` could
mean seconds or days, and the wrong one causes an outage.
"""

from __future__ import annotations

import re

SECONDS = {"y": 31_536_000, "w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}

_WHOLE = re.compile(r"([+-]?)((?:[0-9]{1,10}[smhdwy])+)")
_PART = re.compile(r"(\d+)([smhdwy])")


def parse_duration(text: str) -> int:
    """Return the seconds of *text*. Raise ValueError with the reason."""
    match = _WHOLE.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            f'"{text}" is not a duration: write a number and a unit (s, m, h, d, w, y), as in "90d"'
        )
    total = sum(int(number) * SECONDS[unit] for number, unit in _PART.findall(match[2]))
    return -total if match[1] == "-" else total


def format_duration(seconds: float) -> str:
    """Return *seconds* as text that :func:`parse_duration` reads back exactly: ``5400`` → ``"1h30m"``.

    The largest unit is the day, or the year for whole years: ``"90d"``, ``"1y"``.
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
