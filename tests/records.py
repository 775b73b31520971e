"""Log records taken apart, changed and put together again, as only who owns the database of the cluster can."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from dnssecd.store.record_codec import RecordReader, Step
from dnssecd.store.recorder import Recorder
from tests.memory_log import MemoryLog, Stored

Change = Callable[[list[Step]], Iterable[Step]]


def steps_of(stored: Stored) -> list[Step]:
    """The operations of a record."""
    return list(RecordReader([stored.octets], stored.digest).steps())


def rebuilt(stored: Stored, change: Change, **header: Any) -> Stored:
    """A record with other operations, or another header, and the digest that fits."""
    reader = RecordReader([stored.octets], stored.digest)
    steps = change(list(reader.steps()))
    recorder = Recorder(msgspec.structs.replace(reader.header, **header), Path(tempfile.gettempdir()))
    for operation, rows in steps:
        recorder.add(operation, rows)
    record = recorder.finish()
    octets = b"".join(record.chunks())
    record.close()
    return Stored(stored.sequence, stored.epoch, stored.kind, stored.node, record.digest, octets)


def put_instead(shared: MemoryLog, zone: str, stored: Stored) -> None:
    """Put a record in the place of the one at its sequence."""
    records = shared.zones[zone]
    at = next(i for i, record in enumerate(records) if record.sequence == stored.sequence)
    records[at] = stored
