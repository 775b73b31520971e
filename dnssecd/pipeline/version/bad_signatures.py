"""A token that makes bad signatures is told of to the key service, which evicts it; another does the work again."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from dnssecd.core.keys.keyset import SigningView
from dnssecd.core.verify import SignatureChecker
from dnssecd.core.verify.checker import SignatureJob, batch_of
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.pipeline.version.rejected import Rejected

#: One bad signature is enough to evict the token that made it; more tell of more tokens.
KEPT_MAX = 20
#: So often a job is done again in one go: a key store has few tokens, and not all of them lie.
AGAIN_MAX = 2

T = TypeVar("T")


class TokenEvicted(Rejected):
    """The version has bad signatures, and the token that made them is not used any more."""


class BadSignatures:
    """A SignatureChecker that keeps what the one it asks found bad."""

    def __init__(self, checker: SignatureChecker) -> None:
        self._checker = checker
        self.batch = batch_of(checker)
        self.found: list[SignatureJob] = []

    def __call__(self, jobs: Sequence[SignatureJob], /) -> Callable[[], list[int]]:
        """Take a batch; returns the function that waits for the indexes of the bad ones."""
        wait = self._checker(jobs)

        def waited() -> list[int]:
            bad = wait()
            self.found += [jobs[index] for index in bad[: KEPT_MAX - len(self.found)]]
            return bad

        return waited

    def report(self, zone: bytes, view: SigningView, signer: SignerClient) -> bool:
        """Tell the key service of each; return whether it evicted a token. What it cannot be told is in the events."""
        key_ids = {
            (key.algorithm, key.public_key): key.key_id
            for key in (*view.dnskey_keys, *view.cds_keys, *view.zone_keys, *view.retiring_keys)
        }
        evicted = False
        for job in self.found:
            for rdata in job.keys:
                key_id = key_ids.get((rdata[3], rdata[4:]))
                if key_id is not None:
                    with suppress(SignerError):
                        evicted |= "evicted" in signer.report_bad(zone, key_id, job.message, job.signature)
        return evicted


def with_another_token(work: Callable[[], T], forget: Callable[[], object]) -> T:
    """Do ``work`` again, after ``forget``, when a token was evicted for what it made.

    A failed ``work`` leaves nothing behind in the zone; ``forget`` is for what it noted elsewhere.
    """
    for _ in range(AGAIN_MAX):
        with suppress(TokenEvicted):
            return work()
        forget()
    return work()
