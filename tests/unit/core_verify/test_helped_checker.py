"""A version of updates is checked with the help of a process: all that is bad is found, whatever the process does."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from dnssecd.core.verify.checker import SignatureJob
from dnssecd.core.verify.keys import ZoneKey
from dnssecd.daemon.zones.update_checkers import UpdateCheckers
from dnssecd.pipeline.workers import checking_process
from dnssecd.pipeline.workers.checking_process import Answer, CheckerDied, CheckingProcess
from dnssecd.pipeline.workers.helped_checker import (
    BATCH,
    QUIET_S,
    RETRY_S,
    HelpedChecker,
    Helper,
)
from tests.peers.process import wait_until

PRIVATE = ed25519.Ed25519PrivateKey.generate()
RDATA = b"\x01\x00\x03\x0f" + PRIVATE.public_key().public_bytes_raw()
VERIFY = ZoneKey(RDATA).verify
BATCHES = 12


def batch(number: int, size: int = BATCH) -> list[SignatureJob]:
    """A batch whose signature ``number`` modulo its size is bad."""
    assert VERIFY is not None
    jobs = []
    for at in range(size):
        message = b"%d %d" % (number, at)
        signature = PRIVATE.sign(message if at != number % size else b"another")
        jobs.append(SignatureJob((VERIFY,), signature, message, (RDATA,)))
    return jobs


class Seen:
    """What a helper reports, and a clock."""

    def __init__(self) -> None:
        self.causes: list[str] = []
        self.now = 1000.0
        self.started: list[CheckingProcess] = []

    def helper(self) -> Helper:
        return Helper(self.causes.append, self.start, lambda: self.now)

    def start(self, deadline_s: float) -> CheckingProcess:
        self.started.append(CheckingProcess(deadline_s))
        return self.started[-1]


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def helper(seen: Seen) -> Iterator[Helper]:
    helper = seen.helper()
    yield helper
    helper.close()


def ready(helper: Helper) -> CheckingProcess:
    return wait_until(helper.process, "the process is ready")


def check_all(checker: HelpedChecker, *, sizes: tuple[int, ...] = (BATCH,) * BATCHES + (BATCH - 3,)) -> None:
    waits = [checker(batch(number, size)) for number, size in enumerate(sizes)]
    assert [wait() for wait in waits] == [[number % size] for number, size in enumerate(sizes)]


def test_what_is_bad_is_found_by_the_thread_and_by_the_process(
    seen: Seen, helper: Helper, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Answer] = []
    submit = CheckingProcess.submit
    monkeypatch.setattr(
        CheckingProcess, "submit", lambda self, jobs: given.append(submit(self, jobs)) or given[-1]
    )
    ready(helper)
    for _ in range(3):
        check_all(HelpedChecker(helper))
    answered = [answer.bad for answer in given if answer.bad]
    assert answered
    assert not seen.causes
    assert len(seen.started) == 1


def test_nothing_is_started_for_a_small_group(seen: Seen, helper: Helper) -> None:
    check_all(HelpedChecker(helper), sizes=(BATCH - 1,))
    assert not seen.started


def test_a_version_does_not_wait_for_the_start(seen: Seen, helper: Helper) -> None:
    check_all(HelpedChecker(helper))
    assert len(seen.started) == 1
    ready(helper)


def test_answers_to_a_version_that_was_given_up_are_not_taken_for_the_next(helper: Helper) -> None:
    ready(helper)
    given_up = HelpedChecker(helper)
    for number in (1, 2, 3):
        given_up(batch(number))
    check_all(HelpedChecker(helper))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_what_a_process_does_not_answer_is_checked_here(
    seen: Seen, helper: Helper, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setattr("dnssecd.pipeline.workers.helped_checker.ANSWER_S", 0.2)
    process = ready(helper)
    checker = HelpedChecker(helper)
    first = checker(batch(5))
    os.kill(process.pid, number)
    assert first() == [5]
    check_all(checker)
    if not seen.causes:  # it had answered before the signal
        check_all(HelpedChecker(helper))
    assert len(seen.causes) == 1
    assert helper.process() is None, "not again at once"
    seen.now += RETRY_S
    assert ready(helper).pid != process.pid
    check_all(HelpedChecker(helper))


class Liar(CheckingProcess):
    """Answers what no checking process may answer."""

    def receive(self) -> None:
        """Take an answer, which is false."""
        for answer in self._owed:
            answer.give([BATCH])
        super().receive()


def test_an_answer_that_fits_no_batch_is_none(seen: Seen) -> None:
    helper = Helper(seen.causes.append, Liar, lambda: seen.now)
    try:
        assert wait_until(lambda: helper.process() or bool(seen.causes), "it is given up") is True
        check_all(HelpedChecker(helper))
        assert "named signatures [16] in a batch of 0" in seen.causes[0]
    finally:
        helper.close()


def test_a_process_that_does_not_start_is_reported_once(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(12, "no memory")

    monkeypatch.setattr(checking_process.child, "start", refuse)
    helper = seen.helper()
    for _ in range(3):
        check_all(HelpedChecker(helper))
    assert [cause.partition(":")[0] for cause in seen.causes] == ["a checking process does not start"]


def test_a_process_without_work_ends(seen: Seen, helper: Helper) -> None:
    process = ready(helper)
    helper.rest()
    assert helper.process() is process
    seen.now += QUIET_S
    with helper.busy:
        helper.rest()  # a version is being made
    assert os.kill(process.pid, 0) is None
    helper.rest()
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)
    assert not seen.causes
    assert ready(helper) is not process


def test_an_answer_out_of_range_is_refused() -> None:
    answer = Answer(2)
    for bad in ([2], [-1]):
        with pytest.raises(CheckerDied):
            answer.give(bad)
    assert answer.bad is None


def test_one_processor_has_no_helper() -> None:
    failed: list[int] = []
    checkers = UpdateCheckers(lambda: failed.append(1), processors=1)
    with checkers.checker() as checker:
        assert not isinstance(checker, HelpedChecker)
    checkers.close()
    checkers = UpdateCheckers(lambda: failed.append(1), processors=2)
    for _ in range(2):
        with checkers.checker() as checker:
            assert isinstance(checker, HelpedChecker)
            check_all(checker)
    checkers.rest()
    checkers.close()
    assert not failed
