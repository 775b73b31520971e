"""The codec between the daemon and its child processes: msgpack over pipes, in frames of :mod:`dnssecd.procs.frames`.

Small processes load it at every start, so it loads no types of jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, TypeVar

import msgspec

from dnssecd.procs import frames
from dnssecd.procs.frames import LENGTH_OCTETS as LENGTH_OCTETS
from dnssecd.procs.frames import FrameError as FrameError

if TYPE_CHECKING:
    import asyncio

FRAME_OCTETS_MAX = 8 * 1024 * 1024

T = TypeVar("T")


def encode(message: object) -> bytes:
    """Return a message as a frame; raise FrameError if it is too large."""
    return frames.build_frame(msgspec.msgpack.encode(message), FRAME_OCTETS_MAX)


def decode(body: bytes, kind: type[T]) -> T:
    """Return the message in a frame's body; raise FrameError if it is malformed."""
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise FrameError(f"not a {kind.__name__}: {error}") from error


def read_frame(stream: BinaryIO) -> bytes | None:
    """Read one frame's body from a blocking stream; None at its end."""
    return frames.read_frame(stream, FRAME_OCTETS_MAX)


async def receive_frame(reader: asyncio.StreamReader) -> bytes:
    """Receive one frame's body; raise asyncio.IncompleteReadError if the stream ends within it."""
    return await frames.receive_frame(reader, FRAME_OCTETS_MAX)
