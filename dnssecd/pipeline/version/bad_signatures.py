"""Report a token that makes bad signatures to the key service, which evicts it; another token repeats the work."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from dnssecd.core.keys.keyset import SigningView
from dnssecd.core.verify import SignatureChecker
from dnssecd.core.verify.checker import SignatureJob, batch_of
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.pipeline.version.rejected import Rejected

#: One bad signature is enough to evict its token; further ones may show further bad tokens.
KEPT_MAX = 20
#: A job is repeated at most this often: a key store has few tokens, and not all of them are bad.
AGAIN_MAX = 2

T = TypeVar("T")


class TokenEvicted(Rejected):
    """The version has bad signatures, and the token that made them was evicted."""


class BadSignatures:
    """A SignatureChecker that remembers the bad signatures that another checker finds."""

    def __init__(self, checker: SignatureChecker) -> None:
        self._checker = checker
        self.batch = batch_of(checker)
        self.found: list[SignatureJob] = []

    def __call__(self, jobs: Sequence[SignatureJob], /) -> Callable[[], list[int]]:
        """Take a batch; return the function that waits for the indexes of the bad ones."""
        wait = self._checker(jobs)

        def waited() -> list[int]:
            bad = wait()
            self.found += [jobs[index] for index in bad[: KEPT_MAX - len(self.found)]]
            return bad

        return waited

    def report(self, zone: bytes, view: SigningView, signer: SignerClient) -> bool:
        """Report each to the key service; return whether it evicted a token. Events report a failure to do so."""
        key_ids = {
            (key.algorithm, key.public_key): key.key_id
            for key in (
                *view.dnskey_keys,
                *view.cds_keys,
                *view.zone_keys,
                *view.soa_keys,
                *view.retiring_keys,
            )
        }
        evicted = False
        for job in self.found:
            for rdata in job.keys:
                key_id = key_ids.get((rdata[3], rdata[4:]))
                if key_id is not None:
                    with suppress(SignerError):
                        evicted |= signer.report_bad(zone, key_id, job.message, job.signature).evicted
        return evicted


def with_another_token(work: Callable[[], T], forget: Callable[[], object]) -> T:
    """Repeat ``work``, after ``forget``, if a token was evicted for its signatures.

    A failed ``work`` changes nothing in the zone; ``forget`` clears its other notes.
    """
    for _ in range(AGAIN_MAX):
        with suppress(TokenEvicted):
            return work()
        forget()
    return work()
