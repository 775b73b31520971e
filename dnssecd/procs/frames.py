"""Frames: a length of 4 octets, big-endian, then that many octets. The one codec of all pipes and Unix sockets.

What the octets mean is the business of each protocol, and so is the limit: a length beyond it ends the connection
before anything is read or kept. Sans I/O in :class:`FrameBuffer`; :func:`read_frame` and :func:`receive_frame` are the
blocking and the asyncio shell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import BinaryIO

LENGTH_OCTETS = 4


class FrameError(Exception):
    """The other side sent something that is not a frame, or went away inside one."""


def build_frame(body: bytes, limit: int) -> bytes:
    """Return a body as a frame; FrameError when it has more than ``limit`` octets."""
    if len(body) > limit:
        raise FrameError(f"a message of {len(body)} octets is over the limit of {limit}")
    return len(body).to_bytes(LENGTH_OCTETS, "big") + body


def body_length(head: bytes | bytearray, limit: int) -> int:
    """Return the length that the head of a frame announces; FrameError when it is not between 1 and ``limit``."""
    length = int.from_bytes(head, "big")
    if not 0 < length <= limit:
        raise FrameError(f"frame length {length} is not between 1 and {limit}")
    return length


def read_frame(stream: BinaryIO, limit: int) -> bytes | None:
    """Read one frame's body from a blocking stream; None at its end."""
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
    """Receive one frame's body; asyncio.IncompleteReadError when the stream ends before it is whole."""
    return await reader.readexactly(body_length(await reader.readexactly(LENGTH_OCTETS), limit))


class FrameBuffer:
    """Cuts a stream of octets into frame bodies, however it is split."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()

    @property
    def partial(self) -> bool:
        """Whether a frame has begun that is not complete."""
        return bool(self._data)

    def feed(self, octets: bytes) -> Iterator[bytes]:
        """Yield every frame body that is completed by ``octets``; FrameError on a bad length."""
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
