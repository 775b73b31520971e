"""Check the signatures of one version of updates in the thread that makes it, with a process that helps.

``cryptography`` holds Python's lock while it verifies. For a group of 64 updates that is most of the time of the
verification; meanwhile the thread could judge the structure, and the event loop could read the next messages. So
batches go to a process that works on them at the same time. What it has not taken when the thread has nothing else to
do, the thread checks itself. What the process does not answer, the thread checks again: the process makes a version
quicker, and no version depends on it.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock

from dnssecd.core.verify.checker import SignatureJob, run_batch
from dnssecd.pipeline.workers.checking_process import Answer, CheckerDied, CheckingProcess

#: Signatures in a batch; a smaller group is checked in the thread.
BATCH = 16
#: Batches at the process: one that it checks, and one so that it need not wait.
OUTSTANDING_MAX = 2
#: A process that gives no answer within this time counts as hung.
ANSWER_S = 1.0
#: After a failure no other process is started for this time.
RETRY_S = 60.0
#: A process without a batch for this time is ended.
QUIET_S = 60.0


class Helper:
    """The process that helps one thread: started for the first full batch, ended when it is not needed for a while.

    Methods of one thread, but for ``rest`` and ``close``.
    """

    def __init__(
        self,
        failed: Callable[[str], None],
        start: Callable[[float], CheckingProcess] = CheckingProcess,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """failed: called with the cause when the process could not be started, ended by itself or hung."""
        self._failed, self._start, self._monotonic = failed, start, monotonic
        self._process: CheckingProcess | None = None
        self._greeting: Answer | None = None
        self._retry_at = self._used_at = 0.0
        #: Held while a version is being made.
        self.busy = Lock()

    def process(self) -> CheckingProcess | None:
        """Return the process, if it is ready; otherwise start it, or find out if it is ready by now."""
        self._used_at = self._monotonic()
        if self._process is not None:
            if self._greeting is None or self._greeted(self._process):
                return self._process
        elif self._used_at >= self._retry_at:
            try:
                self._process = self._start(ANSWER_S)
                self._greeting = self._process.submit(())
            except (OSError, CheckerDied) as error:
                self.fail(f"a checking process does not start: {error}")
        return None

    def _greeted(self, process: CheckingProcess) -> bool:
        assert self._greeting is not None
        try:
            process.poll()
        except CheckerDied as error:
            self.fail(str(error))
            return False
        if self._greeting.bad is None:
            return False
        self._greeting = None
        return True

    def fail(self, cause: str) -> None:
        """Give the process up, and say so."""
        self._retry_at = self._monotonic() + RETRY_S
        self._end()
        self._failed(cause)

    def _end(self) -> None:
        process, self._process, self._greeting = self._process, None, None
        if process is not None:
            process.kill()

    def rest(self) -> None:
        """End the process if it had no batch for a while."""
        if self._process is None or self._monotonic() - self._used_at < QUIET_S:
            return
        if self.busy.acquire(blocking=False):
            try:
                self._end()
            finally:
                self.busy.release()

    def close(self) -> None:
        """End the process; the thread makes no more versions."""
        self._end()


class _Batch:
    __slots__ = ("answer", "bad", "jobs")

    def __init__(self, jobs: Sequence[SignatureJob]) -> None:
        self.jobs = jobs
        self.bad: list[int] | None = None
        self.answer: Answer | None = None

    def check(self) -> list[int]:
        """Check it here."""
        self.bad = run_batch(self.jobs)
        return self.bad


class HelpedChecker:
    """A core.verify.SignatureChecker for one version."""

    batch = BATCH

    def __init__(self, helper: Helper) -> None:
        self._helper = helper
        self._process: CheckingProcess | None = None
        #: Not at the process yet; and at the process.
        self._waiting: deque[_Batch] = deque()
        self._sent: deque[_Batch] = deque()

    def __call__(self, jobs: Sequence[SignatureJob], /) -> Callable[[], list[int]]:
        """Take a batch; return the function that waits for the indexes of the bad ones."""
        batch = _Batch(jobs)
        if len(jobs) >= BATCH and self._process is None:
            self._process = self._helper.process()
        if self._process is None:
            bad = batch.check()
            return lambda: bad
        self._waiting.append(batch)
        self._feed()
        return lambda: self._wait(batch)

    def _wait(self, batch: _Batch) -> list[int]:
        while batch.bad is None:
            self._feed()
            if self._waiting:
                self._waiting.pop().check()
            elif batch.bad is None:
                self._with_process(CheckingProcess.receive)
        return batch.bad

    def _feed(self) -> None:
        """Take the answers that are there, and send batches instead of those."""
        if self._sent:
            self._with_process(CheckingProcess.poll)
        while self._process is not None and self._waiting and len(self._sent) < OUTSTANDING_MAX:
            batch = self._waiting.popleft()
            self._sent.append(batch)
            self._with_process(lambda process: self._send(process, batch))  # noqa: B023 - called at once

    @staticmethod
    def _send(process: CheckingProcess, batch: _Batch) -> None:
        batch.answer = process.submit(batch.jobs)

    def _with_process(self, act: Callable[[CheckingProcess], None]) -> None:
        """Do something with the process, then take answers; if it fails, check here what it was sent."""
        assert self._process is not None
        try:
            act(self._process)
        except CheckerDied as error:
            self._process = None
            self._helper.fail(str(error))
        while self._sent:
            first = self._sent[0]
            if first.answer is not None and first.answer.bad is not None:
                first.bad = first.answer.bad
            elif self._process is None:
                first.check()
            else:
                return
            self._sent.popleft()
