"""The clock is an interface: nothing else in the package reads the wall clock.

``FakeClock`` is part of the product: simulations and tests drive the same code on virtual time.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """The two clocks; code that needs the time gets an object of this type."""

    def now(self) -> float:
        """Return the wall-clock time in seconds since the epoch. It jumps when an operator or NTP sets the clock."""

    def monotonic(self) -> float:
        """Return the seconds since a fixed moment; never decreases. For deadlines, and to detect jumps of now()."""


def boot_id() -> str:
    """Return the identity of this boot of the machine, "" if unknown. Monotonic times compare within one boot only."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Return the system's wall-clock time in seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Return the system's monotonic time in seconds."""
        return time.monotonic()


class FakeClock:
    """A clock that moves only by ``advance`` and ``step``."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = float(now)
        self._monotonic = 0.0

    def now(self) -> float:
        """Return the virtual wall-clock time in seconds since the epoch."""
        return self._now

    def monotonic(self) -> float:
        """Return the virtual monotonic time in seconds."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass on both clocks. ValueError when negative: time does not run backwards."""
        if seconds < 0:
            raise ValueError("time does not run backwards; use step() for a wall clock that is set back")
        self._now += seconds
        self._monotonic += seconds

    def step(self, seconds: float) -> None:
        """Move the wall clock alone, as an operator or NTP does; *seconds* may be negative."""
        self._now += seconds
