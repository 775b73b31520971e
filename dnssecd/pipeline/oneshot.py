"""Signing one zone file without a daemon: the same path, in a throw-away store, then a signed zone file."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dnssecd.core.keyset import Key, Keyset, KeysetError, initial_keyset, new_key
from dnssecd.core.keystate import Role
from dnssecd.core.lifetimes import Window
from dnssecd.core.verify import SignatureChecker
from dnssecd.pipeline.export import export_text
from dnssecd.pipeline.jobs import Report, checked_content, parse_input, whole_input
from dnssecd.pipeline.keys import prove
from dnssecd.pipeline.outcome import Problem
from dnssecd.pipeline.rejected import Rejected
from dnssecd.pipeline.spec import ZoneSpec
from dnssecd.pipeline.verification import DraftVerifier
from dnssecd.pipeline.version import Draft, draft_version
from dnssecd.signing.client import SignerClient
from dnssecd.store.zonedb import ZoneDatabase
from dnssecd.wire_protocol import KeyInfo


@dataclass(frozen=True)
class OneShot:
    """What to sign and how. ``window``: signature times; ``now`` is what they are verified at (epoch seconds)."""

    spec: ZoneSpec
    file: Path
    keys: Sequence[KeyInfo]
    window: Window
    now: int
    date: int
    verify: bool


@dataclass(frozen=True)
class Signed:
    """What was made."""

    serial: int
    signatures: int
    records: int
    warnings: tuple[Problem, ...]


def keyset_of(spec: ZoneSpec, keys: Sequence[KeyInfo], now: int) -> Keyset:
    """Return the key set of keys that are all in use; Rejected where they do not go together."""
    made = [_key(info, now) for info in keys]
    roles = {key.role for key in made}
    if not (Role.CSK in roles or {Role.KSK, Role.ZSK} <= roles):
        raise Rejected(
            "input-error",
            "the keys given are not enough: a zone needs a KSK and a ZSK, or a CSK",
            "give more keys",
        )
    try:
        return initial_keyset(spec.origin, tuple(made), now)
    except KeysetError as error:
        raise Rejected("input-error", f"the keys given do not go together: {error}") from error


def _key(info: KeyInfo, now: int) -> Key:
    return new_key(info.id, Role(info.role), info.algorithm, info.public_key, info.store, now, info.bits)


def sign_file(
    job: OneShot,
    database: Path,
    signer: SignerClient,
    checker: SignatureChecker,
    write: Callable[[str], object],
) -> Signed:
    """Sign ``job.file`` by way of ``database`` (created here) and hand the signed zone to ``write``, in pieces.

    Raises Rejected when the input is bad or verification finds fault (then nothing was written), SignerError.
    """
    report = Report()
    rrsets = checked_content(parse_input(job.file, job.spec, report, finished=True), job.spec, report)
    keyset = keyset_of(job.spec, job.keys, job.now)
    for info in job.keys:
        prove(job.spec, info, signer)
    with _store(database, job.spec) as db, db.write() as transaction:
        given = whole_input(transaction, rrsets, input_serial=report.input_serial, window=job.window)
        draft = draft_version(transaction, job.spec, keyset, given, signer, job.now, job.date)
        assert draft is not None, "the first version of a zone is always made"
        if job.verify:
            DraftVerifier(checker).check(draft)
        return _export(draft, report, write)


@contextmanager
def _store(database: Path, spec: ZoneSpec) -> Iterator[ZoneDatabase]:
    db = ZoneDatabase(database, spec.origin, durable=False)
    try:
        yield db
    finally:
        db.close()


def _export(draft: Draft, report: Report, write: Callable[[str], object]) -> Signed:
    records = 0
    for text, number in export_text(draft.transaction, unsigned=False):
        write(text)
        records += number
    return Signed(draft.serial, draft.signatures, records, tuple(report.warnings))
