"""One process that checks signatures in batches (workers/checker.py), and its unanswered batches."""

import select
import socket
from collections import deque
from collections.abc import Sequence

from dnssecd.core.verify.checker import SignatureJob
from dnssecd.pipeline.workers import codec
from dnssecd.pipeline.workers.checker import Checks
from dnssecd.procs import child
from dnssecd.procs.frames import FrameBuffer, FrameError

BATCH_DEADLINE_S = 300.0
STOP_DEADLINE_S = 5.0
BUFFER_OCTETS = 1 << 20
RECEIVE_OCTETS = 64 * 1024


class CheckerDied(Exception):
    """A checking process ended or hung; its signatures count as unchecked."""


class Answer:
    """The answer to a batch; ``bad``: the indexes of the bad signatures, None while it is not there."""

    __slots__ = ("_size", "bad")

    def __init__(self, size: int) -> None:
        self._size = size
        self.bad: list[int] | None = None

    def give(self, bad: list[int]) -> None:
        """Take the answer; raise CheckerDied if it cannot be one to this batch."""
        if any(not 0 <= index < self._size for index in bad):
            raise CheckerDied(f"a checking process named signatures {bad} in a batch of {self._size}")
        self.bad = bad


class CheckingProcess:
    """A checking process; answers come in the order of the batches. For one thread."""

    def __init__(self, deadline_s: float = BATCH_DEADLINE_S) -> None:
        """deadline_s: a process that sends nothing during this time counts as hung."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_OCTETS)
        ours.settimeout(deadline_s)
        self._socket = ours
        try:
            with theirs:
                self._process = child.start(
                    "dnssecd.pipeline.workers.checker",
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    new_session=True,
                )
        except OSError:
            ours.close()
            raise
        self._frames = FrameBuffer(codec.FRAME_OCTETS_MAX)
        self._owed: deque[Answer] = deque()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def outstanding(self) -> int:
        """Return how many batches are unanswered."""
        return len(self._owed)

    def submit(self, jobs: Sequence[SignatureJob]) -> Answer:
        """Send a batch; its answer comes with a later ``receive``. Raise CheckerDied."""
        numbers: dict[tuple[bytes, ...], int] = {}
        checks = [
            (numbers.setdefault(keys, len(numbers)), signature, message)
            for _, signature, message, keys in jobs
        ]
        try:
            self._socket.sendall(codec.encode(Checks(list(numbers), checks)))
        except OSError as error:
            raise CheckerDied(f"a checking process took no batch: {error}") from error
        answer = Answer(len(jobs))
        self._owed.append(answer)
        return answer

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when there is an answer."""
        return self._socket.fileno()

    def receive(self) -> None:
        """Take the available answers; wait until there is something to read. Raise CheckerDied."""
        try:
            octets = self._socket.recv(RECEIVE_OCTETS)
            if not octets:
                raise CheckerDied("a checking process ended before its answer")
            for body in self._frames.feed(octets):
                if not self._owed:
                    raise CheckerDied("a checking process gave an answer to no batch")
                self._owed.popleft().give(codec.decode(body, list[int]))
        except (OSError, FrameError) as error:
            raise CheckerDied(f"a checking process gave no answer: {error}") from error

    def poll(self) -> None:
        """Take the available answers, if any, without waiting. Raise CheckerDied."""
        if select.select((self,), (), (), 0.0)[0]:
            self.receive()

    def close(self) -> None:
        """End the process."""
        self._socket.close()
        child.stop(self._process, STOP_DEADLINE_S)

    def kill(self) -> None:
        """End the process, which may hang, at once."""
        self._socket.close()
        child.kill(self._process)
