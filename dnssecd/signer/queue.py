"""Work waiting for a key store: bounded, and fair between connections.

A job is one request's preimages with one key. Workers take pieces of a job, as large as suits them;
connections (lanes) take turns piece by piece, so a small request waits for one piece of each bulk job, not
for the bulk.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dnssecd.signer.errors import Busy, Late, ServiceError

QUEUED_PREIMAGES_MAX = 65536
QUEUED_OCTETS_MAX = 64 * 1024 * 1024


@dataclass(eq=False)
class Job:
    """Preimages to sign with one key until `deadline` (monotonic seconds); `done` holds the signatures."""

    lane: int
    key_id: str
    preimages: list[bytes]
    deadline: float
    done: asyncio.Future[list[bytes]]
    given: int = 0
    missing: int = 0
    signatures: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.missing = len(self.preimages)
        self.signatures = [b""] * self.missing

    def fail(self, error: ServiceError) -> None:
        """End the job without signatures."""
        if not self.done.done():
            self.done.set_exception(error)


@dataclass(eq=False)
class Piece:
    """Part of a job in a worker's hands; `attempts` counts earlier workers that failed on it."""

    job: Job
    start: int
    preimages: list[bytes]
    attempts: int = 0

    def finish(self, signatures: Sequence[bytes]) -> Piece | None:
        """Hand in signatures of the first preimages, in order; return a piece of the rest, if there is one."""
        job = self.job
        if job.done.done():
            return None
        job.signatures[self.start : self.start + len(signatures)] = signatures
        job.missing -= len(signatures)
        if job.missing == 0:
            job.done.set_result(job.signatures)
        return self.cut(len(signatures))[1]

    def cut(self, size: int) -> tuple[Piece, Piece | None]:
        """Divide: at most `size` preimages, and the rest."""
        if size >= len(self.preimages):
            return self, None
        first = Piece(self.job, self.start, self.preimages[:size], self.attempts)
        return first, Piece(self.job, self.start + size, self.preimages[size:], self.attempts)

    def fail(self, error: ServiceError) -> None:
        """End the whole job: a request is answered entirely or not at all."""
        self.job.fail(error)


class FairQueue:
    """See the module. For one event loop; `monotonic` is its clock."""

    def __init__(
        self,
        monotonic: Callable[[], float],
        limit: int = QUEUED_PREIMAGES_MAX,
        octets_max: int = QUEUED_OCTETS_MAX,
    ) -> None:
        self._monotonic = monotonic
        self._limit = limit
        self._octets_max = octets_max
        self._octets = 0
        self._lanes: OrderedDict[int, deque[Job]] = OrderedDict()
        self._returned: deque[Piece] = deque()
        self._queued = 0
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """Preimages waiting."""
        return self._queued

    def put(
        self, lane: int, key_id: str, preimages: list[bytes], deadline: float
    ) -> asyncio.Future[list[bytes]]:
        """Queue a job; Busy when the queue is full, in number or octets of the jobs that are not done."""
        done: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()
        if not preimages:
            done.set_result([])
            return done
        if self._queued + len(preimages) > self._limit:
            raise Busy(f"{self._queued} signatures are waiting already", retry_in_s=1.0)
        octets = sum(map(len, preimages))
        if self._octets and self._octets + octets > self._octets_max:
            raise Busy(f"{self._octets} octets are waiting to be signed already", retry_in_s=1.0)
        self._octets += octets
        done.add_done_callback(lambda _: self._over(octets))
        self._lanes.setdefault(lane, deque()).append(Job(lane, key_id, preimages, deadline, done))
        self._queued += len(preimages)
        self._changed.set()
        return done

    def _over(self, octets: int) -> None:
        self._octets -= octets

    def give_back(self, piece: Piece) -> None:
        """Return a piece its worker could not do; it is handed out again before all else."""
        piece.attempts += 1
        self.put_back(piece)

    def put_back(self, piece: Piece) -> None:
        """Return a piece its worker had no time for."""
        self._returned.append(piece)
        self._queued += len(piece.preimages)
        self._changed.set()

    def take(self, size: int, accepts: Callable[[str], bool] = lambda key_id: True) -> Piece | None:
        """Return up to `size` preimages of the next job whose key id the worker accepts, or None."""
        self._drop_dead()
        for _ in range(len(self._returned)):
            piece = self._returned.popleft()
            if not accepts(piece.job.key_id):
                self._returned.append(piece)
                continue
            first, rest = piece.cut(size)
            if rest is not None:
                self._returned.appendleft(rest)
            self._queued -= len(first.preimages)
            return first
        for lane, jobs in self._lanes.items():
            if accepts(jobs[0].key_id):
                self._lanes.move_to_end(lane)
                return self._cut(jobs, size)
        return None

    def poke(self) -> None:
        """Wake all workers: something else than the queue has changed."""
        self._changed.set()

    async def wait(self) -> None:
        """Return when something was queued since the last `take` that found nothing."""
        await self._changed.wait()
        self._changed.clear()

    def fail_all(self, verdict: Callable[[str], ServiceError | None]) -> None:
        """End every waiting job for whose key id the verdict is an error."""
        waiting = [job for jobs in self._lanes.values() for job in jobs]
        for job in [*waiting, *(piece.job for piece in self._returned)]:
            if (error := verdict(job.key_id)) is not None:
                job.fail(error)
        self._drop_dead()

    def _cut(self, jobs: deque[Job], size: int) -> Piece:
        job = jobs[0]
        piece = Piece(job, job.given, job.preimages[job.given : job.given + size])
        job.given += len(piece.preimages)
        self._queued -= len(piece.preimages)
        if job.given == len(job.preimages):
            self._pop(job.lane, jobs)
        return piece

    def _pop(self, lane: int, jobs: deque[Job]) -> None:
        jobs.popleft()
        if not jobs:
            del self._lanes[lane]

    def _drop_dead(self) -> None:
        """Forget the jobs at the heads of lanes that are over or too late."""
        now = self._monotonic()
        for lane, jobs in list(self._lanes.items()):
            while jobs and self._dead(jobs[0], now):
                self._queued -= len(jobs[0].preimages) - jobs[0].given
                self._pop(lane, jobs)
        for piece in [piece for piece in self._returned if self._dead(piece.job, now)]:
            self._returned.remove(piece)
            self._queued -= len(piece.preimages)

    @staticmethod
    def _dead(job: Job, now: float) -> bool:
        if now > job.deadline:
            job.fail(Late("the deadline passed before a worker was free"))
        return job.done.done()
