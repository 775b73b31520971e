"""The answer to AXFR and IXFR as an automaton: what is taken, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnssecd.ingest.xfrin import (
    TRANSITIONS,
    Current,
    Differences,
    Event,
    Inbound,
    State,
    TransferLimits,
    Whole,
    serial_of,
)
from dnssecd.ingest.xfrin_doc import render
from dnssecd.ingest.xfrin_wire import TransferError
from dnssecd.server.update_rdata import RdataReader
from tests.unit.xfrin.streams import (
    CDS,
    DNSKEY,
    DS,
    IXFR,
    NS_RR,
    NSEC,
    NSEC3PARAM,
    ORIGIN,
    RR,
    RRSIG,
    TXT,
    ZONEMD,
    A,
    a,
    message,
    name,
    receive,
    soa,
)  # fmt: skip

DOC = Path(__file__).parents[3] / "docs" / "transfers-in.md"
W1 = a("www", 1)


def whole(*rrs: RR) -> bytes:
    return message([soa(7), NS_RR, *rrs, soa(7)])


def ixfr(*rrs: RR) -> bytes:
    return message(list(rrs), IXFR)


def test_axfr_in_one_message_and_in_many() -> None:
    rrs = [soa(7), NS_RR, W1, a("x", 2), soa(7)]
    at_once = receive([message(rrs)])
    in_pieces = receive([message([rr], question=not i) for i, rr in enumerate(rrs)])
    assert isinstance(at_once, Whole)
    assert at_once == in_pieces
    assert serial_of(at_once.soa) == 7
    assert at_once.rows[1] == (b"www\x00", A, 300, b"\x00\x04\xc0\x00\x02\x01")


def test_owner_compressed_and_in_upper_case() -> None:
    rr = RR(b"\x03WWW\xc0\x0c", A, bytes(4))
    found = receive([whole(rr)])
    assert isinstance(found, Whole)
    assert found.rows[-1][0] == b"www\x00"


def test_ixfr_of_two_sequences() -> None:
    found = receive(
        [ixfr(soa(9), soa(7), W1, soa(8), a("www", 2), soa(8), a("www", 2), soa(9), a("www", 3), soa(9))], 7
    )
    assert isinstance(found, Differences)
    assert [(serial_of(d.before), serial_of(d.after)) for d in found.sequences] == [(7, 8), (8, 9)]
    assert [len(d.deleted) + len(d.added) for d in found.sequences] == [2, 2]


def test_ixfr_answered_with_the_zone_and_with_one_soa() -> None:
    assert isinstance(receive([message([soa(9), NS_RR, W1, soa(9)], IXFR)], 7), Whole)
    assert isinstance(receive([ixfr(soa(7))], 7), Current)


def test_what_the_signer_makes_is_left_out() -> None:
    signed = [
        RR(ORIGIN, DNSKEY, b"junk"), RR(ORIGIN, NSEC3PARAM, b""), RR(ORIGIN, CDS, b""), RR(ORIGIN, ZONEMD, b""),
        RR(ORIGIN, DS, b""), RR(name("www"), RRSIG, b"not even RDATA"), RR(name("www"), NSEC, b""),
    ]  # fmt: skip
    found = receive([whole(W1, *signed)])
    assert isinstance(found, Whole)
    assert found.rows == receive([whole(W1)]).rows  # type: ignore[union-attr]


def test_keys_below_the_apex_are_data() -> None:
    found = receive([whole(RR(name("www"), CDS, bytes.fromhex("0000000000")))])
    assert isinstance(found, Whole)
    assert found.rows[-1][1] == CDS


BAD_AXFR = {
    "SOA of another owner": [soa(7), NS_RR, soa(7, name("www")), soa(7)],
    "ends with the SOA of another owner": [soa(7), NS_RR, soa(7, name("www"))],
    "another SOA in the middle": [soa(7), NS_RR, soa(8), W1, soa(7)],
    "the SOA's other fields differ": [soa(7), NS_RR, soa(7, minimum=301)],
    "data after the final SOA": [soa(7), NS_RR, soa(7), W1],
    "does not begin with an SOA": [NS_RR, soa(7), soa(7)],
    "begins with another zone's SOA": [soa(7, b"\x05other\x00"), NS_RR, soa(7)],
    "class CH": [soa(7), NS_RR, W1._replace(rclass=3), soa(7)],
    "class NONE": [soa(7), NS_RR, W1._replace(rclass=254), soa(7)],
    "SOA out of zone": [soa(7), NS_RR, soa(7, b"\x05other\x00"), soa(7)],
    "out of zone before the SOA": [RR(b"\x05other\x00", A, bytes(4)), soa(7), NS_RR, soa(7)],
    "out of zone after the end": [soa(7), NS_RR, soa(7), RR(b"\x05other\x00", A, bytes(4))],
    "cut": [soa(7), NS_RR, W1],
    "SOA alone": [soa(7)],
    "SOA twice": [soa(7), soa(7)],
    "type ANY": [soa(7), NS_RR, RR(name("www"), 255, b""), soa(7)],
    "type TSIG": [soa(7), NS_RR, RR(name("www"), 250, b""), soa(7)],
    "type 0": [soa(7), NS_RR, RR(name("www"), 0, b""), soa(7)],
    "A of five octets": [soa(7), NS_RR, RR(name("www"), A, bytes(5)), soa(7)],
    "TXT whose string runs over": [soa(7), NS_RR, RR(name("www"), TXT, b"\x05a"), soa(7)],
}


@pytest.mark.parametrize("rrs", BAD_AXFR.values(), ids=BAD_AXFR.keys())
@pytest.mark.parametrize("apart", [False, True])
def test_bad_axfr(rrs: list[RR], apart: bool) -> None:
    messages = [message([rr]) for rr in rrs] if apart else [message(rrs)]
    with pytest.raises(TransferError):
        receive(messages)


OUTSIDE = [
    RR(b"\x03www\x05other\x00", A, bytes(4)),
    RR(b"\x0bxxx\x07example\x00", A, bytes(4)),
    RR(b"\x05other\x00", TXT, b"\x09 not even TXT"),
]


@pytest.mark.parametrize("apart", [False, True])
def test_what_is_outside_the_zone_is_overlooked(apart: bool) -> None:
    rrs = [soa(7), *OUTSIDE, NS_RR, *OUTSIDE, W1, soa(7)]
    inbound = Inbound(ORIGIN, None, RdataReader)
    for wire in [message([rr]) for rr in rrs] if apart else [message(rrs)]:
        inbound.feed(wire)
    found = inbound.finish()
    assert isinstance(found, Whole)
    assert found.rows == receive([whole(W1)]).rows  # type: ignore[union-attr]
    assert (inbound.overlooked.outside, inbound.overlooked.first_outside) == (6, b"\x03www\x05other\x00")


def test_a_ttl_with_the_top_bit_is_zero() -> None:
    inbound = Inbound(ORIGIN, None, RdataReader)
    inbound.feed(whole(a("x", 1, 2**31), a("y", 1, 2**32 - 1), a("z", 1, 2**31 - 1)))
    found = inbound.finish()
    assert isinstance(found, Whole)
    assert [row[2] for row in found.rows[-3:]] == [0, 0, 2**31 - 1]
    assert inbound.overlooked.ttls == 2


BAD_IXFR = {
    "does not begin at our serial": [soa(9), soa(6), W1, soa(9), soa(9)],
    "does not chain": [soa(9), soa(7), soa(8), soa(6), soa(9), soa(9)],
    "ends before the announced serial": [soa(9), soa(7), soa(8), W1, soa(8), soa(9)],
    "says it is at the end, and is not": [soa(9), soa(7), W1, soa(8), a("www", 2), soa(9)],
    "goes back": [soa(9), soa(7), W1, soa(6), soa(6), soa(9), soa(9)],
    "goes round in a ring": [soa(9), soa(7), soa(7), soa(7), soa(9), soa(9)],
    "ends in the deletions": [soa(9), soa(7), W1],
    "ends in the additions": [soa(9), soa(7), W1, soa(9), W1],
    "data after the end": [soa(9), soa(7), W1, soa(9), soa(9), W1],
    "data before the first difference": [soa(9), W1, soa(7), soa(9), soa(9)],
}


@pytest.mark.parametrize("rrs", BAD_IXFR.values(), ids=BAD_IXFR.keys())
def test_bad_ixfr(rrs: list[RR]) -> None:
    with pytest.raises(TransferError):
        receive([message(rrs, IXFR)], 7)


@pytest.mark.parametrize(
    "wire",
    [
        b"", bytes(11), message([soa(7)], flags=0x0400), message([soa(7)], flags=0x8405),
        message([soa(7)], flags=0x8600), message([soa(7)], flags=0xA400),
        message([soa(7)], IXFR), message([]), message([soa(7)])[:-1],
        message([soa(7)])[:20],
    ],
    ids=["empty", "no header", "a query", "REFUSED", "TC", "NOTIFY", "another question", "no answer",
         "cut", "cut question"],
)  # fmt: skip
def test_bad_message(wire: bytes) -> None:
    with pytest.raises(TransferError):
        receive([wire])


@pytest.mark.parametrize(
    "owner", [b"\xc0\x1b", b"\xc0\x00", b"\xff\xff", b"\x40a", b"\x80", b"\xc0", b"\x3f" + b"a" * 63 + b"\xc0\x21"],
    ids=["itself", "header", "beyond", "type 01", "type 10", "half", "through itself"],
)  # fmt: skip
def test_bad_owner_name(owner: bytes) -> None:
    wire = message([])[:6] + b"\x00\x01" + message([])[8:]
    with pytest.raises(TransferError):
        receive([wire + RR(owner, A, bytes(4)).wire()])


def test_name_over_255_octets_by_pointers() -> None:
    long = b"".join(b"\x3f" + bytes([65 + i]) * 63 for i in range(3)) + ORIGIN
    first = RR(long, A, bytes(4))
    at = len(message([soa(7), NS_RR]))
    second = RR(b"\x3f" + b"z" * 63 + (0xC000 | at).to_bytes(2, "big"), A, bytes(4))
    with pytest.raises(TransferError, match="255"):
        receive([message([soa(7), NS_RR, first, second, soa(7)])])


def test_bound_on_rrs() -> None:
    messages = [message([soa(7), NS_RR]), *(message([a("www", i % 250)]) for i in range(100))]
    with pytest.raises(TransferError, match="has no end"):
        receive(messages, limits=TransferLimits(records=50))


def test_every_state_can_be_reached_and_left() -> None:
    for table in TRANSITIONS.values():
        reached = {State.START}
        while more := {after for state in reached for after in table[state].values()} - reached:
            reached |= more
        assert reached == set(table)
    assert TRANSITIONS["ixfr"][State.FIRST][Event.SOA_OTHER] is State.DELETIONS
    assert Event.SOA_OTHER not in TRANSITIONS["axfr"][State.FIRST]


def test_the_document_is_up_to_date() -> None:
    assert DOC.read_text() == render(), (
        "write it anew: python -c 'from dnssecd.ingest.xfrin_doc import render; print(render(), end=\"\")' "
        "> docs/transfers-in.md"
    )
    assert (
        render().count(" --> ")
        == sum(len(moves) for table in TRANSITIONS.values() for moves in table.values())
        + 2 * len(TRANSITIONS)
        + 1
    )
