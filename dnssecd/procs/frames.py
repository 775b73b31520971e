"""Frames: a length of 4 octets, big-endian, then the body of that length. All pipes and Unix sockets use this codec.

Each protocol defines its bodies and its limit. A length above the limit ends the connection before the body is read.
:class:`FrameBuffer` does no I/O; :func:`read_frame` and :func:`receive_frame` are its blocking and its asyncio form.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import asyncio  # commands load this module at every start

LENGTH_OCTETS = 4


class FrameError(Exception):
    """The other side sent something that is not a frame, or disconnected within a frame."""


def build_frame(body: bytes, limit: int) -> bytes:
    """Return a body as a frame. Raise FrameError when it has more than ``limit`` octets."""
    if len(body) > limit:
        raise FrameError(f"a message of {len(body)} octets is over the limit of {limit}")
    return len(body).to_bytes(LENGTH_OCTETS, "big") + body


def body_length(head: bytes | bytearray, limit: int) -> int:
    """Return the length in the head of a frame. Raise FrameError when it is not between 1 and ``limit``."""
    length = int.from_bytes(head, "big")
    if not 0 < length <= limit:
        raise FrameError(f"frame length {length} is not between 1 and {limit}")
    return length


def read_frame(stream: BinaryIO, limit: int) -> bytes | None:
    """Return one frame's body from a blocking stream, None at its end. Raise FrameError."""
    head = stream.read(LENGTH_OCTETS)
    if not head:
        return None
    if len(head) < LENGTH_OCTETS:
        raise FrameError("the stream ended inside a frame")
    length = body_length(head, limit)
    body = stream.read(length)
    if len(body) < length:
        raise FrameError("the stream ended inside a frame")
    return body


async def receive_frame(reader: asyncio.StreamReader, limit: int) -> bytes:
    """Return one frame's body. Raise FrameError; asyncio.IncompleteReadError when the stream ends too early."""
    return await reader.readexactly(body_length(await reader.readexactly(LENGTH_OCTETS), limit))


class FrameBuffer:
    """Splits a stream of octets, received in pieces of any size, into frame bodies."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()

    @property
    def partial(self) -> bool:
        """Whether an incomplete frame is in the buffer."""
        return bool(self._data)

    @property
    def length(self) -> int:
        """The length of the body that is being received, 0 while it is not known. Raise FrameError for a bad length."""
        return body_length(self._data[:LENGTH_OCTETS], self._limit) if len(self._data) >= LENGTH_OCTETS else 0

    def feed(self, octets: bytes) -> Iterator[bytes]:
        """Yield every frame body that ``octets`` completes. Raise FrameError for a bad length."""
        self._data += octets
        start = 0
        while len(self._data) - start >= LENGTH_OCTETS:
            length = body_length(self._data[start : start + LENGTH_OCTETS], self._limit)
            end = start + LENGTH_OCTETS + length
            if len(self._data) < end:
                break
            yield bytes(self._data[start + LENGTH_OCTETS : end])
            start = end
        del self._data[:start]
