"""How signatures are checked in bulk: batches of jobs, inline or spread over threads the caller owns."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from dnssecd.core.verify.keys import Verify

BATCH_SIZE = 256
_PENDING_MAX = 32


Context = TypeVar("Context")


class SignatureJob(NamedTuple):
    """One check; good when any of ``verifies`` accepts (keys may share a tag).

    ``keys`` are the DNSKEY RDATAs that ``verifies`` check with, for checkers in other processes.
    """

    verifies: tuple[Verify, ...]
    signature: bytes
    message: bytes
    keys: tuple[bytes, ...] = ()


def run_batch(jobs: Sequence[SignatureJob]) -> list[int]:
    """Check jobs; return the indexes of those that failed. Safe to run in any thread."""
    failed = []
    for index, (verifies, signature, message, _) in enumerate(jobs):
        if not verifies[0](signature, message) and not any(v(signature, message) for v in verifies[1:]):
            failed.append(index)
    return failed


class SignatureChecker(Protocol):
    """Takes a batch; returns a function that waits for it and gives the indexes of the jobs that failed.

    An attribute ``batch`` states a batch size other than BATCH_SIZE.
    """

    def __call__(self, jobs: Sequence[SignatureJob], /) -> Callable[[], list[int]]:
        """Take a batch; return the function that waits for its failures."""


def inline_checker(jobs: Sequence[SignatureJob], /) -> Callable[[], list[int]]:
    """Check at once, in the caller's thread."""
    failed = run_batch(jobs)
    return lambda: failed


class _Future(Protocol):
    def result(self, timeout: float | None = None) -> list[int]: ...


class _Executor(Protocol):
    def submit(
        self, fn: Callable[[Sequence[SignatureJob]], list[int]], jobs: Sequence[SignatureJob], /
    ) -> _Future: ...


class ExecutorChecker:
    """A checker over a ``concurrent.futures`` thread pool; TimeoutError if a batch takes longer.

    batch: how many signatures it takes at a time; with small batches checking begins while the rest is being
    judged.
    """

    def __init__(self, executor: _Executor, timeout_s: float = 300.0, batch: int = BATCH_SIZE) -> None:
        self._executor, self._timeout_s, self.batch = executor, timeout_s, batch

    def __call__(self, jobs: Sequence[SignatureJob], /) -> Callable[[], list[int]]:
        """Take a batch."""
        future = self._executor.submit(run_batch, jobs)
        return lambda: future.result(self._timeout_s)


def batch_of(checker: SignatureChecker) -> int:
    """Return the batch size of a checker."""
    return int(getattr(checker, "batch", BATCH_SIZE))


class BatchQueue(Generic[Context]):
    """Collects jobs with a context each; hands failed contexts to ``on_failure``. Bounded in flight."""

    def __init__(self, checker: SignatureChecker, on_failure: Callable[[Context], None]) -> None:
        self._checker = checker
        self._on_failure = on_failure
        self._size = batch_of(checker)
        self._jobs: list[SignatureJob] = []
        self._contexts: list[Context] = []
        self._pending: deque[tuple[Callable[[], list[int]], list[Context]]] = deque()
        self.checked = 0

    def add(self, job: SignatureJob, context: Context) -> None:
        """Queue one job; ``context`` says whose signature it is."""
        self._jobs.append(job)
        self._contexts.append(context)
        if len(self._jobs) >= self._size:
            self._flush()

    def finish(self) -> None:
        """Wait for everything."""
        if self._jobs:
            self._flush()
        while self._pending:
            self._collect()

    def _flush(self) -> None:
        self.checked += len(self._jobs)
        self._pending.append((self._checker(self._jobs), self._contexts))
        self._jobs, self._contexts = [], []
        if len(self._pending) >= _PENDING_MAX:
            self._collect()

    def _collect(self) -> None:
        wait, contexts = self._pending.popleft()
        for index in wait():
            self._on_failure(contexts[index])
