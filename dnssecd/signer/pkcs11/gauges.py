"""Counts and latencies of one token, for monitoring."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate

BUCKETS_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)


class Gauges:
    """Counters only grow. Latencies are those of calls, each signing a batch.

    `replaced`: workers that failed; `renewed`: workers ended so that a fresh session looks for a key.
    """

    def __init__(self) -> None:
        self.signatures = 0
        self.calls = 0
        self.latency_sum_s = 0.0
        self.errors: Counter[str] = Counter()
        self.replaced = 0
        self.renewed = 0
        self.login_failures = 0
        self._counts = [0] * (len(BUCKETS_S) + 1)

    def called(self, seconds: float, signatures: int) -> None:
        """Count one call."""
        self.calls += 1
        self.signatures += signatures
        self.latency_sum_s += seconds
        self._counts[sum(seconds > bound for bound in BUCKETS_S)] += 1

    def buckets(self) -> dict[str, int]:
        """Cumulative counts by upper bound in seconds, as Prometheus has them."""
        bounds = [*map(str, BUCKETS_S), "+Inf"]
        return dict(zip(bounds, accumulate(self._counts), strict=True))
