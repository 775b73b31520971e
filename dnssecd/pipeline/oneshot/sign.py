"""Sign one zone file without a daemon: the normal path, in memory, then a signed zone file."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from dnssecd.core.dns.rrset import RRset
from dnssecd.core.signing.lifetimes import Window
from dnssecd.core.verify import SignatureChecker
from dnssecd.ingest.gc_pause import collection_paused
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_protocol import KeyInfo
from dnssecd.pipeline.export import PIECE_RRSETS, Piece, RrsigText, chain_text, content_text
from dnssecd.pipeline.jobs.job import Report
from dnssecd.pipeline.jobs.load import checked_content, parse_input, whole_input
from dnssecd.pipeline.jobs.outcome import Problem
from dnssecd.pipeline.jobs.progress import Progress, untold
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.oneshot.keys import keyset_of
from dnssecd.pipeline.version.draft import Draft, draft_version
from dnssecd.pipeline.version.first_keys import prove
from dnssecd.pipeline.version.rejected import Rejected
from dnssecd.pipeline.version.verification import DraftVerifier
from dnssecd.store.memory import MemoryTransaction


@dataclass(frozen=True)
class OneShot:
    """What to sign and how. ``window``: signature times; ``now`` is what they are verified at (epoch seconds)."""

    spec: ZoneSpec
    file: Path
    window: Window
    now: int
    date: int
    verify: bool


@dataclass(frozen=True)
class Signed:
    """The result of signing."""

    serial: int
    signatures: int
    records: int
    warnings: tuple[Problem, ...]


def sign_file(
    job: OneShot,
    keys: Callable[[], Sequence[KeyInfo]],
    signer: SignerClient,
    checker: SignatureChecker,
    write: Callable[[str], object],
    told: Progress = untold,
) -> Signed:
    """Sign ``job.file`` and pass the signed zone to ``write`` in pieces; if it raises, discard what was written.

    ``keys`` is called for the keys after the file was read. Raises Rejected if the input is bad or
    verification finds faults, and SignerError.
    """
    with collection_paused():
        return _sign_file(job, keys, signer, checker, write, told)


def _sign_file(
    job: OneShot,
    keys: Callable[[], Sequence[KeyInfo]],
    signer: SignerClient,
    checker: SignatureChecker,
    write: Callable[[str], object],
    told: Progress,
) -> Signed:
    report = Report()
    rrsets = _read(job, report)
    told("read", len(rrsets), len(rrsets))
    infos = keys()
    keyset = keyset_of(job.spec, infos, job.now)
    for info in infos:
        prove(job.spec, info, signer)
    transaction = MemoryTransaction(job.spec.origin)
    given = whole_input(transaction, rrsets, input_serial=report.input_serial, window=job.window)
    out = _Output(transaction, write)
    early = None if job.spec.zonemd else out.work
    draft = draft_version(transaction, job.spec, keyset, given, signer, job.now, job.date, early, told)
    assert draft is not None, "the first version of a zone is always made"
    while out.work():
        told("write", out.records, None)
    if job.verify:
        _verify(draft, checker)
    return Signed(draft.serial, draft.signatures, out.records, tuple(report.warnings))


def _read(job: OneShot, report: Report) -> list[RRset]:
    with _remedy("correct the file; nothing was written"):
        return checked_content(parse_input(job.file, job.spec, report, finished=True), job.spec, report)


def _verify(draft: Draft, checker: SignatureChecker) -> None:
    with _remedy("try again; if the fault remains, report it as a bug; nothing was written"):
        DraftVerifier(checker).check(draft)


@contextmanager
def _remedy(text: str) -> Iterator[None]:
    """Return the remedy for a run without a daemon, which has no previous version to serve."""
    try:
        yield
    except Rejected as error:
        raise Rejected(error.event, error.cause, text, error.violations) from error


class _Output:
    """The signed zone as text, a piece at a time: content, chain, and the RRSIGs as they are made."""

    def __init__(self, transaction: MemoryTransaction, write: Callable[[str], object]) -> None:
        self._transaction, self._write = transaction, write
        self._unsigned = chain(content_text(transaction), chain_text(transaction))
        self._rrsigs = RrsigText(transaction.origin)
        self._written = 0
        self.records = 0

    def work(self) -> bool:
        """Write a piece; return whether there was one. Content and chain must be complete."""
        piece = next(self._unsigned, None) or self._next_rrsigs()
        if piece is None:
            return False
        self._write(piece[0])
        self.records += piece[1]
        return True

    def _next_rrsigs(self) -> Piece | None:
        rows = self._transaction.arrivals[self._written : self._written + PIECE_RRSETS]
        self._written += len(rows)
        return self._rrsigs.piece(rows) if rows else None
