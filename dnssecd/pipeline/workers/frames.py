"""Frames between the front and a zone worker: 4 octets of length, big-endian, then msgpack, over pipes."""

from typing import BinaryIO, TypeVar

import msgspec

from dnssecd.pipeline.jobs.input import AdoptionJob, ImportJob, TransferJob
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version.keychange import KeyChange

FRAME_OCTETS_MAX = 8 * 1024 * 1024
LENGTH_OCTETS = 4

T = TypeVar("T")


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One job on one zone. kind: ``load``, ``transfer``, ``import``, ``resign``, ``rekey``, ``verify``, ``prove``,
    ``return``, ``adopt``.

    now: epoch seconds; date: YYYYMMDD (UTC). resting: the zone file was not written for a while.
    database: which file the front serves the zone from (device, inode); None: it has opened none, and the worker makes
    one where there is none.
    """

    kind: str
    spec: ZoneSpec
    now: int
    date: int
    database: tuple[int, int] | None = None
    path: str = ""
    accept_change: bool = False
    serial_floor: int | None = None
    resting: bool = False
    keys: KeyChange | None = None
    transfer: TransferJob | None = None
    imported: ImportJob | None = None
    adoption: AdoptionJob | None = None


class FrameError(Exception):
    """The other side sent something that is no frame, or went away."""


def encode(message: object) -> bytes:
    """Return a message as a frame; FrameError when it is too large."""
    body = msgspec.msgpack.encode(message)
    if len(body) > FRAME_OCTETS_MAX:
        raise FrameError(f"a message of {len(body)} octets is over the limit of {FRAME_OCTETS_MAX}")
    return len(body).to_bytes(LENGTH_OCTETS, "big") + body


def decode(body: bytes, kind: type[T]) -> T:
    """Return the message in a frame's body; FrameError when it is none."""
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise FrameError(f"not a {kind.__name__}: {error}") from error


def body_length(head: bytes) -> int:
    """Return the length that the head of a frame announces; FrameError when it is out of bounds."""
    length = int.from_bytes(head, "big")
    if not 0 < length <= FRAME_OCTETS_MAX:
        raise FrameError(f"a frame of {length} octets")
    return length


def read_frame(stream: BinaryIO) -> bytes | None:
    """Read one frame's body from a blocking stream; None at its end."""
    head = stream.read(LENGTH_OCTETS)
    if not head:
        return None
    if len(head) < LENGTH_OCTETS:
        raise FrameError("the stream ended inside a frame")
    length = body_length(head)
    body = stream.read(length)
    if len(body) < length:
        raise FrameError("the stream ended inside a frame")
    return body
