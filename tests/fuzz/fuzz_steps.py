"""Count what messages cost: ``python -m tests.fuzz.fuzz_steps [--seconds N] [--seed N]``.

A parser of foreign octets may run a number of lines of Python in proportion to the octets, whatever they are. Lines are
counted by the interpreter, so no loop escapes, and the count is the same on every machine. Loops inside C code (a
regular expression, a search) are not lines; for them there is a bound on processor time, so wide that only a cost that
grows with the square of the octets is above it.
"""

from __future__ import annotations

import argparse
import random
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from types import FrameType
from typing import Any, NamedTuple

import dns.message
import dns.rdatatype

from dnssecd.core.dns.message import REFUSED, FormError
from dnssecd.core.dns.tsig import AnswerVerifier, TsigError, sign_request
from dnssecd.daemon.notify_sender import NotifySender
from dnssecd.ingest.xfrin import Inbound
from dnssecd.ingest.xfrin_wire import TransferError
from dnssecd.pipeline.fetch.end import EndFinder, NotATransfer
from dnssecd.pipeline.fetch.receive import _StreamVerifier
from dnssecd.publish import xfrout
from dnssecd.publish.answerform import TCP_OCTETS_MAX, UnwantedAnswer, check_size, is_answer
from dnssecd.publish.exchange import PeerKey, _decode
from dnssecd.replacing import replace
from dnssecd.server.acl import ZoneAccess
from dnssecd.server.dispatch import Dispatcher
from dnssecd.server.interfaces import Hooks
from dnssecd.server.update_message import parse_update
from dnssecd.server.update_rdata import RdataReader
from tests.fuzz.shapes import IN, QUESTION_AT, SHAPES, ZONE, Record, mixed
from tests.unit.server.fakes import KEY, FakeVersion, FakeZone, small_zone, soa_rdata

#: Lines that a message may take besides those for each of its octets.
LINES = 600
#: For each octet of what anyone may send, of what an authenticated peer or client may send, of what is decoded only if
#: it has few records.
BY_ANYONE, BY_PEERS, IF_FEW = 6, 20, 70
#: Seconds of processor time for the longest message, a hundred times what is usual.
SECONDS_MAX = 2.0
SIZES = (512, 1400, 4096, 16_384, 65_535)

_MY_ID = 0x1234
_QUERY, _NOTIFY, _UPDATE, _ANSWER = 0x0000, 0x2000, 0x2800, 0x8400
_SOA, _AXFR, _IXFR, _NONE = 6, 252, 251, 254


class TooDear(BaseException):
    """More lines than allowed were run; the text names the last one. Nothing catches it on the way."""


class Layout(NamedTuple):
    """How records become a message: flags, question type, section (1 to 3), class of the records, records before."""

    flags: int
    qtype: int
    section: int
    rclass: int = IN
    before: tuple[Record, ...] = ()

    def message(self, make: Callable[[int, int], list[Record]], octets: int) -> bytes:
        """A message of at most so many octets."""
        question = ZONE + struct.pack("!HH", self.qtype, IN)
        first = b"".join(record.wire() for record in self.before)
        at = QUESTION_AT + len(question) + len(first)
        records = make(at, octets - at)
        counts = [1, 0, 0, 0]
        counts[self.section] = len(records) + len(self.before)
        head = struct.pack("!6H", _MY_ID, self.flags, *counts)
        return (head + question + first + b"".join(record.wire(self.rclass) for record in records))[:octets]


class Target(NamedTuple):
    """A parser, the messages it is given, and the lines it may run for each octet."""

    layout: Layout
    judge: Callable[[bytes], object]
    lines_an_octet: int = BY_ANYONE

    def allowed(self, wire: bytes) -> int:
        """The bound for one message."""
        return LINES + self.lines_an_octet * len(wire)


class _Handled(Hooks):
    def failed(self, zone: bytes, kind: str, error: BaseException) -> None:
        raise error


async def _refuse(zone: object, request: object) -> int:
    return REFUSED


_FAKE_ZONE = FakeZone(FakeVersion(small_zone(5)), ZoneAccess.make([]))
_DISPATCHER = Dispatcher(
    {ZONE: _FAKE_ZONE}.get, lambda: {KEY.name: KEY}, xfrout, lambda: 0, _Handled(), _refuse, _refuse
)
_STRANGER = ip_address("198.51.100.1")
_ASKED = dns.message.make_query("example.", "SOA", id=_MY_ID)
_ASKED_WIRE = _ASKED.to_wire()
_NOTIFY_REQUEST = (
    struct.pack("!6H", _MY_ID, _NOTIFY | 0x0400, 1, 0, 0, 0) + ZONE + struct.pack("!HH", _SOA, IN)
)
_PEER_KEY = PeerKey("transfer.", "hmac-sha256", KEY.secret)
_FIRST_SOA = Record(b"\xc0\x0c", _SOA, soa_rdata(8))


def _dispatched(transport: str) -> Callable[[bytes], object]:
    def judge(wire: bytes) -> None:
        outcome: Any = _DISPATCHER.handle(wire, _STRANGER, transport)
        if hasattr(outcome, "send"):
            with suppress(StopIteration):
                outcome.send(None)
        elif hasattr(outcome, "close"):
            outcome.close()

    return judge


def _with_bad_tsig(wire: bytes) -> None:
    signed, _ = sign_request(wire[:65_000], replace(KEY, secret=b"other"), 0)
    _dispatched("tcp")(signed)


def _transferred(base: int | None, *, keep: bool = False) -> Callable[[bytes], object]:
    def judge(wire: bytes) -> None:
        Inbound(ZONE, base, RdataReader, keep=keep).feed(wire)

    return judge


def _end_sought(wire: bytes) -> None:
    EndFinder(None).feed(wire)


def _stream_verified(wire: bytes) -> None:
    _StreamVerifier(KEY, bytes(32)).accept(wire, 0)


def _answer_verified(wire: bytes) -> None:
    AnswerVerifier(KEY, bytes(32)).accept(wire, 0)


def _answer_to_notify(wire: bytes) -> None:
    NotifySender(lambda: 0.0)._judge(wire, _NOTIFY_REQUEST, (_PEER_KEY, bytes(32)))


def _answer_to_question(wire: bytes) -> None:
    if is_answer(wire, _ASKED_WIRE):
        check_size(wire, TCP_OCTETS_MAX)
        _decode(wire, _ASKED)


TARGETS: dict[str, Target] = {
    "query over UDP": Target(Layout(_QUERY, _SOA, 3), _dispatched("udp")),
    "query over TCP": Target(Layout(_QUERY, _SOA, 3), _dispatched("tcp")),
    "query, authority": Target(Layout(_QUERY, _IXFR, 2), _dispatched("tcp")),
    "query, bad TSIG": Target(Layout(_QUERY, _SOA, 1), _with_bad_tsig),
    "NOTIFY": Target(Layout(_NOTIFY, _SOA, 1), _dispatched("tcp")),
    "UPDATE of a stranger": Target(Layout(_UPDATE, _SOA, 2), _dispatched("tcp")),
    "UPDATE, additions": Target(Layout(_UPDATE, _SOA, 2), parse_update, BY_PEERS),
    "UPDATE, deletions": Target(Layout(_UPDATE, _SOA, 2, _NONE), parse_update, BY_PEERS),
    "UPDATE, prerequisites": Target(Layout(_UPDATE, _SOA, 1), parse_update, BY_PEERS),
    "UPDATE, additional": Target(Layout(_UPDATE, _SOA, 3), parse_update),
    "AXFR in": Target(Layout(_ANSWER, _AXFR, 1, before=(_FIRST_SOA,)), _transferred(None), BY_PEERS),
    "AXFR in, kept whole": Target(
        Layout(_ANSWER, _AXFR, 1, before=(_FIRST_SOA,)), _transferred(None, keep=True), BY_PEERS
    ),
    "IXFR in": Target(Layout(_ANSWER, _IXFR, 1, before=(_FIRST_SOA,)), _transferred(7), BY_PEERS),
    "end of a transfer": Target(Layout(_ANSWER, _AXFR, 1, before=(_FIRST_SOA,)), _end_sought),
    "TSIG of a transfer": Target(Layout(_ANSWER, _AXFR, 3, before=(_FIRST_SOA,)), _stream_verified),
    "TSIG of an answer": Target(Layout(_ANSWER, _SOA, 3), _answer_verified),
    "answer to NOTIFY": Target(Layout(_ANSWER | _NOTIFY, _SOA, 1), _answer_to_notify),
    "answer to a question": Target(Layout(_ANSWER, _SOA, 1), _answer_to_question, IF_FEW),
}
_REFUSALS = (FormError, TransferError, TsigError, NotATransfer, UnwantedAnswer)


def lines_of(judge: Callable[[bytes], object], wire: bytes, allowed: int) -> int:
    """Run a parser and return how many lines it ran; raises TooDear as soon as there are too many."""
    lines = 0

    def count(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal lines
        lines += 1
        if lines > allowed:
            sys.settrace(None)
            raise TooDear(f"{lines} lines at {frame.f_code.co_filename}:{frame.f_lineno}")
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        with suppress(*_REFUSALS):
            judge(wire)
    finally:
        sys.settrace(before)
    return lines


def seconds_of(judge: Callable[[bytes], object], wire: bytes) -> float:
    """Run a parser and return the processor time it took."""
    begun = time.process_time()
    with suppress(*_REFUSALS):
        judge(wire)
    return time.process_time() - begun


def judge_all(make: Callable[[int, int], list[Record]], octets: int) -> dict[str, int]:
    """Give a shape of one size to every parser; return the lines that each ran. Raises TooDear, AssertionError."""
    found = {}
    for name, target in TARGETS.items():
        wire = target.layout.message(make, octets)
        try:
            found[name] = lines_of(target.judge, wire, target.allowed(wire))
        except TooDear as error:
            raise TooDear(f"{name}, {len(wire)} octets: {error}") from None
        seconds = seconds_of(target.judge, wire)
        assert seconds <= SECONDS_MAX, f"{name}, {len(wire)} octets: {seconds:.1f} s of processor time"
    return found


def warm_up() -> None:
    """Have everything imported that is imported when it is first needed: that is no cost of a message."""
    for shape in SHAPES.values():
        for target in TARGETS.values():
            with suppress(*_REFUSALS):
                target.judge(target.layout.message(shape, 600))


def fuzz(seconds: float, seed: int, most: int | None = None) -> int:
    """Judge mixed shapes for a while; return how many there were."""
    rng = random.Random(seed)
    until = time.monotonic() + seconds
    count = 0
    warm_up()
    while time.monotonic() < until and count != most:
        octets = rng.choice((*SIZES[:-1], rng.randrange(100, 65_536)))
        state = rng.getstate()

        def make(at: int, left: int, state: Any = state) -> list[Record]:
            own = random.Random()
            own.setstate(state)
            return mixed(own, at, left)

        judge_all(make, octets)
        rng.random()
        count += 1
    return count


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--seed", type=int, default=int.from_bytes(random.randbytes(4)))
    given = options.parse_args()
    print(f"steps of parsers: mixed shapes, seed {given.seed}", file=sys.stderr)
    print(f"{fuzz(given.seconds, given.seed)} shapes, each for {len(TARGETS)} parsers")


if __name__ == "__main__":
    main()
