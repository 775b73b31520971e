"""Frames: any cut of the stream gives the same messages; what is no frame is refused."""

from __future__ import annotations

import msgspec
import pytest

from dnssecd import keyservice_protocol as wp


def test_any_cut_of_the_stream_gives_the_same_frames() -> None:
    requests = [wp.StatusRequest(1), wp.SignRequest(2, b"\x00", "k", [b"abc", b""], 5), wp.KeysRequest(3)]
    stream = b"".join(map(wp.encode_frame, requests))
    for size in range(1, len(stream) + 1):
        frames = wp.frame_buffer()
        got = [
            wp.decode_request(body)
            for start in range(0, len(stream), size)
            for body in frames.feed(stream[start : start + size])
        ]
        assert got == requests


@pytest.mark.parametrize("length", [0, wp.FRAME_OCTETS_MAX + 1, 0xFFFFFFFF])
def test_bad_lengths_are_refused_before_the_body_comes(length: int) -> None:
    with pytest.raises(wp.FrameError):
        list(wp.frame_buffer().feed(length.to_bytes(4)))


def test_frames_over_the_limit_are_not_made() -> None:
    with pytest.raises(wp.FrameError):
        wp.encode_frame(wp.SignRequest(1, b"\x00", "k", [bytes(wp.FRAME_OCTETS_MAX)]))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x91" * 100_000 + b"\x00",
        msgspec.msgpack.encode(["format disk", 1]),
        msgspec.msgpack.encode(["sign", 1, b"\x00", "k", "not a list"]),
        msgspec.msgpack.encode(["generate", 1, b"\x00", "root", 13]),
        msgspec.msgpack.encode({"id": 1}),
    ],
)
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(wp.ProtocolError):
        wp.decode_request(body)


def test_fields_may_be_added_at_the_end() -> None:
    newer = msgspec.msgpack.encode(["status", 7, "something new"])
    assert wp.decode_request(newer) == wp.StatusRequest(7)


def test_batches_stay_within_the_limits() -> None:
    preimages = [bytes(100)] * 1200 + [bytes(wp.BATCH_OCTETS_TARGET)] + [bytes(600_000)] * 3
    batches = list(wp.split_batches(preimages))
    assert [preimage for batch in batches for preimage in batch] == preimages
    for batch in batches:
        assert len(batch) <= wp.BATCH_PREIMAGES_MAX
        assert len(batch) == 1 or sum(map(len, batch)) <= wp.BATCH_OCTETS_TARGET
