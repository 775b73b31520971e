"""Frames between the daemon and its workers: msgpack over pipes, in the frames of :mod:`dnssecd.procs.frames`."""

import asyncio
from typing import BinaryIO, TypeVar

import msgspec

from dnssecd.pipeline.jobs.input import AdoptionJob, ImportJob, TransferJob
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version.keychange import KeyChange
from dnssecd.procs import frames
from dnssecd.procs.frames import LENGTH_OCTETS as LENGTH_OCTETS
from dnssecd.procs.frames import FrameError as FrameError

FRAME_OCTETS_MAX = 8 * 1024 * 1024

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


def encode(message: object) -> bytes:
    """Return a message as a frame; FrameError when it is too large."""
    return frames.build_frame(msgspec.msgpack.encode(message), FRAME_OCTETS_MAX)


def decode(body: bytes, kind: type[T]) -> T:
    """Return the message in a frame's body; FrameError when it is none."""
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise FrameError(f"not a {kind.__name__}: {error}") from error


def read_frame(stream: BinaryIO) -> bytes | None:
    """Read one frame's body from a blocking stream; None at its end."""
    return frames.read_frame(stream, FRAME_OCTETS_MAX)


async def receive_frame(reader: asyncio.StreamReader) -> bytes:
    """Receive one frame's body; asyncio.IncompleteReadError when the stream ends before it is whole."""
    return await frames.receive_frame(reader, FRAME_OCTETS_MAX)
