"""Times in the configurations of other signers, as seconds."""

from __future__ import annotations

import re

from dnssecd.durations import format_duration
from dnssecd.migration.fleet.model import BadConfig

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "y": 31_536_000}
_PART = re.compile(r"(\d{1,10})([smhdwy])?", re.IGNORECASE)
_ISO = re.compile(
    r"(-)?P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?", re.ASCII
)
#: Years, months (as OpenDNSSEC counts them), weeks, days, hours, minutes, seconds.
_ISO_S = (31_536_000, 2_678_400, 604_800, 86_400, 3_600, 60, 1)


def seconds(text: str, where: str) -> int:
    """Return the seconds of ``30d``, ``1w2d``, ``3600`` or an ISO 8601 duration such as ``PT1H``. Raise BadConfig."""
    iso = _ISO.fullmatch(text)
    if iso is not None and len(text) < 64 and text.lstrip("-") not in ("P", "PT"):
        total = sum(int(part or 0) * unit for part, unit in zip(iso.groups()[1:], _ISO_S, strict=True))
        return -total if iso[1] else total
    if len(text) < 64 and re.fullmatch(r"(\d{1,10}[smhdwySMHDWY]?)+", text):
        return sum(int(number) * _UNITS[(unit or "s").lower()] for number, unit in _PART.findall(text))
    raise BadConfig(f"{where}: {text[:40]!r} is not a time")


def duration(text: str, where: str) -> str:
    """Return a time in dnssecd's form, as in ``90d``. Raise BadConfig."""
    return format_duration(seconds(text, where))
