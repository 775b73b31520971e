"""Answers of webhooks: whatever octets come, they are an answer or a reason."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnssecd.ops.alerts.channel_webhook import _HEAD_MAX, _head, _judge
from dnssecd.ops.alerts.channels import Undelivered

LINES = st.sampled_from(
    [
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.1 100 Continue",
        b"HTTP/1.1 99999999999999999999999 x",
        b"HTTP/1.1 \xb2\xb2\xb2 x",
        b"HTTP/1.0 503",
        b"HTTP/2 200",
        b"Retry-After: 99999999999999999999999999999",
        b"Retry-After: \xb2",
        b"Retry-After: -1",
        b": :",
        b"",
    ]
)
ANSWERS = st.one_of(
    st.binary(max_size=200), st.lists(LINES, max_size=8).map(lambda lines: b"\r\n".join([*lines, b"", b""]))
)


async def read(octets: bytes) -> str:
    """How the answer is judged: "" if the message was taken, else why not."""
    reader = asyncio.StreamReader(_HEAD_MAX)
    reader.feed_data(octets)
    reader.feed_eof()
    try:
        status, headers = await _head(reader)
    except (ValueError, EOFError) as error:
        return str(error)
    try:
        _judge("http://hook/…", status, headers)
    except Undelivered as error:
        return str(error)
    return ""


@given(ANSWERS)
def test_any_octets_are_an_answer_or_a_reason(octets: bytes) -> None:
    said = asyncio.run(read(octets))
    if said == "":
        assert b"HTTP/1." in octets
        assert b" 2" in octets


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", ""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", ""),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "without an answer"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 2 * _HEAD_MAX + b"\r\n\r\n", "too long"),
    ],
)
async def test_an_answer(octets: bytes, said: str) -> None:
    assert said in await read(octets)
    assert bool(said) == bool(await read(octets))
