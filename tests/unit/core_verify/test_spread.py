"""Checking spread over processes: all that is bad is found, and a checker that dies is no pass."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from dnssecd.core.verify.checker import BATCH_SIZE, SignatureJob
from dnssecd.core.verify.keys import ZoneKey
from dnssecd.pipeline.workers.checker_pool import INLINE_BATCHES, OUTSTANDING_MAX, CheckerDied, SpreadChecker

PRIVATE = ed25519.Ed25519PrivateKey.generate()
RDATA = b"\x01\x00\x03\x0f" + PRIVATE.public_key().public_bytes_raw()
OTHER = b"\x01\x00\x03\x0f" + ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw()
VERIFY = ZoneKey(RDATA).verify
BATCHES = INLINE_BATCHES + 4 * OUTSTANDING_MAX + 3


def batch(number: int) -> list[SignatureJob]:
    assert VERIFY is not None
    jobs = []
    for at in range(BATCH_SIZE // 16):
        message = b"%d %d" % (number, at)
        signature = PRIVATE.sign(message if at != number % 16 else b"another")
        jobs.append(SignatureJob((VERIFY,), signature, message, (OTHER, RDATA) if at % 2 else (RDATA,)))
    return jobs


def test_what_is_bad_is_found_wherever_it_was_checked() -> None:
    checker = SpreadChecker(2)
    try:
        answers = [checker(batch(number)) for number in range(BATCHES)]
        assert [answer() for answer in reversed(answers)] == [
            [number % 16] for number in reversed(range(BATCHES))
        ]
    finally:
        checker.close()


def all_answers(checker: SpreadChecker, answers: list[Callable[[], list[int]]]) -> list[list[int]]:
    answers += [checker(batch(number)) for number in range(BATCHES)]
    return [answer() for answer in answers]


def test_a_checker_that_dies_passes_nothing() -> None:
    checker = SpreadChecker(2)
    try:
        answers = [checker(batch(number)) for number in range(INLINE_BATCHES + 1)]
        for pid in checker.pids:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(CheckerDied):
            all_answers(checker, answers)
    finally:
        checker.close()
