"""The data that each part of the daemon keeps on one zone. The zone holds all of it, and closes it in one step.

Parts keep no data by zone name: a zone that is added again under the same name is another object with empty
rooms.
"""

import asyncio
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnssecd.core.keys.node_keys import NodeKey
from dnssecd.core.update.types import SERVFAIL
from dnssecd.core.zone.grants import Grants
from dnssecd.daemon.zones.update_queue import ZoneQueue
from dnssecd.pipeline.jobs.spec import GrantSpec
from dnssecd.pipeline.jobs.update import Answer
from dnssecd.publish.exchange import Peer
from dnssecd.store.version_log import NodeLog
from dnssecd.store.zone_log import ZoneLog
from dnssecd.turn import Turn

if TYPE_CHECKING:
    from dnssecd.daemon.zones.primary_state import Upstream

#: Settle an append in doubt: sequence and epoch of the record.
Doubtful = tuple[int, int]

GONE = Answer(SERVFAIL, "the zone was removed")


@dataclass(slots=True, eq=False)
class ClusterRoom:
    """A zone that several nodes share. ``log``: its log; with an epoch this node may make versions.

    ``owner``, ``epoch``: the owner, "" as long as it is not known. ``applied``: the sequence up to which this
    node's database has the log, None: not read yet; ``digest``: of the last record there that has octets.
    ``refused``: why the next record is not applied. ``unread``: why the log could not be read or applied at the last
    try, and ``unread_since`` when (monotonic). ``doubtful``: an append in doubt. ``behind_since``: monotonic
    time since when the database lacks a record of this node's own, None: it has all. ``follow``: the task that
    reads the log; ``again``: there is more to read. ``unheard_since``: monotonic time since when its owner may be
    replaced. ``keys``: which key this node's key service cannot use, "" for none, None: not asked yet;
    ``proved_at``: monotonic time of the answer. ``acted``: this node may have owned the zone since it noticed
    another owner: work outside is still done, and events of an owner fire. ``hindrance``: why this node could not
    take the zone over, as it reported it last, None: not yet. ``alone``: this node owns the zone, and no other node
    could take it over for a while; ``alone_since``: monotonic time since when none could. ``unable_since``: monotonic
    time since when this node, which owns the zone, cannot sign it, and ``unable_looks`` in how many looks that was
    seen; ``given_up_at``: monotonic time when it gave the zone up last, and ``given_to`` to which node, "" when that
    node has it, or nothing was given up.

    Where each node has keys of its own, ``announced`` are those of the others, ``heard`` marks of the rows that
    they are from, and ``heard_epoch`` the epoch in which all were read. ``unheard``: the same marks of rows that
    could not be opened, and when that is tried again (monotonic). ``announced_at``, ``announced_of``: when this
    node announced its own (monotonic), and of which condition of the zone. ``signed_elsewhere``: this node owns the
    zone, and its signatures are still those of the node before.
    """

    log: ZoneLog[NodeLog]
    owner: str = ""
    epoch: int = 0
    applied: int | None = None
    digest: str = ""
    refused: str = ""
    unread: str = ""
    unread_since: float | None = None
    doubtful: Doubtful | None = None
    behind_since: float | None = None
    follow: asyncio.Task[None] | None = None
    again: bool = False
    unheard_since: float | None = None
    keys: str | None = None
    proved_at: float = -math.inf
    acted: bool = True
    hindrance: str | None = None
    alone: bool = False
    alone_since: float | None = None
    unable_since: float | None = None
    unable_looks: int = 0
    given_up_at: float = -math.inf
    given_to: str = ""
    announced: dict[str, tuple[NodeKey, ...]] = field(default_factory=dict)
    heard: dict[str, bytes] = field(default_factory=dict)
    unheard: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    heard_epoch: int = 0
    announced_at: float = -math.inf
    announced_of: tuple[int, bool] | None = None
    signed_elsewhere: bool = False

    @property
    def owned(self) -> bool:
        """Whether this node may make versions of the zone now."""
        return self.log.epoch is not None

    def close(self) -> None:
        """Stop reading the log."""
        self.log.epoch = None
        if self.follow is not None:
            self.follow.cancel()


@dataclass(slots=True, eq=False)
class JobsRoom:
    """The jobs of a zone by kind: those not started, and failures in a row. ``remember``: a pending catalogue write.

    ``turn`` allows one job of the zone at a time, in workers and in threads of the daemon. Most zones have no
    requests and no failures, so dictionaries are made only when needed.
    """

    turn: Turn = field(default_factory=Turn)
    _requested: dict[str, asyncio.Task[Any]] | None = None
    _failures: dict[str, int] | None = None
    remember: asyncio.TimerHandle | None = None

    def is_requested(self, kind: str) -> bool:
        """Tell whether a job of a kind waits to start."""
        return self._requested is not None and kind in self._requested

    def request(self, kind: str, task: asyncio.Task[Any]) -> None:
        """Keep the task of a job until it starts."""
        self._requested = {**(self._requested or {}), kind: task}

    def begin(self, kind: str) -> None:
        """Note that a job starts: another of its kind may then be requested."""
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
        """Stop starting jobs."""
        for task in (self._requested or {}).values():
            task.cancel()
        self._requested = self._failures = None
        if self.remember is not None:
            self.remember.cancel()
            self.remember = None


@dataclass(slots=True, eq=False)
class NoteWindow:
    """Notes of one kind on updates: when the window began, what was logged in it, when the last one happened.

    ``timer``: resolves the event after a quiet time.
    """

    began_at: float
    last_at: float
    logged: set[str] = field(default_factory=set)
    timer: asyncio.TimerHandle | None = None


@dataclass(slots=True, eq=False)
class UpdatesRoom:
    """``queue``: made with the first update. ``grants``: as configured, and compiled.

    ``noted``: by the name of the event, None if there are no notes.
    """

    queue: ZoneQueue | None = None
    grants: tuple[tuple[GrantSpec, ...], Grants] | None = None
    noted: dict[str, NoteWindow] | None = None

    def close(self) -> None:
        """Answer waiting updates; those being committed are answered when that ends."""
        for window in (self.noted or {}).values():
            if window.timer is not None:
                window.timer.cancel()
        queue, self.queue, self.grants, self.noted = self.queue, None, None, None
        if queue is None:
            return
        if queue.tidy is not None:
            queue.tidy.cancel()
        queue.answer_all(GONE)


@dataclass(slots=True, eq=False)
class PrimariesRoom:
    """Data of a zone with primaries. ``task`` polls them, and polls ``again`` afterwards if requested."""

    upstream: "Upstream | None" = None
    lock: Turn = field(default_factory=Turn)
    task: asyncio.Task[None] | None = None
    again: bool = False

    def close(self) -> None:
        """Stop polling."""
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
    looking: Turn = field(default_factory=Turn)


@dataclass(slots=True, eq=False)
class ReviewRoom:
    """The review of the zone's versions. ``waiting``: the digest of content that waits for an operator, "" for none."""

    waiting: str = ""
    approved: str = ""
    refused: str = ""


@dataclass(slots=True, eq=False)
class FollowUpRoom:
    """What follows a publication. ``written``: serial and path of the file; ``told``: the serial of the command.

    ``is_new``: a version was published since the start.
    """

    written: tuple[int | None, Path] | None = None
    told: int | None = None
    is_new: bool = False
    task: asyncio.Task[None] | None = None

    def close(self) -> None:
        """Stop."""
        if self.task is not None:
            self.task.cancel()


@dataclass(slots=True, eq=False)
class TransfersRoom:
    """Transfers out of a zone whose store's log is too long. ``shut_at``: since when new ones wait (monotonic).

    ``kept_octets``: this much of the log could not be cut at the last attempt, because another reader holds
    it; ``tries``: the attempts since ``shut_at``.
    """

    shut_at: float | None = None
    tries: int = 0
    kept_octets: int = 0


@dataclass(slots=True, eq=False)
class ServedRoom:
    """Whether the answers of the public servers validate. ``checked_at``: when that was judged last.

    ``faults``: why not, by server; ``next_at``: the next check.
    """

    checked_at: float | None = None
    next_at: float = 0.0
    faults: dict[str, str] = field(default_factory=dict)

    @property
    def bogus(self) -> str:
        """Return why validators refuse the answers, "" if they do not."""
        return "; ".join(f"{server}: {fault}" for server, fault in sorted(self.faults.items()))
