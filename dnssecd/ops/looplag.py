"""The lag of the event loop: how late it wakes up. Used by a metric and by the health probe."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

PERIOD_S = 0.1
STALLED_S = 10.0


class LoopMonitor:
    """Measures the lag. Run :meth:`run` as a task; :meth:`health` may be called from any thread."""

    def __init__(self, observe: Callable[[float], None]) -> None:
        """*observe* is called with each lag in seconds, ten times a second."""
        self._observe = observe
        self._beat = time.monotonic()

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            due = time.monotonic() + PERIOD_S
            await asyncio.sleep(PERIOD_S)
            self._beat = time.monotonic()
            self._observe(max(0.0, self._beat - due))

    def health(self) -> tuple[bool, str]:
        """Return whether the loop ran recently, and a line of text about it."""
        silent = time.monotonic() - self._beat
        if silent > STALLED_S:
            return False, f"the event loop has been blocked for {silent:.0f} s"
        return True, "ok"
