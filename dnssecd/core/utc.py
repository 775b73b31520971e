"""Times and time spans as people read them."""

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(1024)  # the waits of most zones end at a few times
def moment(when: float) -> str:
    """Return ``2026-11-24 03:30:00Z`` for epoch seconds."""
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


@lru_cache(1024)
def minute(when: float) -> str:
    """Return ``2026-11-24 03:30 UTC`` for epoch seconds."""
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M UTC")


def about(seconds: float) -> str:
    """Return a time span with at most two units: ``"29d 11h"``, ``"5m"``, ``"-3h"``."""
    rest = int(abs(seconds))
    sign = "-" if seconds < 0 else ""
    for first, size, second, part in (("d", 86_400, "h", 3_600), ("h", 3_600, "m", 60), ("m", 60, "s", 1)):
        number, below = divmod(rest, size)
        if number:
            more = below // part
            return f"{sign}{number}{first}" + (f" {more}{second}" if more else "")
    return f"{sign}{rest}s"
