"""What each part of the daemon keeps of one zone. The zone holds all of it, and closes all of it in one act.

Parts keep nothing by a zone's name: a zone that comes back under the same name is another object with empty rooms.
"""

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dnssecd.core.update.types import SERVFAIL
from dnssecd.core.zone.grants import Grants
from dnssecd.daemon.zones.update_queue import ZoneQueue
from dnssecd.pipeline.jobs.spec import GrantSpec
from dnssecd.pipeline.jobs.update import Answer
from dnssecd.publish.exchange import Peer

if TYPE_CHECKING:
    from dnssecd.daemon.zones.primary_state import Upstream

GONE = Answer(SERVFAIL, "the zone was removed")


@dataclass(slots=True, eq=False)
class JobsRoom:
    """The jobs of a zone by kind: those not begun, and failures in a row. ``remember``: a write that is due.

    Most zones have neither, so that there is a dictionary only where there is something to keep.
    """

    _requested: dict[str, asyncio.Task[Any]] | None = None
    _failures: dict[str, int] | None = None
    remember: asyncio.TimerHandle | None = None

    def is_requested(self, kind: str) -> bool:
        """Tell whether a job of a kind waits to begin."""
        return self._requested is not None and kind in self._requested

    def request(self, kind: str, task: asyncio.Task[Any]) -> None:
        """Keep the task of a job until it begins."""
        self._requested = {**(self._requested or {}), kind: task}

    def begin(self, kind: str) -> None:
        """A job begins: another of its kind may be requested."""
        left = {other: task for other, task in (self._requested or {}).items() if other != kind}
        self._requested = left or None

    def fail(self, kind: str) -> int:
        """Count a failure; return how many there were in a row."""
        self._failures = self._failures or {}
        self._failures[kind] = self._failures.get(kind, 0) + 1
        return self._failures[kind]

    def succeed(self, kind: str) -> None:
        """Forget the failures of a kind."""
        if self._failures is not None:
            self._failures.pop(kind, None)
            self._failures = self._failures or None

    def retry(self) -> tuple[str, ...]:
        """Return the kinds that failed last, and count their failures from 0 again."""
        self._failures = dict.fromkeys(self._failures, 0) if self._failures else None
        return tuple(self._failures or ())

    def close(self) -> None:
        """Begin nothing more."""
        for task in (self._requested or {}).values():
            task.cancel()
        self._requested = self._failures = None
        if self.remember is not None:
            self.remember.cancel()
            self.remember = None


@dataclass(slots=True, eq=False)
class UpdatesRoom:
    """``queue``: made with the first update. ``grants``: those configured, and what they compile to."""

    queue: ZoneQueue | None = None
    grants: tuple[tuple[GrantSpec, ...], Grants] | None = None

    def close(self) -> None:
        """Answer what waits; what is being committed is answered when that ends."""
        queue, self.queue, self.grants = self.queue, None, None
        if queue is None:
            return
        if queue.tidy is not None:
            queue.tidy.cancel()
        while queue.waiting:
            queue.waiting.popleft().give(GONE)


@dataclass(slots=True, eq=False)
class PrimariesRoom:
    """Of a zone with primaries. ``task`` looks at them, and looks ``again`` after that where that was asked for."""

    upstream: "Upstream | None" = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    task: asyncio.Task[None] | None = None
    again: bool = False

    def close(self) -> None:
        """Look no more."""
        if self.task is not None:
            self.task.cancel()
        self.task, self.again, self.upstream = None, False, None


@dataclass(slots=True, eq=False)
class ParentRoom:
    """The zone's parent. ``servers``: None until they were found; ``found_at``: monotonic. ``waiting``: for a DS."""

    servers: list[Peer] | None = None
    found_at: float = 0.0
    trouble: str = ""
    waiting: bool = False
    next_look: float | None = None
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)
