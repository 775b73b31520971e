"""How long a request may take: what its client asks for, within bounds."""

from __future__ import annotations

from collections.abc import Callable

TIMEOUT_S_DEFAULT = 30.0
TIMEOUT_S_MAX = 600.0

#: Returns the deadline (monotonic seconds) of a request with this `timeout_ms`.
Deadline = Callable[[int], float]


def deadline_by(monotonic: Callable[[], float]) -> Deadline:
    """Return the function that gives a request its deadline."""

    def deadline(timeout_ms: int) -> float:
        timeout_s = timeout_ms / 1000 if timeout_ms > 0 else TIMEOUT_S_DEFAULT
        return monotonic() + min(timeout_s, TIMEOUT_S_MAX)

    return deadline
