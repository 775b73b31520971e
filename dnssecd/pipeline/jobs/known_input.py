"""Recognition of a large zone file that was loaded before: it is neither parsed nor checked a second time.

All of this must hold:

* The file has the SHA-256 of the input of the published version, and was judged with the same settings by the same
  release of dnssecd. The checks depend on nothing else, so they would find the same. (Signatures of an input depend
  on the time; updates and keys of other signers, on the store: such inputs are always loaded as usual.)
* The stored content, which is read whole, has the SHA-256 of the content that was made of that file. So the
  difference would be empty; a database that was changed since is found, and the file is loaded as usual.

What was found is kept in the store's evidence, so it is of this host, and not in backups or logs.
"""

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path

import msgspec

import dnssecd
from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.dns.rrtypes import APEX_DERIVED_TYPES, SOA
from dnssecd.ingest.errors import RecordError, ZoneFileErrors
from dnssecd.ingest.limits import DEFAULT_LIMITS
from dnssecd.ingest.source import Source
from dnssecd.pipeline.jobs.job import Report
from dnssecd.pipeline.jobs.outcome import Problem
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.draft import Input
from dnssecd.store.errors import StoreError
from dnssecd.store.interface import ZoneStore, ZoneTransaction

#: Smaller files are loaded as usual: that takes no longer than reading and writing what was found.
FILE_OCTETS_MIN = 512 * 1024

_SOURCE, _SUBJECT = "input", "judged"
_ROWS = 4096


class JudgedInput(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was loaded: ``digest`` is its SHA-256, ``mark`` that of the settings, ``content`` of its content.

    ``soa`` is its apex SOA RRset; ``warnings`` are those of its content.
    """

    digest: str
    mark: str
    content: str
    soa: tuple[bytes, int, int, bytes]
    largest_ttl: int
    owners: int
    input_serial: int
    stripped: int
    warnings: tuple[Problem, ...]


def settings_mark(spec: ZoneSpec, path: Path) -> str:
    """Return the mark of all settings of a zone, the place of its file, and the release of dnssecd."""
    parts = msgspec.msgpack.encode((spec, str(path), dnssecd.__version__))
    return hashlib.sha256(parts).hexdigest()


def content_digest(rrsets: Iterable[RRset]) -> str:
    """Return the SHA-256 of content RRsets, ordered by (owner, type), without those that a version adds."""
    digest, encoder = hashlib.sha256(), msgspec.msgpack.Encoder()
    content = (r for r in rrsets if r[0] or (r[1] != SOA and r[1] not in APEX_DERIVED_TYPES))
    while rows := list(islice(content, _ROWS)):
        digest.update(encoder.encode(rows))
    return digest.hexdigest()


def judged(spec: ZoneSpec, path: Path, report: Report, given: Input) -> JudgedInput | None:
    """Return what is to be kept of a loaded file; None for one that is always loaded as usual.

    report: with the warnings of its content only.
    """
    if len(report.files) != 1 or report.files[0].size < FILE_OCTETS_MIN or given.rrsets is None:
        return None
    if spec.grants or spec.dynamic or spec.foreign_input or spec.input_anchor or given.input_serial is None:
        return None
    return JudgedInput(
        digest=given.digest,
        mark=settings_mark(spec, path),
        content=content_digest(given.rrsets),
        soa=(APEX, SOA, given.soa.ttl, given.soa.rdata),
        largest_ttl=given.largest_ttl,
        owners=given.owners,
        input_serial=given.input_serial,
        stripped=report.stripped,
        warnings=tuple(report.warnings),
    )


def keep(db: ZoneStore, found: JudgedInput, now: int) -> None:
    """Keep what was found about the input of the published version; without room for it, it is found again."""
    with suppress(StoreError, OSError):
        db.set_evidence([(_SOURCE, _SUBJECT, state.to_document(found), now)])


def recall(db: ZoneStore, spec: ZoneSpec, path: Path, report: Report) -> JudgedInput | None:
    """Return what is known of the file at ``path``, and note it in the report; None for a file not yet loaded."""
    with suppress(OSError, RecordError, ZoneFileErrors, StoreError, msgspec.ValidationError):
        if path.stat().st_size < FILE_OCTETS_MIN:
            return None
        kept = next((row[2] for row in db.evidence() if row[:2] == (_SOURCE, _SUBJECT)), None)
        found = None if kept is None else msgspec.convert(kept, JudgedInput)
        if found is None or found.mark != settings_mark(spec, path):
            return None
        digest = hashlib.sha256()
        with Source(path, DEFAULT_LIMITS, digest) as source:
            source.read_through()
            source.check_unchanged()
        if digest.hexdigest() != found.digest:
            return None
        report.files = (source.identity,)
        return found
    return None


def unchanged_input(
    transaction: ZoneTransaction, found: JudgedInput, serial_floor: int | None
) -> Input | None:
    """Return the input, without changes; None if the stored version is not the one that was made of it."""
    version = state.from_document(transaction.old.version, state.VersionState)
    if version is None or version.digest != found.digest or transaction.epoch is not None:
        return None
    if content_digest(transaction.old.scan()) != found.content:
        return None
    return Input(
        changes=[],
        soa=RRset(*found.soa),
        largest_ttl=found.largest_ttl,
        owners=found.owners,
        digest=found.digest,
        input_serial=found.input_serial,
        serial_floor=serial_floor,
    )
