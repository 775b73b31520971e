"""The conversation with the key service without a socket: octets in, octets out, every error that can come of it."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from dnssecd import keyservice_protocol as wp
from dnssecd.breaker import Breaker
from dnssecd.keyservice_client import core as core_module
from dnssecd.keyservice_client.core import ClientCore
from dnssecd.keyservice_client.errors import (
    BadRequest,
    KeyUnknown,
    SignerBroken,
    SignerBusy,
    SignerTimeout,
    SignerUnreachable,
)

SIGN = wp.SignRequest(0, b"\x00", "k", [b"1", b"2"])
GENERATE = wp.GenerateRequest(0, b"\x00", "ksk", 13)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def core(clock: Clock) -> ClientCore:
    core = ClientCore("/run/s", 10.0, Breaker(monotonic=clock, jitter=lambda: 0.5))
    core.connected()
    return core


def put(core: ClientCore, request: wp.Request, now: float = 0.0) -> int:
    return core.submit(core.prepare(request), now)


def flush(core: ClientCore) -> list[wp.Request]:
    """Take what the core wants to send, as the service reads it."""
    octets = bytes(core.outgoing)
    core.sent(len(octets), 0.0)
    return [wp.decode_request(body) for body in wp.frame_buffer().feed(octets)]


def feed(core: ClientCore, *replies: wp.Reply, now: float = 0.0) -> list[int]:
    return core.receive(b"".join(map(wp.encode_frame, replies)), now)


def test_hello_is_first_and_each_request_has_a_number_of_its_own(core: ClientCore) -> None:
    tickets = [put(core, request) for request in (SIGN, wp.StatusRequest(0), SIGN)]
    hello, *requests = flush(core)
    assert isinstance(hello, wp.HelloRequest)
    assert [request.id for request in requests] == tickets
    assert len({hello.id, *tickets}) == 4
    assert not core.outgoing


def test_replies_in_any_order_and_in_any_pieces(core: ClientCore) -> None:
    first, second = put(core, SIGN), put(core, SIGN)
    stream = b"".join(wp.encode_frame(wp.SignReply(ticket, [b"a", b"b"])) for ticket in (second, first))
    done = [core.receive(stream[place : place + 1], 0.0) for place in range(len(stream))]
    assert [tickets for tickets in done if tickets] == [[second], [first]]
    for ticket in (first, second):
        assert core.is_done(ticket)
        assert core.take(ticket, wp.SignReply).signatures == [b"a", b"b"]
        with pytest.raises(BadRequest, match="not under way"):
            core.is_done(ticket)


def test_a_part_of_what_waits_may_be_sent(core: ClientCore) -> None:
    whole = bytes(core.outgoing)
    core.sent(3, 0.0)
    assert bytes(core.outgoing) == whole[3:]


def test_an_error_reply_is_the_error_of_its_request_alone(core: ClientCore) -> None:
    wrong, right = put(core, SIGN), put(core, SIGN)
    error = wp.ErrorReply(wrong, "caller", "unknown_key", "no such key", 0.5)
    assert feed(core, error, wp.SignReply(right, [b"a", b"b"])) == [wrong, right]
    with pytest.raises(KeyUnknown, match="no such key") as caught:
        core.take(wrong, wp.SignReply)
    assert (caught.value.fault, caught.value.retry_in_s) == ("caller", 0.5)
    assert core.take(right, wp.SignReply).signatures == [b"a", b"b"]


@pytest.mark.parametrize(
    "answer",
    [
        lambda ticket: wp.DoneReply(ticket),
        lambda ticket: wp.SignReply(ticket, [b"a"]),
        lambda ticket: wp.SignReply(ticket, [b"a"] * 3),
    ],
)
def test_a_reply_that_does_not_fit_ends_the_connection(
    core: ClientCore, answer: Callable[[int], wp.Reply]
) -> None:
    ticket, other = put(core, SIGN), put(core, SIGN)
    feed(core, answer(ticket))
    with pytest.raises(SignerBroken, match="/run/s does not speak our protocol"):
        core.take(ticket, wp.SignReply)
    assert core.under_way == 0
    with pytest.raises(BadRequest):
        core.is_done(other)


@pytest.mark.parametrize(
    "octets",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\x00\x00\x00\x05hello",
        wp.encode_frame(wp.ErrorReply(0, "signer", "internal", "go away")),
        wp.encode_frame(wp.ErrorReply(1, "caller", "unsupported", "another version")),
    ],
)
def test_what_is_no_reply_is_refused(core: ClientCore, octets: bytes) -> None:
    put(core, SIGN)
    with pytest.raises(wp.FrameError):
        core.receive(octets, 0.0)


def test_hello_and_replies_to_forgotten_requests_are_dropped(core: ClientCore) -> None:
    ticket = put(core, SIGN)
    core.forget(ticket)
    assert feed(core, wp.HelloReply(1, 1, 7), wp.SignReply(ticket, [b"a", b"b"])) == []
    done = put(core, SIGN)
    assert feed(core, wp.SignReply(done, [b"a", b"b"])) == [done]
    core.forget(done)
    with pytest.raises(BadRequest):
        core.is_done(done)


def test_a_request_that_is_too_large_is_refused_before_it_is_under_way(
    core: ClientCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadRequest):
        core.prepare(wp.SignRequest(0, b"\x00", "k", [bytes(wp.FRAME_OCTETS_MAX)]))
    monkeypatch.setattr(core_module, "UNDER_WAY_MAX", 1)
    put(core, SIGN)
    with pytest.raises(SignerBusy) as caught:
        core.prepare(SIGN)
    assert caught.value.retry_in_s > 0
    assert core.under_way == 1


def test_the_deadline_counts_from_the_last_progress(core: ClientCore) -> None:
    first, _ = put(core, SIGN, 5.0), put(core, SIGN, 6.0)
    assert core.left_s(7.0) == 8.0
    feed(core, wp.SignReply(first, [b"a", b"b"]), now=9.0)
    assert core.left_s(9.0) == 10.0
    core.sent(1, 11.0)
    assert core.left_s(19.0) == 2.0, "the service reads"
    assert core.left_s(21.0) <= 0
    core.wait_begins(30.0)
    assert core.left_s(31.0) == 9.0, "the caller did something else meanwhile"
    assert isinstance(core.timed_out(), SignerTimeout)


def test_what_is_harmless_is_sent_again_once(core: ClientCore) -> None:
    tickets = [put(core, request) for request in (SIGN, wp.StatusRequest(0), SIGN)]
    flush(core)
    feed(core, wp.SignReply(tickets[0], [b"a", b"b"]))
    core.receive(b"\x00", 0.0)  # half a frame of the old connection
    core.interrupted("reset")
    core.connected()
    assert [request.id for request in flush(core)] == [1, *tickets[1:]]
    feed(core, wp.SignReply(tickets[2], [b"c", b"d"]))
    assert core.take(tickets[2], wp.SignReply).signatures == [b"c", b"d"]
    with pytest.raises(SignerUnreachable, match="reset"):
        core.interrupted("reset")
    assert core.under_way == 0
    put(core, SIGN)
    core.interrupted("reset")  # with everything answered in between it counts again
    assert core.under_way == 1


@pytest.mark.parametrize(
    ("request_", "again"),
    [
        (GENERATE, False),
        (wp.GenerateRequest(0, b"\x00", "ksk", 13, idempotency="roll 1"), True),
        (wp.RemoveRequest(0, b"\x00", "k"), False),
        (wp.ImportRequest(0, b"\x00", "ksk", 13, b""), False),
        (wp.BindRequest(0, b"\x00", "k"), True),
        (wp.ProveRequest(0, b"\x00", "k", b""), True),
    ],
)
def test_only_what_is_harmless_is_sent_again(core: ClientCore, request_: wp.Request, again: bool) -> None:
    ticket = put(core, request_)
    if again:
        core.interrupted("reset")
        core.connected()
        assert [one.id for one in flush(core)] == [1, ticket]
    else:
        with pytest.raises(SignerUnreachable):
            core.interrupted("reset")
        core.connected()
        assert [type(one) for one in flush(core)] == [wp.HelloRequest]


def test_after_three_failures_no_connection_is_tried_for_a_while(core: ClientCore, clock: Clock) -> None:
    for _ in range(3):
        core.check_breaker()
        core.cannot_connect(OSError(errno.EACCES, "Permission denied"))
    with pytest.raises(SignerUnreachable, match=r"next try in 0\.5 s") as caught:
        core.check_breaker()
    assert caught.value.retry_in_s == 0.5
    assert core.breaker_state == "open"
    clock.now += 1
    core.check_breaker()
    put(core, wp.StatusRequest(0))
    feed(core, wp.HelloReply(1, 1, 7))
    assert core.breaker_state == "closed"


def test_a_service_that_is_not_there_costs_nothing_and_opens_no_breaker(core: ClientCore) -> None:
    for error in (FileNotFoundError(2, "No such file"), ConnectionRefusedError(111, "refused")) * 5:
        assert "is `dnssecd signer` running" in str(core.cannot_connect(error))
    assert core.breaker_state == "closed"
