"""The one frame codec: any split of the stream, bounds before anything is read, ends inside a frame."""

from __future__ import annotations

import asyncio
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnssecd.procs.frames import FrameBuffer, FrameError, build_frame, read_frame, receive_frame

LIMIT = 1000
BODIES = st.lists(st.binary(min_size=1, max_size=40), max_size=8)


@given(BODIES, st.lists(st.integers(1, 60), min_size=1, max_size=40))
def test_any_split_gives_the_same_bodies(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(build_frame(body, LIMIT) for body in bodies)
    buffer, got, at = FrameBuffer(LIMIT), [], 0
    while at < len(stream):
        size = cuts[len(got) % len(cuts)]
        got += buffer.feed(stream[at : at + size])
        at += size
    assert got == bodies
    assert not buffer.partial
    blocking = io.BytesIO(stream)
    assert [read_frame(blocking, LIMIT) for _ in bodies] == bodies
    assert read_frame(blocking, LIMIT) is None


@pytest.mark.parametrize("length", [0, LIMIT + 1, 0xFFFFFFFF])
async def test_a_length_out_of_bounds_is_refused_before_the_body(length: int) -> None:
    head = length.to_bytes(4)
    with pytest.raises(FrameError, match=f"frame length {length} is not between 1 and {LIMIT}"):
        list(FrameBuffer(LIMIT).feed(head))
    with pytest.raises(FrameError):
        read_frame(io.BytesIO(head + b"x"), LIMIT)
    reader = asyncio.StreamReader()
    reader.feed_data(head)
    with pytest.raises(FrameError):
        await receive_frame(reader, LIMIT)


def test_a_body_over_the_limit_is_not_sent() -> None:
    with pytest.raises(FrameError, match="1001 octets is over the limit of 1000"):
        build_frame(bytes(LIMIT + 1), LIMIT)


@pytest.mark.parametrize("stream", [b"\0", b"\0\0\0", b"\0\0\0\5abcd"])
async def test_the_end_inside_a_frame_is_not_the_end(stream: bytes) -> None:
    with pytest.raises(FrameError, match="ended inside a frame"):
        read_frame(io.BytesIO(stream), LIMIT)
    reader = asyncio.StreamReader()
    reader.feed_data(stream)
    reader.feed_eof()
    with pytest.raises(asyncio.IncompleteReadError):
        await receive_frame(reader, LIMIT)
