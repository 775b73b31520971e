"""Odd and hostile packets at the dispatcher: what is answered, with which RCODE, and what is dropped."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Iterator
from ipaddress import ip_address

import dns.message
import dns.name
import dns.opcode
import dns.tsig
import dns.update
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnssecd.core.dns.message import (  # fmt: skip
    BADVERS,
    FORMERR,
    NOERROR,
    NOTAUTH,
    NOTIMP,
    REFUSED,
    SERVFAIL,
    FormError,
    parse,
    parse_header,
    read_name,
)
from dnssecd.core.dns.message_names import NameTable
from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.dns.rrset import RRset, pack
from dnssecd.core.dns.tsig import sign_request
from dnssecd.publish import xfrout
from dnssecd.server.acl import Acl, ZoneAccess, client_address
from dnssecd.server.answer_budget import BURST_OCTETS, CLIENTS_MAX, RATE_OCTETS, AnswerBudget
from dnssecd.server.dispatch import Dispatcher
from dnssecd.server.interfaces import Hooks, Request, Verdict
from dnssecd.server.transfer import TransferJob
from tests.unit.server.fakes import KEY, FakeVersion, FakeZone, small_zone

CLIENT, STRANGER, SECONDARY = map(ip_address, ("192.0.2.7", "198.51.100.1", "192.0.2.53"))
ACCESS = ZoneAccess.make(
    ["192.0.2.0/24"], secondaries=[("192.0.2.53", None)], primaries=[("192.0.2.10", None)]
)
ORIGIN = b"\x07example\x00"
PEERS = frozenset({SECONDARY, ip_address("192.0.2.10")})


class Failures(Hooks):
    def failed(self, zone: bytes, kind: str, error: BaseException) -> None:
        raise error


def made(zone: FakeZone | None = None, **handlers) -> Dispatcher:
    zone = zone or FakeZone(FakeVersion(small_zone(5)), ACCESS)
    return Dispatcher(
        {zone.origin: zone}.get,
        lambda: {KEY.name: KEY},
        xfrout,
        lambda: 0,
        Failures(),
        known=PEERS.__contains__,
        **handlers,
    )


def ask(wire: bytes, address=CLIENT, transport: str = "udp", zone: FakeZone | None = None):
    return made(zone).handle(wire, address, transport)


def query(name: str = "example.", rtype: str = "SOA", **options) -> bytes:
    return dns.message.make_query(name, rtype, id=0x1234, **options).to_wire()


def header(flags: int = 0, *counts: int) -> bytes:
    return b"\x12\x34" + b"".join(n.to_bytes(2, "big") for n in (flags, *(counts or (1, 0, 0, 0))))


QUESTION = ORIGIN + b"\x00\x06\x00\x01"
OPT = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"


def rcode(wire: bytes) -> int:
    return dns.message.from_wire(wire).rcode()


@pytest.mark.parametrize(
    "wire", [b"", b"\x12", header()[:11], header(0x8000) + QUESTION, header(0x8400, 0, 0, 0, 0)]
)
def test_runts_and_responses_are_dropped(wire: bytes) -> None:
    assert ask(wire) is None


@pytest.mark.parametrize("opcode", [1, 2, 3, *range(6, 16)])
def test_unknown_opcodes_are_notimp(opcode: int) -> None:
    for tail in (QUESTION, b"", b"\xff\xff"):
        answer = ask(header(opcode << 11) + tail)
        assert parse_header(answer).flags & 0x7FFF == opcode << 11 | NOTIMP


@pytest.mark.parametrize(
    "wire",
    [
        header(0, 0, 0, 0, 0),
        header(0, 0, 0, 0, 0) + QUESTION,
        header(0, 2, 0, 0, 0) + QUESTION + QUESTION,
        header(0, 65535, 0, 0, 0) + QUESTION,
        header(0, 1, 0, 0, 0) + QUESTION + b"\x00",
        header(0, 1, 0, 0, 1) + QUESTION,
        header(0, 1, 65535, 65535, 65535) + QUESTION,
        header(0, 1, 0, 0, 2) + QUESTION + OPT + OPT,
        header(0, 1, 1, 0, 0) + QUESTION + OPT,
        header(0, 1, 0, 0, 1) + QUESTION + b"\x01x" + OPT,
        header(0, 1, 0, 0, 1) + QUESTION + OPT[:-2] + b"\x00\x03\x00\x03\x00",
        header(0, 1, 0, 0, 1) + QUESTION + OPT[:-2] + b"\x00\x06\x00\x03\x00\x09ab",
        header(0, 1, 0, 0, 1) + QUESTION + OPT[:-2] + b"\x00\x09",
        header() + QUESTION[:-1],
        header() + QUESTION[:-4],
    ],
    ids=[
        "QDCOUNT 0", "QDCOUNT 0, trailing", "QDCOUNT 2", "QDCOUNT 65535", "trailing octet", "record missing",
        "counts 65535", "two OPTs", "OPT in answer", "OPT owner", "option cut", "option too long", "RDLENGTH lies",
        "question cut", "question without type",
    ],
)  # fmt: skip
def test_broken_messages_are_formerr(wire: bytes) -> None:
    answer = ask(wire)
    assert parse_header(answer).flags & 15 == FORMERR
    assert answer[:2] == b"\x12\x34"


@pytest.mark.parametrize(
    "name",
    [
        b"\xc0\x0c",
        b"\xc0\x0e\x00",
        b"\xc0\x00",
        b"\xc0\x0b",
        b"\xff\xff",
        b"\xc0",
        b"\x03abc\xc0\x0c",
        b"\x40" + b"a" * 64 + b"\x00",
        b"\x80\x00",
        b"\x3f" + b"a" * 62,
        b"\x03abc",
        (b"\x3f" + b"a" * 63) * 4 + b"\x00",
        (b"\x3f" + b"a" * 63) * 3 + b"\x3e" + b"a" * 62 + b"\x00",
    ],
    ids=[
        "to itself", "forward", "header", "header end", "past the end", "half", "loop over a label", "label 64",
        "type 10", "label cut", "no end", "257 octets", "256 octets",
    ],
)  # fmt: skip
def test_name_traps_of_rfc_9267(name: bytes) -> None:
    with pytest.raises(FormError):
        read_name(header() + name, 12)
    answer = ask(header() + name + b"\x00\x06\x00\x01")
    assert parse_header(answer).flags & 15 == FORMERR


def test_longest_name_and_pointer_chain_are_read() -> None:
    longest = (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"a" * 61 + b"\x00"
    assert read_name(header() + longest, 12) == (longest, 12 + 255)
    wire = header() + b"\x01a\x00" + b"\x01b\xc0\x0c" + b"\x01c\xc0\x0f"
    assert read_name(wire, 19) == (b"\x01c\x01b\x01a\x00", 23)


def test_pointer_chain_that_makes_a_name_too_long() -> None:
    wire, start = header() + b"\x01a\x00", 12
    for _ in range(13):
        wire, start = wire + b"\x13" + b"b" * 19 + (0xC000 | start).to_bytes(2, "big"), len(wire)
    with pytest.raises(FormError, match="255"):
        read_name(wire, start)


def test_a_long_request_over_udp_is_formerr_and_is_not_read() -> None:
    plain = query(use_edns=0)
    pad = 4096 - len(plain) - 4
    longest = plain[:-2] + struct.pack("!HHH", pad + 4, 12, pad) + bytes(pad)
    assert len(longest) == 4096
    assert rcode(ask(longest)) == NOERROR
    assert ask(longest + b"\x00") == header(0x8000 | 0x0100 | FORMERR, 0, 0, 0, 0)
    assert parse_header(ask(longest + b"\x00", transport="tcp")).flags & 15 == FORMERR
    assert rcode(ask(longest, transport="tcp")) == NOERROR


def test_a_chain_of_pointers_is_cut_off() -> None:
    """Sixteen pointers to positions not read before; names that were read may be of any depth."""
    wire, starts = header() + b"\x01a\x00", [12]
    for _ in range(20):
        wire, starts = wire + (0xC000 | starts[-1]).to_bytes(2, "big"), [*starts, len(wire)]
    assert read_name(wire, starts[16]) == (b"\x01a\x00", starts[16] + 2)
    with pytest.raises(FormError, match="more than 16"):
        read_name(wire, starts[17])
    names = NameTable(wire, FormError)
    assert {names.read(start)[0] for start in starts} == {b"\x01a\x00"}


def test_a_pointer_into_the_middle_of_the_name_itself_is_no_name() -> None:
    """The label at 12 holds what looks like a label that leads into the name at 17."""
    wire = header() + b"\x03\x01a\x02b" + b"\x01c\xc0\x0f"
    with pytest.raises(FormError):
        read_name(wire, 17)


def test_z_ad_and_cd_bits_are_cleared_and_rd_is_copied() -> None:
    answer = ask(header(0x0170) + QUESTION)
    assert parse_header(answer).flags == 0x8500


def test_edns_version_1_is_badvers() -> None:
    answer = dns.message.from_wire(ask(query(use_edns=1)))
    assert (answer.rcode(), answer.edns) == (BADVERS, 0)


def test_unknown_edns_options_are_ignored_and_do_is_copied() -> None:
    wire = header(0, 1, 0, 0, 1) + QUESTION + OPT[:5] + b"\x00\x00\x80\x00\x00\x06\xfd\xe9\x00\x02xx"
    answer = dns.message.from_wire(ask(wire))
    assert (answer.rcode(), answer.edns, bool(answer.ednsflags & 0x8000)) == (NOERROR, 0, True)


@pytest.mark.parametrize(("qclass", "expected"), [("CH", REFUSED), ("ANY", REFUSED), ("NONE", REFUSED)])
def test_other_classes(qclass: str, expected: int) -> None:
    assert rcode(ask(dns.message.make_query("example.", "SOA", qclass).to_wire())) == expected


def test_question_is_echoed_as_it_was_sent() -> None:
    answer = ask(header() + b"\x07eXaMpLe\x00\x00\x06\x00\x01")
    assert answer[12:21] == b"\x07eXaMpLe\x00"
    assert len(dns.message.from_wire(answer).answer) == 1


@pytest.mark.parametrize(
    ("wire", "address", "expected"),
    [
        (query(), CLIENT, NOERROR),
        (query(), STRANGER, REFUSED),
        (query("other."), CLIENT, REFUSED),
        (query("other."), STRANGER, REFUSED),
        (query(rtype="AXFR"), CLIENT, REFUSED),
        (query(rtype="AXFR"), SECONDARY, None),
        (query("other.", "AXFR"), SECONDARY, NOTAUTH),
        (query("ns.example.", "AXFR"), SECONDARY, NOTAUTH),
        (query("sub.ns.example.", "AXFR"), SECONDARY, NOTAUTH),
    ],
)
def test_access_over_tcp(wire: bytes, address, expected: int | None) -> None:
    outcome = ask(wire, address, "tcp")
    if expected is None:
        assert isinstance(outcome, TransferJob)
    else:
        assert rcode(outcome) == expected


def test_axfr_over_udp_is_refused() -> None:
    assert rcode(ask(query(rtype="AXFR"), SECONDARY)) == REFUSED


SOA_RR = ORIGIN + b"\x00\x06\x00\x01\x00\x00\x00\x00\x00\x16\x00\x00" + bytes(20)


@pytest.mark.parametrize(
    ("authority", "count", "valid"),
    [
        (SOA_RR, 1, True),
        (b"\xc0\x0c" + SOA_RR[9:], 1, True),
        (b"\x07EXAMPLE\x00" + SOA_RR[9:], 1, True),
        (b"", 0, False),
        (SOA_RR * 2, 2, False),
        (b"\x05other\x00" + SOA_RR[9:], 1, False),
        (SOA_RR.replace(b"\x00\x06\x00\x01", b"\x00\x01\x00\x01"), 1, False),
        (SOA_RR.replace(b"\x00\x06\x00\x01", b"\x00\x06\x00\x03"), 1, False),
        (ORIGIN + b"\x00\x06\x00\x01\x00\x00\x00\x00\x00\x15\x00\x00" + bytes(19), 1, False),
        (ORIGIN + b"\x00\x06\x00\x01\x00\x00\x00\x00\x00\x00", 1, False),
    ],
    ids=[
        "plain", "compressed", "upper case", "none", "two", "foreign owner", "not SOA", "class", "RDATA short",
        "RDATA empty",
    ],
)  # fmt: skip
def test_authority_section_of_ixfr(authority: bytes, count: int, valid: bool) -> None:
    wire = header(0, 1, 0, count, 0) + ORIGIN + b"\x00\xfb\x00\x01" + authority
    for transport in ("udp", "tcp"):
        outcome = ask(wire, SECONDARY, transport)
        if valid and transport == "tcp":
            assert isinstance(outcome, TransferJob)
        else:
            assert rcode(outcome) == (NOERROR if valid else FORMERR)


@pytest.mark.parametrize(
    ("name", "rtype", "qclass", "address", "expected"),
    [
        ("example.", "SOA", "IN", "192.0.2.10", NOERROR),
        ("example.", "SOA", "IN", "192.0.2.7", REFUSED),
        ("other.", "SOA", "IN", "192.0.2.10", NOTAUTH),
        ("ns.example.", "SOA", "IN", "192.0.2.10", NOTAUTH),
        ("example.", "SOA", "ANY", "192.0.2.10", FORMERR),
        ("example.", "SOA", "NONE", "192.0.2.10", FORMERR),
        ("example.", "A", "IN", "192.0.2.10", FORMERR),
    ],
)
async def test_notify(name: str, rtype: str, qclass: str, address: str, expected: int) -> None:
    calls = []

    async def handler(zone, request) -> int:
        calls.append((zone.origin, request.address))
        return NOERROR

    message = dns.message.make_query(name, rtype, qclass)
    message.set_opcode(dns.opcode.NOTIFY)
    outcome = made(on_notify=handler).handle(message.to_wire(), ip_address(address), "udp")
    answer = outcome if isinstance(outcome, bytes) else await outcome
    assert rcode(answer) == expected
    assert dns.message.from_wire(answer).opcode() == dns.opcode.NOTIFY
    assert len(calls) == (expected == NOERROR)


@pytest.mark.parametrize(
    ("zone", "expected"), [((b"\x07example\x00", 6, 1), REFUSED), ((b"\x05other\x00", 6, 1), REFUSED),
                           ((ORIGIN, 1, 1), FORMERR), ((ORIGIN, 6, 255), FORMERR), ((ORIGIN, 6, 254), FORMERR)]
)  # fmt: skip
def test_update_without_a_handler(zone: tuple[bytes, int, int], expected: int) -> None:
    name, rtype, rclass = zone
    section = name + rtype.to_bytes(2, "big") + rclass.to_bytes(2, "big")
    assert parse_header(ask(header(5 << 11) + section)).flags & 15 == expected
    assert parse_header(ask(header(5 << 11, 0, 0, 0, 0))).flags & 15 == FORMERR
    assert parse_header(ask(header(5 << 11, 2, 0, 0, 0) + section * 2)).flags & 15 == FORMERR


async def test_an_update_without_a_key_is_refused_unread() -> None:
    """Grants belong to keys. Its records take long to read, so nothing of them is."""
    server = made(on_update=never)

    def rr(rtype: int, rdata: bytes) -> bytes:
        return b"\xc0\x0c" + struct.pack("!HHIH", rtype, 1, 60, len(rdata)) + rdata

    for record in (rr(64, bytes(3)), rr(255, b""), rr(0, b""), rr(1, b"")):
        answer = server.handle(header(5 << 11, 1, 0, 1, 0) + QUESTION + record, CLIENT, "tcp")
        assert isinstance(answer, bytes)
        assert parse_header(answer).flags & 15 == REFUSED
    cut = server.handle(header(5 << 11, 1, 0, 1, 0) + QUESTION + rr(1, b"")[:-1], CLIENT, "tcp")
    assert isinstance(cut, bytes)
    assert parse_header(cut).flags & 15 == FORMERR


async def never(zone: object, request: Request) -> int:
    raise AssertionError("the handler is not to be asked")


@pytest.mark.parametrize("flags", [0, 4 << 11, 5 << 11], ids=["AXFR", "NOTIFY", "UPDATE"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_stranger_does_not_learn_which_zones_are_served(flags: int, transport: str) -> None:
    server = made(on_notify=never, on_update=never)
    rtype = b"\x00\x06\x00\x01" if flags else b"\x00\xfc\x00\x01"
    answers = [
        server.handle(header(flags) + name + rtype, STRANGER, transport)
        for name in (ORIGIN, b"\x07exampla\x00", b"\x03www" + ORIGIN)
    ]
    assert [answer[2:12] for answer in answers if isinstance(answer, bytes)] == [answers[0][2:12]] * 3
    assert parse_header(answers[0]).flags & 15 == REFUSED


async def test_handler_that_fails_gives_servfail() -> None:
    class Noted(Hooks):
        error: BaseException | None = None

        def failed(self, zone: bytes, kind: str, error: BaseException) -> None:
            self.error = error

    async def handler(zone, request) -> int:
        raise RuntimeError("broken")

    zone, hooks = FakeZone(FakeVersion(small_zone(5)), ACCESS), Noted()
    server = Dispatcher(
        {zone.origin: zone}.get, lambda: {KEY.name: KEY}, xfrout, lambda: 0, hooks, on_update=handler
    )
    answer = await server.handle(sign_request(header(5 << 11) + QUESTION, KEY, 0)[0], CLIENT, "tcp")
    assert parse_header(answer).flags & 15 == SERVFAIL
    assert str(hooks.error) == "broken"


def test_zone_without_a_version_is_servfail() -> None:
    zone = FakeZone(None, ACCESS)
    assert rcode(ask(query(), zone=zone)) == SERVFAIL
    assert rcode(ask(query(), STRANGER, zone=zone)) == REFUSED


@pytest.mark.parametrize(("edns", "limit"), [(None, 512), (512, 512), (700, 700), (4096, 1232), (0, 512)])
def test_answers_over_udp_are_truncated_to_what_the_client_takes(edns: int | None, limit: int) -> None:
    big = RRset(b"big\x00", 65280, 60, pack([n.to_bytes(2, "big") * 100 for n in range(50)]))
    zone = FakeZone(FakeVersion([*small_zone(5), big]), ACCESS)
    options = {} if edns is None else {"use_edns": 0, "payload": edns}
    answer = ask(query("big.example.", "TYPE65280", **options), zone=zone)
    assert len(answer) <= limit
    assert dns.message.from_wire(answer).flags & 0x0200
    whole = ask(query("big.example.", "TYPE65280", **options), transport="tcp", zone=zone)
    assert len(dns.message.from_wire(whole).answer[0]) == 50


def test_a_referral_without_all_of_its_glue_is_truncated() -> None:
    """RFC 9471 §3.1: a resolver must not take a part of the servers' addresses for all there are."""
    servers = [f"ns{n}.sub.example." for n in range(20)]
    cut = RRset(b"sub\x00", 2, 60, pack([text_to_wire(server) for server in servers]))
    glue = [RRset(b"sub\x00" + f"ns{n}".encode() + b"\x00", 28, 60, pack([bytes(16)])) for n in range(20)]
    zone = FakeZone(FakeVersion([*small_zone(5), cut, *glue]), ACCESS)
    answer = dns.message.from_wire(ask(query("sub.example.", "A", use_edns=0, payload=1232), zone=zone))
    assert len(answer.authority[0]) == 20
    assert 0 < len(answer.additional) < 20
    assert answer.flags & 0x0200
    whole = dns.message.from_wire(ask(query("sub.example.", "A"), transport="tcp", zone=zone))
    assert len(whole.additional) == 20
    assert not whole.flags & 0x0200


def test_acl_judges_signed_requests_by_key_and_unsigned_ones_by_address() -> None:
    acl = Acl.make(["transfer.", "2001:db8::/32", "192.0.2.1"])
    assert acl.allows(b"\x08transfer\x00", STRANGER)
    assert not acl.allows(b"\x05other\x00", ip_address("192.0.2.1"))
    assert acl.allows(None, ip_address("192.0.2.1"))
    assert acl.allows(None, ip_address("2001:db8::7"))
    assert not acl.allows(None, ip_address("192.0.2.2"))
    assert client_address("::ffff:192.0.2.1") == ip_address("192.0.2.1")
    assert client_address("fe80::1%eth0") == ip_address("fe80::1")


def samples() -> Iterator[bytes]:
    yield query()
    yield query(use_edns=0, want_dnssec=True)
    yield header(0, 1, 0, 1, 0) + ORIGIN + b"\x00\xfb\x00\x01" + SOA_RR
    yield header(5 << 11, 1, 0, 1, 0) + QUESTION + SOA_RR
    yield header(4 << 11) + QUESTION
    yield sign_request(query(use_edns=0), KEY, 0)[0]
    yield sign_request(header(0, 1, 0, 1, 0) + ORIGIN + b"\x00\xfb\x00\x01" + SOA_RR, KEY, 0)[0]


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 2**32))
def test_damaged_messages_get_an_answer_or_silence(seed: int) -> None:
    rng = random.Random(seed)
    wire = bytearray(rng.choice(list(samples())))
    for _ in range(rng.randint(1, 4)):
        wire[rng.randrange(len(wire))] = rng.choice((0, 1, 0x3F, 0x40, 0xC0, 0xFF, rng.randrange(256)))
    cut = bytes(wire[: rng.choice((len(wire), rng.randrange(len(wire))))])
    for transport in ("udp", "tcp"):
        outcome = ask(cut, SECONDARY, transport)
        assert outcome is None or isinstance(outcome, bytes | TransferJob)
        if isinstance(outcome, bytes):
            parse_header(outcome)
            assert outcome[2] & 0x80


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=600))
def test_noise_never_raises_but_formerror(noise: bytes) -> None:
    for wire in (noise, header(0, 1, 1, 1, 1) + noise):
        try:
            parse(wire)
        except FormError:
            continue


@pytest.mark.parametrize("edns", [None, 512, 1232])
async def test_a_handlers_words_go_into_an_extended_dns_error(edns: int | None) -> None:
    """RFC 8914: only where the client asked with EDNS, and never more than there is room for."""

    async def handler(zone: object, request: object) -> Verdict:
        return Verdict(5, "www.example. would have 101 A records" + "!" * 1000)

    zone = FakeZone(FakeVersion(small_zone()), ACCESS)
    server = Dispatcher(
        {zone.origin: zone}.get, lambda: {KEY.name: KEY}, xfrout, time.time, Failures(), on_update=handler
    )
    message = dns.update.UpdateMessage("example.")
    message.add("www", 60, "A", "192.0.2.1")
    if edns:
        message.use_edns(0, payload=edns)
    keyring = {dns.name.from_text("transfer."): dns.tsig.Key("transfer.", KEY.secret, "hmac-sha256")}
    message.use_tsig(keyring)
    outcome = server.handle(message.to_wire(), CLIENT, "udp")
    wire = await outcome
    answer = dns.message.from_wire(wire, keyring=keyring, request_mac=message.mac)
    assert answer.rcode() == 5
    errors = [option for option in answer.options if option.otype == 15]
    if edns is None:
        assert not errors
        assert answer.edns < 0
        return
    assert len(wire) <= edns
    (error,) = errors
    assert error.code == 0
    assert error.text.startswith("www.example. would have 101 A records")


def test_an_address_that_is_not_proven_gets_few_large_answers_by_udp() -> None:
    """Questions may be forged in the name of a client that is known by its address alone."""
    text = RRset(b"big\x00", 16, 60, pack([bytes([200 + n]) + bytes(200 + n) for n in range(5)]))
    access, clock = ZoneAccess.make(["192.0.2.0/24"], ["transfer."]), [1000.0]
    zone = FakeZone(FakeVersion([*small_zone(5), text]), access)
    keys = {KEY.name: KEY}
    server = Dispatcher({zone.origin: zone}.get, lambda: keys, xfrout, lambda: clock[0], Failures())
    question = query("big.example.", "TXT", use_edns=0, payload=4096)

    def octets(asked: bytes = question, address=CLIENT, transport: str = "udp", times: int = 2000) -> int:
        answers = [server.handle(asked, address, transport) for _ in range(times)]
        assert all(isinstance(answer, bytes) for answer in answers)
        return sum(map(len, answers))  # type: ignore[arg-type]

    assert octets() <= BURST_OCTETS + 2000 * len(question)
    assert rcode(server.handle(question, CLIENT, "udp")) == NOERROR
    cut = dns.message.from_wire(server.handle(question, CLIENT, "udp"))
    assert cut.flags & dns.flags.TC
    assert not cut.answer
    assert octets(times=10, transport="tcp") > 10 * 1000, "by TCP the address is proven"
    assert octets(times=10, address=SECONDARY) > 10 * 1000, "others have their own budget"
    soa = len(server.handle(query(), CLIENT, "udp"))
    assert octets(query(), times=1000) == 1000 * soa, "small answers go on"
    signed = sign_request(question, KEY, 1000)[0]
    assert octets(signed, times=500) > BURST_OCTETS, "nor is a signed question bounded"
    clock[0] += 2
    assert octets(times=100) > RATE_OCTETS


def test_the_budgets_are_bounded() -> None:
    budget = AnswerBudget()
    for number in range(3 * CLIENTS_MAX):
        assert budget.allows(str(number), 1000, float(number))
    assert len(budget._clients) == CLIENTS_MAX
    assert not budget.allows("x", BURST_OCTETS + 1, 0.0)
    assert budget.allows("x", BURST_OCTETS, -5.0), "a clock that goes back takes nothing away"
