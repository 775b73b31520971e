"""The waits after failures, and the breaker that uses them."""

from __future__ import annotations

import itertools

from dnssecd.backoff import Backoff
from dnssecd.breaker import Breaker


def test_waits_double_up_to_the_longest() -> None:
    backoff = Backoff(5.0, 300.0)
    assert [backoff.delay_s(failures) for failures in range(9)] == [5, 5, 10, 20, 40, 80, 160, 300, 300]
    assert list(itertools.islice(backoff.delays(), 8)) == [5, 10, 20, 40, 80, 160, 300, 300]


def test_a_year_of_failures_overflows_nothing() -> None:
    assert Backoff(1e-6, 900.0).delay_s(10**9) == 900.0
    assert Backoff(0.2, 0.2).delay_s(7) == 0.2


def test_a_breaker_opens_at_its_threshold_and_waits_longer_each_time() -> None:
    now = [0.0]
    breaker = Breaker(threshold=2, first_s=1.0, longest_s=3.0, monotonic=lambda: now[0], jitter=lambda: 0.5)
    waits = []
    for _ in range(5):
        breaker.failed()
        waits.append(breaker.wait_s())
    assert waits == [0, 1, 2, 3, 3]
    assert breaker.state == "open"
    now[0] += 3
    assert breaker.state == "half-open"
    breaker.succeeded()
    assert (breaker.state, breaker.wait_s()) == ("closed", 0)
