"""How long to wait after failures: the first time briefly, then twice as long each time, up to a longest wait."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

_DOUBLINGS_MAX = 64


class Backoff(Struct, frozen=True):
    """Waits in seconds: ``first_s``, doubled at each further failure, at most ``longest_s``."""

    first_s: float
    longest_s: float

    def delay_s(self, failures: int) -> float:
        """Return the wait after this many failures in a row; as after the first one when there was none."""
        doublings = min(max(failures - 1, 0), _DOUBLINGS_MAX)
        return min(self.first_s * 2.0**doublings, self.longest_s)

    def delays(self) -> Iterator[float]:
        """Yield the waits one after the other, without end."""
        failures = 0
        while True:
            failures += 1
            yield self.delay_s(failures)
