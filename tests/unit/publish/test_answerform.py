"""What a peer's answer may cost before its TSIG is looked at."""

from __future__ import annotations

import asyncio
import struct
import threading

import dns.message
import dns.name
import dns.rdatatype
import pytest

from dnssecd.publish import exchange as module
from dnssecd.publish.answerform import (
    RECORDS_MAX,
    TCP_OCTETS_MAX,
    UDP_OCTETS_MAX,
    UnwantedAnswer,
    check_size,
    is_answer,
)
from dnssecd.publish.exchange import Peer, exchange, question
from tests.unit.publish.test_publish_peers import QUICK, replying

ZONE = dns.name.from_text("example.")
ASKED = dns.message.make_query(ZONE, "DNSKEY", id=0x1234).to_wire()
QUESTION = ASKED[12:]
DNSKEY = b"\x01\x01\x03\x0d" + bytes(64)


def record(rtype: int = 48, rdata: bytes = DNSKEY) -> bytes:
    return b"\xc0\x0c" + struct.pack("!HHIH", rtype, 1, 60, len(rdata)) + rdata


def answer(
    records: list[bytes], flags: int = 0x8400, mid: bytes = b"\x12\x34", asked: bytes = QUESTION
) -> bytes:
    return mid + struct.pack("!5H", flags, bool(asked), len(records), 0, 0) + asked + b"".join(records)


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (answer([]), True),
        (answer([], asked=b"\x07EXAMPLE\x00" + QUESTION[9:]), True),
        (answer([], asked=b""), False),
        (answer([], 0x8405, asked=b""), True),
        (answer([], 0xAC00, asked=b""), False),
        (answer([], asked=b"\x05other\x00" + QUESTION[9:]), False),
        (answer([], asked=QUESTION[:-3] + b"\x06\x00\x01"), False),
        (answer([], mid=b"\x12\x35"), False),
        (answer([], 0x0400), False),
        (answer([], 0xA400), False),
        (ASKED[:2] + b"\x84\x00\xff\xff" + bytes(20), True),
        (answer([])[:11], False),
    ],
    ids=[
        "empty", "upper case", "no question", "refused without question", "UPDATE", "other name", "other type",
        "other id", "question", "NOTIFY", "many questions", "cut short",
    ],
)  # fmt: skip
def test_what_answers_a_question(wire: bytes, expected: bool) -> None:
    assert is_answer(wire, ASKED) is expected


@pytest.mark.parametrize(
    ("wire", "cause"),
    [
        (answer([record()] * RECORDS_MAX), ""),
        (answer([record()] * (RECORDS_MAX + 1)), "128 records"),
        (answer([record(55, b"\x01\x02\0\x01\x01\x01" + b"\xc0\x0c" * 100)]), "type HIP"),
        (answer([record()]) + b"\x00", "after the last"),
        (answer([record()])[:-1], "cut short"),
        (answer([b"\xc0\xff"]), "back"),
        (answer([record(48, bytes(TCP_OCTETS_MAX))]), "longer than 16,384"),
        (ASKED[:2] + b"\x84\x00\xff\xff" + bytes(20), "question"),
    ],
    ids=["most", "too many", "type", "trailing", "cut", "pointer", "long", "questions"],
)
def test_what_is_decoded(wire: bytes, cause: str) -> None:
    if not cause:
        check_size(wire, TCP_OCTETS_MAX)
        return
    with pytest.raises(UnwantedAnswer, match=cause):
        check_size(wire, TCP_OCTETS_MAX)


async def asked_over_tcp(make) -> str:
    """The failure of a question whose answer over TCP is made of the request."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        wire = make(request)
        writer.write(len(wire).to_bytes(2, "big") + wire)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        peer = Peer("odd", *server.sockets[0].getsockname())
        return (await exchange(peer, question(ZONE, dns.rdatatype.DNSKEY), QUICK, tcp=True)).failure


async def test_an_answer_over_tcp_that_is_too_long_is_said_to_be() -> None:
    long = [record(48, b"\x01\x01\x03\x0d" + bytes([number]) * 1000) for number in range(60)]
    failure = await asked_over_tcp(lambda request: answer(long, mid=request[:2]))
    assert failure == "bad answer (NOERROR): longer than 16,384 octets"


async def test_an_answer_over_udp_that_is_too_long_is_said_to_be() -> None:
    def make(request: bytes) -> list[bytes]:
        return [answer([record(48, bytes(UDP_OCTETS_MAX))], mid=request[:2])]

    async with replying(make) as peer:
        outcome = await exchange(peer, question(ZONE, dns.rdatatype.DNSKEY), QUICK)
    assert outcome.failure == "bad answer (NOERROR): longer than 4,096 octets"


async def test_a_large_answer_is_decoded_off_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    decode = module._decode

    def noted(wire: bytes, query: dns.message.Message) -> dns.message.Message:
        threads.append((len(wire), threading.current_thread() is threading.main_thread()))
        return decode(wire, query)

    monkeypatch.setattr(module, "_decode", noted)
    for number in (1, 20):
        keys = [record(48, b"\x01\x01\x03\x0d" + bytes([seed]) * 260) for seed in range(number)]
        assert not await asked_over_tcp(lambda request, keys=keys: answer(keys, mid=request[:2]))
    assert [at_once for _, at_once in threads] == [True, False]
