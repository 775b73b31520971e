"""Check many signatures: a few in this process, more in several processes, one for each core."""

import os
import select
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from dnssecd.core.verify.checker import SignatureJob, run_batch
from dnssecd.pipeline.jobs.progress import Progress, untold
from dnssecd.pipeline.workers import frames
from dnssecd.pipeline.workers.checker import Checks
from dnssecd.procs import child
from dnssecd.procs.frames import FrameBuffer, FrameError

#: Number of batches checked in this process before it is worth starting others.
INLINE_BATCHES = 8
#: Batches that may be queued for a process; they fit its socket's buffer, so no writer waits.
OUTSTANDING_MAX = 4
BATCH_DEADLINE_S = 300.0
STOP_DEADLINE_S = 5.0
BUFFER_OCTETS = 1 << 20
RECEIVE_OCTETS = 64 * 1024


class CheckerDied(Exception):
    """A checking process ended or hung; its signatures count as unchecked."""


class _Process:
    """One checking process and its unanswered batches."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_OCTETS)
        ours.settimeout(BATCH_DEADLINE_S)
        with theirs:
            self._process = child.start(
                "dnssecd.pipeline.workers.checker", stdin=theirs.fileno(), stdout=theirs.fileno()
            )
        self._socket = ours
        self._frames = FrameBuffer(frames.FRAME_OCTETS_MAX)
        self._owed: deque[list[list[int]]] = deque()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def outstanding(self) -> int:
        """Return how many batches are unanswered."""
        return len(self._owed)

    def submit(self, jobs: Sequence[SignatureJob]) -> Callable[[], list[int]]:
        """Send a batch; return the function that waits for its answer."""
        place: list[list[int]] = []
        numbers: dict[tuple[bytes, ...], int] = {}
        checks = [
            (numbers.setdefault(keys, len(numbers)), signature, message)
            for _, signature, message, keys in jobs
        ]
        try:
            self._socket.sendall(frames.encode(Checks(list(numbers), checks)))
        except OSError as error:
            raise CheckerDied(f"a checking process took no batch: {error}") from error
        self._owed.append(place)

        def wait() -> list[int]:
            while not place:
                self.receive()
            return place[0]

        return wait

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when there is an answer."""
        return self._socket.fileno()

    def receive(self) -> None:
        """Take the available answers; wait until there is something to read."""
        try:
            octets = self._socket.recv(RECEIVE_OCTETS)
            if not octets:
                raise CheckerDied("a checking process ended before its answer")
            for body in self._frames.feed(octets):
                self._owed.popleft().append(frames.decode(body, list[int]))
        except (OSError, FrameError) as error:
            raise CheckerDied(f"a checking process gave no answer: {error}") from error

    def close(self) -> None:
        """End the process."""
        self._socket.close()
        child.stop(self._process, STOP_DEADLINE_S)


class SpreadChecker:
    """A core.verify.SignatureChecker that starts processes if there are many signatures to check."""

    def __init__(self, processes: int, told: Progress = untold) -> None:
        """Take ``told``, which is called with the number of signatures taken for checking."""
        self._wanted = processes
        self._told = told
        self._taken = 0
        self._processes: list[_Process] = []
        self._seen = 0

    def __call__(self, jobs: Sequence[SignatureJob], /) -> Callable[[], list[int]]:
        """Take a batch; return the function that waits for the indexes of the bad ones."""
        self._seen += 1
        self._taken += len(jobs)
        self._told("verify", self._taken, None)
        if self._seen <= INLINE_BATCHES:
            failed = run_batch(jobs)
            return lambda: failed
        if not self._processes:
            self._processes = [_Process() for _ in range(self._wanted)]
        return self._free_process().submit(jobs)

    def _free_process(self) -> _Process:
        """Return the process with the fewest unanswered batches; if all have many, wait for the first answer."""
        self._receive(0.0)
        while (process := min(self._processes, key=lambda p: p.outstanding)).outstanding >= OUTSTANDING_MAX:
            if not self._receive(BATCH_DEADLINE_S):
                raise CheckerDied(f"no checking process gave an answer within {BATCH_DEADLINE_S:g} s")
        return process

    def _receive(self, wait_s: float) -> bool:
        """Take the available answers; return whether there were any."""
        ready, _, _ = select.select(self._processes, [], [], wait_s)
        for process in ready:
            process.receive()
        return bool(ready)

    @property
    def pids(self) -> list[int]:
        """Return the process ids of the started processes."""
        return [process.pid for process in self._processes]

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.close()


@contextmanager
def spread_checker(told: Progress = untold) -> Iterator[SpreadChecker]:
    """Provide a checker for one job, with a process for each core; the processes end with the block."""
    checker = SpreadChecker(len(os.sched_getaffinity(0)), told)
    try:
        yield checker
    finally:
        checker.close()
