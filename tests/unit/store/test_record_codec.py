"""The form of log records: what is read is what was written, in any pieces; other octets are refused, at any size."""

from __future__ import annotations

import hashlib
import random
import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.store.errors import StoreError
from dnssecd.store.record_codec import (
    FRAME_OCTETS,
    FRAME_OCTETS_MAX,
    BadRecord,
    Header,
    RecordReader,
    RecordTooNew,
    Step,
    frames_of,
)
from dnssecd.store.recorder import COMPRESS_OCTETS, Recorder
from dnssecd.store.version_log import CHUNK_OCTETS_MAX, Kind
from dnssecd.store.writes import Operation

HEADER = Header(text_to_wire("example."), Kind.VERSION, 7, 2, "d" * 64, "a", 2)
ONE: list[Step] = [
    (Operation.PUT_RRSETS, [(b"www\x00", 1, 300, b"\x00\x04\xc0\x00\x02\x01")]),
    (Operation.DELETE_DENIAL, [(b"x\x00",)]),
    (Operation.PUT_RRSIGS, [(b"www\x00", 1, 300, b"sig", 1_800_000_000)]),
    (Operation.PUT_STATE, [("version", "{}")]),
    (Operation.PUT_HISTORY, [(1, 5, "dnssecd", "published", None, "")]),
    (Operation.PRUNE_HISTORY, [(-3, "published", 2_000)]),
    (Operation.PUT_JOURNAL, [(1, 1, 2, 5, 10, b"old", 300, b"new", 300)]),
    (Operation.PUT_JOURNAL_CHUNKS, [(1, 0, 1, b"0123456789")]),
    (Operation.DROP_JOURNAL, [((1 << 63) - 1,)]),
]


def recorded(steps: list[Step], directory: Path) -> tuple[list[bytes], str]:
    recorder = Recorder(HEADER, directory)
    for operation, rows in steps:
        recorder.add(operation, rows)
    record = recorder.finish()
    chunks = list(record.chunks())
    assert list(record.chunks()) == chunks
    assert (record.octets, record.kind) == (sum(map(len, chunks)), Kind.VERSION)
    record.close()
    return chunks, record.digest


def read(chunks: list[bytes], digest: str) -> list[Step]:
    reader = RecordReader(chunks, digest)
    assert reader.header == HEADER
    return list(reader.steps())


def merged(steps: list[Step]) -> Iterator[tuple[Operation, tuple[object, ...]]]:
    for operation, rows in steps:
        for row in rows:
            yield operation, tuple(row)


def test_a_small_record_is_plain_and_read_in_any_pieces(tmp_path: Path) -> None:
    (octets,), digest = recorded(ONE, tmp_path)
    assert len(octets) < COMPRESS_OCTETS
    assert octets[:6] == b"dnsv\x01\x00"
    assert digest == hashlib.sha256(octets).hexdigest()
    for size in (1, 2, 5, len(octets)):
        pieces = [octets[at : at + size] for at in range(0, len(octets), size)]
        assert read(pieces, digest) == ONE


def test_the_octets_have_the_digest_of_the_log(tmp_path: Path) -> None:
    """What compression does not notice: one address instead of another."""
    (octets,), digest = recorded(ONE, tmp_path)
    changed = octets.replace(b"\xc0\x00\x02\x01", b"\xc0\x00\x02\x02")
    assert changed != octets
    with pytest.raises(BadRecord, match="do not have its digest"):
        read([changed], digest)


def test_a_record_without_operations_has_a_header(tmp_path: Path) -> None:
    assert read(*recorded([], tmp_path)) == []


def test_a_large_record_is_compressed_and_spooled_in_bounded_memory(tmp_path: Path) -> None:
    rng = random.Random(1)
    rows = [(struct.pack(">I", n), 46, 300, rng.randbytes(100), 1_800_000_000 + n) for n in range(60_000)]
    tracemalloc.start()
    recorder = Recorder(HEADER, tmp_path)
    for at in range(0, len(rows), 5_000):
        recorder.add(Operation.PUT_RRSIGS, rows[at : at + 5_000])
    record = recorder.finish()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20
    chunks = list(record.chunks())
    assert chunks[0][:6] == b"dnsv\x01\x01"
    assert len(chunks) > 5
    assert {len(chunk) for chunk in chunks[:-1]} == {CHUNK_OCTETS_MAX}
    assert list(tmp_path.iterdir()) == []
    found = read(chunks, record.digest)
    assert [row for _, row in merged(found)] == rows
    assert max(len(msgspec.msgpack.encode(rows)) for _, rows in found) <= FRAME_OCTETS
    record.close()


def test_one_row_may_be_larger_than_a_frame_and_not_than_the_largest() -> None:
    text = "x" * (3 * FRAME_OCTETS)
    assert len(list(frames_of(Operation.PUT_STATE, [("a", text), ("b", text), ("c", "")]))) == 3
    with pytest.raises(StoreError, match="too large for the log"):
        list(frames_of(Operation.PUT_STATE, [("a", "x" * FRAME_OCTETS_MAX)]))


@pytest.mark.parametrize("compressed", [False, True])
def test_other_octets_are_no_record(tmp_path: Path, compressed: bool) -> None:
    """Also those whose digest fits: a program or a person wrote them."""
    steps = ONE * (30 if compressed else 1)
    (octets,), _ = recorded(steps, tmp_path)
    rng = random.Random(5)
    refused = 0
    for _ in range(4_000):
        changed = bytearray(octets)
        for _ in range(rng.choice((1, 1, 2, 5))):
            at = rng.randrange(len(changed))
            match rng.randrange(4):
                case 0:
                    changed[at] = rng.randrange(256)
                case 1:
                    changed[at] ^= 1 << rng.randrange(8)
                case 2:
                    del changed[at : at + rng.choice((1, 2, 50))]
                case _:
                    changed[at:at] = rng.randbytes(rng.choice((1, 4, 40)))
            if not changed:
                break
        try:
            read_any([bytes(changed)])
        except (BadRecord, RecordTooNew):
            refused += 1
    assert refused > 3_000
    for end in range(len(octets)):
        with pytest.raises(BadRecord):
            read_any([octets[:end]])


def read_any(chunks: list[bytes]) -> list[Step]:
    """Read octets that somebody gave the right digest."""
    return list(RecordReader(chunks, hashlib.sha256(b"".join(chunks)).hexdigest()).steps())


@pytest.mark.parametrize(
    "step",
    [
        (1, [(b"www\x00", 1, 300)]),
        (1, [(b"www\x00", 70_000, 300, b"")]),
        (1, [(b"www\x00", 1, -1, b"")]),
        (1, [("www", 1, 300, b"")]),
        (1, [(b"w" * 700, 1, 300, b"")]),
        (5, [(b"www\x00", 1, 300, b"", 1 << 63)]),
        (8, [(1, 5, "dnssecd", "published", "x", "")]),
        (11, [(1, 0, 2, b"")]),
        (12, [(-1,)]),
        (13, [(1,)]),
        (1, [], "more"),
        {"rows": []},
        7,
        None,
    ],
)
def test_rows_have_the_types_of_their_tables(step: object) -> None:
    body = b"".join(len(part).to_bytes(4) + part for part in map(msgspec.msgpack.encode, (HEADER, step, 2)))
    with pytest.raises(BadRecord, match="operation"):
        read_any([b"dnsv\x01\x00" + body])
