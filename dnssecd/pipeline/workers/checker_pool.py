"""Check many signatures: a few in this process, more in several processes, one for each core."""

import os
import select
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from dnssecd.core.verify.checker import SignatureJob, run_batch
from dnssecd.pipeline.jobs.progress import Progress, untold
from dnssecd.pipeline.workers.checking_process import BATCH_DEADLINE_S, CheckerDied, CheckingProcess

#: Number of batches checked in this process before it is worth starting others.
INLINE_BATCHES = 8
#: Batches that may be queued for a process; they fit its socket's buffer, so no writer waits.
OUTSTANDING_MAX = 4


class SpreadChecker:
    """A core.verify.SignatureChecker that starts processes if there are many signatures to check."""

    def __init__(self, processes: int, told: Progress = untold) -> None:
        """Take ``told``, which is called with the number of signatures taken for checking."""
        self._wanted = processes
        self._told = told
        self._taken = 0
        self._processes: list[CheckingProcess] = []
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
            self._processes = [CheckingProcess() for _ in range(self._wanted)]
        process = self._free_process()
        answer = process.submit(jobs)

        def wait() -> list[int]:
            while answer.bad is None:
                process.receive()
            return answer.bad

        return wait

    def _free_process(self) -> CheckingProcess:
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
