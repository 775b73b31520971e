"""A circuit breaker: after repeated failures calls fail at once, without waiting for a deadline."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from dnssecd.backoff import Backoff


class Breaker:
    """Counts consecutive failures; ``wait_s()`` above 0 means: do not try yet.

    After ``threshold`` failures it opens for ``first_s``, doubled at each further failure up to ``longest_s``,
    with a quarter of jitter so that many clients do not return at the same time. After that time one try
    is allowed; its outcome closes or re-opens the breaker.
    """

    def __init__(
        self,
        *,
        threshold: int = 3,
        first_s: float = 0.5,
        longest_s: float = 30.0,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._threshold = threshold
        self._backoff = Backoff(first_s, longest_s)
        self._monotonic = monotonic
        self._jitter = jitter
        self._failures = 0
        self._open_until = 0.0

    @property
    def state(self) -> str:
        """``closed``, ``open`` or ``half-open``."""
        if self._failures < self._threshold:
            return "closed"
        return "open" if self.wait_s() > 0 else "half-open"

    def wait_s(self) -> float:
        """Return the seconds to wait before the next try; 0: try now."""
        if self._failures < self._threshold:
            return 0.0
        return max(0.0, self._open_until - self._monotonic())

    def succeeded(self) -> None:
        """Close the breaker."""
        self._failures = 0

    def failed(self) -> None:
        """Count a failure, opening the breaker from the threshold on."""
        self._failures += 1
        excess = self._failures - self._threshold
        if excess >= 0:
            delay_s = self._backoff.delay_s(excess + 1)
            self._open_until = self._monotonic() + delay_s * (0.75 + 0.5 * self._jitter())
