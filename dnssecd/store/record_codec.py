"""The octets of a log record: a header and the operations of one transaction, or of a whole database.

    4 octets "dnsv" | version of the form | 0 plain, 1 zlib | stream

The stream, compressed or not, is a list of frames: length (four octets) and msgpack. The first frame is the
:class:`Header`, the last the number of frames before it; between them each is ``[operation, rows]`` with the
operations and rows of ``store/writes.py``. A header names zone, sequence and the digest of the record before, so that
a record cannot stand at another place than the one it was made for.

Reading is bounded and typed: it holds one frame at a time, and octets that are not a record raise
:class:`BadRecord`. It applies nothing: ``store/replay.py`` does.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from dnssecd.store.errors import StoreError
from dnssecd.store.version_log import Kind
from dnssecd.store.writes import Operation

MAGIC = b"dnsv"
VERSION = 1
PLAIN, ZLIB = 0, 1
PREFIX_OCTETS = len(MAGIC) + 2
LENGTH_OCTETS = 4
#: A frame holds at most this many rows, and about this many octets; one large row makes a larger frame.
FRAME_ROWS, FRAME_OCTETS = 500, 128 << 10
FRAME_OCTETS_MAX = 64 << 20
#: The most octets of a record before compression: above a zone of ten million names.
RECORD_OCTETS_MAX = 16 << 30
#: A stream is decompressed in steps of this size.
STEP_OCTETS = 256 << 10


class BadRecord(StoreError):
    """The octets are not a record, or not the record that they are said to be."""


class RecordTooNew(StoreError):
    """The record was made by a newer dnssecd, which this one cannot read: nothing is wrong with it."""


class Header(msgspec.Struct, frozen=True, array_like=True):
    """What a record is. zone: the origin, wire form. previous: digest of the last record before it that has octets.

    schema: of the database that it was made from. A SNAPSHOT stands for the records up to ``sequence``; ``previous``
    is then the digest of the last of them that has octets. "": there is none. ``whole``: it replaces all that a
    database has, as a snapshot does.
    """

    zone: bytes
    kind: Kind
    sequence: int
    epoch: int
    previous: str
    node: str
    schema: int
    whole: bool = False


Integer = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
Natural = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Type = Annotated[int, Meta(ge=0, le=0xFFFF)]
#: TTL and serial: 32 bits.
Word = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
#: An owner key (core.dns.names): a name of 255 octets in which each is escaped, at most.
Owner = Annotated[bytes, Meta(max_length=600)]


class _Step(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One frame between the header and the end."""


class _PutRrsets(_Step, frozen=True, tag=int(Operation.PUT_RRSETS)):
    rows: list[tuple[Owner, Type, Word, bytes]]


class _DeleteRrsets(_Step, frozen=True, tag=int(Operation.DELETE_RRSETS)):
    rows: list[tuple[Owner, Type]]


class _PutDenial(_Step, frozen=True, tag=int(Operation.PUT_DENIAL)):
    rows: list[tuple[Owner, Type, Word, bytes]]


class _DeleteDenial(_Step, frozen=True, tag=int(Operation.DELETE_DENIAL)):
    rows: list[tuple[Owner]]


class _PutRrsigs(_Step, frozen=True, tag=int(Operation.PUT_RRSIGS)):
    rows: list[tuple[Owner, Type, Word, bytes, Natural]]


class _DeleteRrsigs(_Step, frozen=True, tag=int(Operation.DELETE_RRSIGS)):
    rows: list[tuple[Owner, Type]]


class _PutState(_Step, frozen=True, tag=int(Operation.PUT_STATE)):
    rows: list[tuple[str, str]]


class _PutHistory(_Step, frozen=True, tag=int(Operation.PUT_HISTORY)):
    rows: list[tuple[Natural, Integer, str, str, Word | None, str]]


class _PruneHistory(_Step, frozen=True, tag=int(Operation.PRUNE_HISTORY)):
    rows: list[tuple[Integer, str, Natural]]


class _PutJournal(_Step, frozen=True, tag=int(Operation.PUT_JOURNAL)):
    rows: list[tuple[Natural, Word, Word, Integer, Natural, bytes, Word, bytes, Word]]


class _PutJournalChunks(_Step, frozen=True, tag=int(Operation.PUT_JOURNAL_CHUNKS)):
    rows: list[tuple[Natural, Natural, Annotated[int, Meta(ge=0, le=1)], bytes]]


class _DropJournal(_Step, frozen=True, tag=int(Operation.DROP_JOURNAL)):
    rows: list[tuple[Natural]]


_Steps = (
    _PutRrsets | _DeleteRrsets | _PutDenial | _DeleteDenial | _PutRrsigs | _DeleteRrsigs
    | _PutState | _PutHistory | _PruneHistory | _PutJournal | _PutJournalChunks | _DropJournal
)  # fmt: skip
_OPERATION: dict[type, Operation] = {
    _PutRrsets: Operation.PUT_RRSETS,
    _DeleteRrsets: Operation.DELETE_RRSETS,
    _PutDenial: Operation.PUT_DENIAL,
    _DeleteDenial: Operation.DELETE_DENIAL,
    _PutRrsigs: Operation.PUT_RRSIGS,
    _DeleteRrsigs: Operation.DELETE_RRSIGS,
    _PutState: Operation.PUT_STATE,
    _PutHistory: Operation.PUT_HISTORY,
    _PruneHistory: Operation.PRUNE_HISTORY,
    _PutJournal: Operation.PUT_JOURNAL,
    _PutJournalChunks: Operation.PUT_JOURNAL_CHUNKS,
    _DropJournal: Operation.DROP_JOURNAL,
}

_encoder = msgspec.msgpack.Encoder()
_headers = msgspec.msgpack.Decoder(Header)
_steps = msgspec.msgpack.Decoder(_Steps)
_ends = msgspec.msgpack.Decoder(int)

#: One operation with its rows, as a record has it.
Step = tuple[Operation, Sequence[tuple[Any, ...]]]


def build_frame(value: object) -> bytes:
    """Return a frame; raise StoreError if it is too large for a record."""
    body = _encoder.encode(value)
    if len(body) > FRAME_OCTETS_MAX:
        raise StoreError(f"a row of {len(body)} octets is too large for the log of the cluster")
    return len(body).to_bytes(LENGTH_OCTETS, "big") + body


def frames_of(operation: Operation, rows: Sequence[Sequence[Any]]) -> Iterator[bytes]:
    """Yield the frames of an operation; rows are split over several."""
    start = 0
    while start < len(rows):
        end = min(start + FRAME_ROWS, len(rows))
        frame = build_frame((int(operation), [tuple(row) for row in rows[start:end]]))
        if len(frame) > FRAME_OCTETS and end - start > 1:
            end = start + max(1, (end - start) * FRAME_OCTETS // len(frame))
            frame = build_frame((int(operation), [tuple(row) for row in rows[start:end]]))
        yield frame
        start = end


class RecordReader:
    """Reads a record: ``header`` at once, then its steps, once. Nothing may be kept of it before the last was read.

    Raise BadRecord, RecordTooNew.
    """

    def __init__(self, chunks: Iterable[bytes], digest: str) -> None:
        """``digest``: SHA-256 (hex) that the octets must have; it is checked at the end."""
        self._octets = _Octets(chunks)
        self._digest = digest
        self._frames = _frames(self._octets)
        self._count = 1
        self.header = _decode(_headers, next(self._frames, b""), "header")

    def steps(self) -> Iterator[Step]:
        """Yield its operations in order."""
        body = next(self._frames, None)
        for following in self._frames:
            assert body is not None
            step = _decode(_steps, body, "operation")
            self._count += 1
            yield _OPERATION[type(step)], step.rows
            body = following
        if body is None or _decode(_ends, body, "end") != self._count:
            raise BadRecord("the record is cut short")
        if self._octets.hash.hexdigest() != self._digest:
            raise BadRecord("the record's octets do not have its digest: it was damaged or changed")


def _decode(decoder: Any, body: bytes, what: str) -> Any:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord(f"the record has no valid {what}: {error}") from None


class _Octets:
    """The octets of a stream, decompressed in steps; ``hash``: of the octets as stored."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.hash = sha256()

    def _stored(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.hash.update(chunk)
            yield chunk

    def __iter__(self) -> Iterator[bytes]:
        stored = self._stored()
        prefix = b""
        for chunk in stored:
            prefix += chunk
            if len(prefix) >= PREFIX_OCTETS:
                break
        if prefix[: len(MAGIC)] != MAGIC or len(prefix) < PREFIX_OCTETS:
            raise BadRecord("the octets are not a record")
        version, form = prefix[len(MAGIC) : PREFIX_OCTETS]
        if version > VERSION or form > ZLIB:
            raise RecordTooNew(
                f"the record has form {version}.{form}, this dnssecd reads {VERSION}: update it"
            )
        rest = _joined(prefix[PREFIX_OCTETS:], stored)
        yield from rest if form == PLAIN else _decompressed(rest)


def _joined(first: bytes, others: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from others


def _decompressed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    stream = zlib.decompressobj()
    try:
        for chunk in chunks:
            if stream.eof:
                raise BadRecord("the record has octets after its end")
            while chunk:
                yield stream.decompress(chunk, STEP_OCTETS)
                chunk = stream.unconsumed_tail
            if stream.unused_data:
                raise BadRecord("the record has octets after its end")
        yield stream.flush()
    except zlib.error as error:
        raise BadRecord(f"the record cannot be decompressed: {error}") from None
    if not stream.eof:
        raise BadRecord("the record is cut short")


def _frames(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the bodies of the frames in a stream."""
    held = bytearray()
    total = start = 0
    for chunk in chunks:
        total += len(chunk)
        if total > RECORD_OCTETS_MAX:
            raise BadRecord(f"the record has more than {RECORD_OCTETS_MAX} octets")
        held += chunk
        start = 0
        while len(held) - start >= LENGTH_OCTETS:
            length = int.from_bytes(held[start : start + LENGTH_OCTETS], "big")
            if length > FRAME_OCTETS_MAX:
                raise BadRecord(f"the record has a frame of {length} octets")
            end = start + LENGTH_OCTETS + length
            if len(held) < end:
                break
            yield bytes(held[start + LENGTH_OCTETS : end])
            start = end
        del held[:start]
    if held:
        raise BadRecord("the record is cut short")
