"""Garbage collection of a process whose objects stay: no collection looks at all objects of all zones.

Python's full collection stops every thread while it visits each object that is alive: with ten thousand zones about a
second, again and again. What survived a full collection is therefore excluded from the next ones (``gc.freeze``):
reference counts still free it, only cycles among excluded objects stay. They are looked for when the number of
excluded objects has grown by half since the last time that all were visited.
"""

from __future__ import annotations

import asyncio
import gc

import structlog

PERIOD_S = 3_600.0
GROWTH = 1.5
#: Fewer objects are no reason to look: visiting them takes less than a tenth of a second.
FEWEST = 200_000

log = structlog.get_logger("dnssecd")


def keep_all() -> None:
    """Collect nothing more, because the process ends: Python would visit all objects once more, twice."""
    gc.freeze()


class LongLived:
    """Excludes what stays. Between :meth:`begin` and :meth:`end`."""

    def __init__(self) -> None:
        self._visited = 0

    def begin(self) -> None:
        """From now on, exclude what survives a full collection."""
        gc.callbacks.append(self._collected)

    def end(self) -> None:
        """Let collections visit all objects again."""
        if self._collected in gc.callbacks:
            gc.callbacks.remove(self._collected)
            gc.unfreeze()

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        if phase == "stop" and info["generation"] == 2:
            gc.freeze()

    def visit_all(self) -> int:
        """Collect what is garbage among all objects, and exclude the others; return how many were excluded before."""
        before = gc.get_freeze_count()
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self._visited = gc.get_freeze_count()
        return before

    def look(self) -> bool:
        """Visit all objects if many were excluded since the last time; return whether that was done."""
        if gc.get_freeze_count() < max(GROWTH * self._visited, FEWEST):
            return False
        before = self.visit_all()
        log.debug("all objects visited", before=before, objects=self._visited)
        return True

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_S)
            self.look()
