"""Messages to frames and back: encode, decode with the name of a bad field, and batches within the limits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import get_args

import msgspec

from dnssecd.keyservice_protocol.replies import Reply
from dnssecd.keyservice_protocol.requests import Request
from dnssecd.keyservice_protocol.terms import (
    BATCH_OCTETS_TARGET,
    BATCH_PREIMAGES_MAX,
    FRAME_OCTETS_MAX,
    Message,
    ProtocolError,
)
from dnssecd.procs.frames import FrameBuffer, build_frame

_encoder = msgspec.msgpack.Encoder()
_PLACE = re.compile(r"at `\$\[(\d+)\]")
_FIELDS_OF_TAG: dict[str, tuple[str, ...]] = {
    str(kind.__struct_config__.tag): kind.__struct_fields__ for kind in get_args(Request)
}
_request_decoder: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_reply_decoder: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)


def encode_frame(message: Message) -> bytes:
    """Encode `message` as one frame; FrameError when it is larger than FRAME_OCTETS_MAX."""
    return build_frame(_encoder.encode(message), FRAME_OCTETS_MAX)


def decode_request(body: bytes | bytearray | memoryview) -> Request:
    """Decode a frame's body as a request; ProtocolError when it is none."""
    try:
        return _request_decoder.decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise ProtocolError(f"not a request of this protocol: {_field(body, str(error))}{error}") from None


def _field(body: bytes | bytearray | memoryview, error: str) -> str:
    """Return the name of the field that a decoder's error is about, and a colon; "" when it is about none."""
    place = _PLACE.search(error)
    if place is None:
        return ""
    try:
        raw = msgspec.msgpack.decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return ""
    fields = _FIELDS_OF_TAG.get(raw[0], ()) if isinstance(raw, list) and isinstance(raw[0], str) else ()
    number = int(place[1]) - 1
    return f"{fields[number]}: " if 0 <= number < len(fields) else ""


def decode_reply(body: bytes | bytearray | memoryview) -> Reply:
    """Decode a frame's body as a reply; ProtocolError when it is none."""
    try:
        return _reply_decoder.decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise ProtocolError(f"not a reply of this protocol: {error}") from None


def frame_buffer() -> FrameBuffer:
    """Return a buffer that cuts a stream into frame bodies of this protocol."""
    return FrameBuffer(FRAME_OCTETS_MAX)


def split_batches(preimages: list[bytes]) -> Iterator[list[bytes]]:
    """Cut `preimages` into batches within the limits of one SignRequest, in order."""
    batch: list[bytes] = []
    octets = 0
    for preimage in preimages:
        if batch and (len(batch) >= BATCH_PREIMAGES_MAX or octets + len(preimage) > BATCH_OCTETS_TARGET):
            yield batch
            batch, octets = [], 0
        batch.append(preimage)
        octets += len(preimage)
    if batch:
        yield batch
