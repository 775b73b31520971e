"""Transfers in, against dnspython: the same content from the same messages, and the same verdict on random streams."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise

import dns.exception
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.renderer
import dns.rrset
import dns.xfr
import dns.zone
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dnssecd.core.dns.message import FormError
from dnssecd.core.dns.names import owner_key
from dnssecd.core.dns.rrset import RRset, pack, unpack
from dnssecd.core.zone.changeset import Change, diff
from dnssecd.ingest.collect import Row, gather
from dnssecd.ingest.xfrin import Difference, Differences, Whole
from dnssecd.ingest.xfrin_apply import DoesNotFit, applied
from dnssecd.ingest.xfrin_wire import TransferError
from dnssecd.pipeline.fetch.end import EndFinder, NotATransfer
from tests.unit.xfrin.streams import (
    AXFR,
    IXFR,
    NS_RR,
    ORIGIN,
    RR,
    SOA,
    ZONE,
    A,
    a,
    message,
    receive,
    soa,
    soa_rdata,
)

TEXTS = {
    "A": "192.0.2.1", "AAAA": "2001:db8::1", "NS": "Ns.Example.", "MX": "10 mail.EXAMPLE.", "TXT": '"a b" "c"',
    "SRV": "1 2 3 srv.example.", "CNAME": "www.example.", "DNAME": "other.", "CAA": '0 issue "ca"',
    "SVCB": "1 . port=53",
    "NAPTR": '1 2 "u" "s" "!a!b!" r.example.', "RP": "a.example. b.example.", "DS": "1 13 2 " + "00" * 32,
    "TYPE65280": r"\# 3 010203", "PTR": "p.example.", "HINFO": "a b", "AFSDB": "1 a.example.", "PX": "1 a.example. b.",
    "KX": "1 k.example.", "LOC": "51 30 12.748 N 0 7 39.612 W 0.00m", "TLSA": "3 1 1 " + "00" * 32,
}  # fmt: skip
LABELS = st.sampled_from(["a", "B", "*", "_x", r"\000", r"\.", "xn--a", "c" * 63])
NAMES = st.lists(LABELS, max_size=3).map(lambda labels: ".".join([*labels, ZONE]))


@given(
    st.lists(st.tuples(NAMES, st.sampled_from(sorted(TEXTS)), st.integers(0, 9)), min_size=1, max_size=30),
    st.integers(1, 40),
)
@settings(max_examples=150, deadline=None)
def test_rendered_by_dnspython(given_rrs: list[tuple[str, str, int]], size: int) -> None:
    """Messages with dnspython's compression are read as what went into them."""
    rrsets = [dns.rrset.from_text(name, ttl, "IN", rtype, TEXTS[rtype]) for name, rtype, ttl in given_rrs]
    first = dns.rrset.from_text(ZONE, 60, "IN", "SOA", "Ns.Example. Host.Example. 7 1 2 3 4")
    sent = [first, *rrsets, first]
    wires = []
    for start in range(0, len(sent), size):
        renderer = dns.renderer.Renderer(1, 0x8400)
        renderer.add_question(dns.name.from_text(ZONE), dns.rdatatype.AXFR)
        for rrset in sent[start : start + size]:
            renderer.add_rrset(dns.renderer.ANSWER, rrset)
        renderer.write_header()
        wires.append(renderer.get_wire())
    found = receive(wires)
    assert isinstance(found, Whole)
    apex_ds = sum(name == ZONE and rtype == "DS" for name, rtype, _ in given_rrs)
    assert len(found.rows) == len(rrsets) - apex_ds
    wanted = {
        (owner_key(rrset.name.to_wire() or b"", ORIGIN), int(rrset.rdtype), rrset[0].to_digestable())
        for rrset in rrsets
        if (rrset.name.to_text(), dns.rdatatype.to_text(rrset.rdtype)) != (ZONE, "DS")
    }
    assert {(owner, rtype, rdata[2:]) for owner, rtype, _, rdata in found.rows} == wanted


RRS = st.one_of(
    st.integers(6, 9).map(soa),
    st.sampled_from(["www", "x"]).flatmap(lambda owner: st.integers(1, 2).map(lambda last: a(owner, last))),
)
STREAMS = st.lists(RRS, min_size=1, max_size=9).flatmap(
    lambda rrs: st.lists(st.integers(1, len(rrs)), max_size=3).map(
        lambda cuts: _cut(rrs, sorted({*cuts, len(rrs)}))
    )
)


def _cut(rrs: Sequence[RR], ends: Sequence[int]) -> list[list[RR]]:
    return [list(rrs[start:end]) for start, end in zip([0, *ends], ends, strict=False) if start < end]


def by_dnspython(pieces: list[list[RR]], base: int | None, held: set[bytes]) -> set[bytes] | None:
    """The addresses in the zone after the transfer, as dnspython has it; None: it refuses."""
    zone = dns.zone.Zone(dns.name.from_text(ZONE), relativize=False)
    if base is not None:
        with zone.writer() as writer:
            writer.replace(ZONE_NAME, dns.rdataset.from_rdata(300, _rdata("SOA", soa_rdata(base))))
            for wire in held:
                writer.add(dns.name.from_wire(wire, 0)[0], 300, _rdata("A", wire[-4:]))
    rdtype = dns.rdatatype.AXFR if base is None else dns.rdatatype.IXFR
    done = False
    try:
        with dns.xfr.Inbound(zone, rdtype, base) as inbound:
            for piece in pieces:
                wire = message(piece, AXFR if base is None else IXFR)
                one = dns.message.from_wire(wire, xfr=True, one_rr_per_rrset=base is not None)
                if done:
                    return None
                done = inbound.process_message(one)
    except (dns.exception.DNSException, ValueError):
        return None
    if not done:
        return None
    return {
        (name.to_wire() or b"") + rdata.to_wire()
        for name, rdataset in zone.iterate_rdatasets("A")
        for rdata in rdataset
    }


ZONE_NAME = dns.name.from_text(ZONE)


def _rdata(kind: str, wire: bytes) -> dns.rdata.Rdata:
    return dns.rdata.from_wire("IN", kind, wire, 0, len(wire))


def by_us(pieces: list[list[RR]], base: int | None, held: set[bytes]) -> set[bytes] | None:
    """The same by our automaton; None: it refuses, or has nothing."""
    content = {RRset(b"", 6, 300, pack([soa_rdata(base or 0)])), *_rrsets(held)}
    places = {rrset[:2]: rrset for rrset in content}
    try:
        found = receive([message(piece, AXFR if base is None else IXFR) for piece in pieces], base)
        if isinstance(found, Whole):
            return {_address(row) for row in found.rows}
        if not isinstance(found, Differences):
            return None
        for change in applied(ORIGIN, lambda owner, rtype: places.get((owner, rtype)), found.sequences):
            places.pop((change.owner, change.rtype), None)
            if change.new is not None:
                places[change.owner, change.rtype] = change.new
    except (TransferError, DoesNotFit):
        return None
    return {
        _address((rrset.owner, A, 0, b"\x00\x04" + rdata))
        for rrset in places.values()
        if rrset.rtype == A
        for rdata in unpack(rrset.rdata)
    }


def _address(row: Row) -> bytes:
    return bytes([len(row[0]) - 1]) + row[0][:-1] + ORIGIN + row[3][2:]


def _rrsets(held: set[bytes]) -> list[RRset]:
    return gather([(owner_key(w[:-4], ORIGIN), A, 300, b"\x00\x04" + w[-4:]) for w in held]).rrsets


@given(STREAMS, st.sampled_from([None, 6, 7]), st.sets(st.sampled_from(["www", "x"]), max_size=2))
@settings(max_examples=600, deadline=None)
def test_random_streams(pieces: list[list[RR]], base: int | None, names: set[str]) -> None:
    """What we take, dnspython takes, and comes to the same zone. We refuse more: what does not fit what is held."""
    first = pieces[0][0]
    # An answer to IXFR that is not newer ends with its first SOA, for dnspython; the fetcher sees to that here.
    assume(base is None or first.rtype != SOA or int.from_bytes(first.rdata[-20:-16]) > base)
    held = {a(name, 1).owner + a(name, 1).rdata for name in names}
    ours = by_us(pieces, base, held)
    if ours is not None:
        assert by_dnspython(pieces, base, held) == ours


@given(STREAMS, st.sampled_from([None, 6, 7]))
@settings(max_examples=400, deadline=None)
def test_the_end_is_found_where_it_is(pieces: list[list[RR]], base: int | None) -> None:
    """Of a sound stream the fetcher finds the end with its last message, not before."""
    wires = [message(piece, AXFR if base is None else IXFR) for piece in pieces]
    try:
        receive(wires, base)
    except TransferError:
        return
    finder = EndFinder(base)
    for number, wire in enumerate(wires, 1):
        finder.feed(wire)
        assert finder.reached == (number == len(wires)) or finder.may_be_all
    assert finder.reached or finder.may_be_all


@given(st.lists(st.binary(max_size=60), max_size=4), st.sampled_from([None, 7]))
def test_the_end_finder_fears_nothing(tails: list[bytes], base: int | None) -> None:
    finder = EndFinder(base)
    for tail in tails:
        wire = message([soa(8), NS_RR])[:12] + tail
        with suppress(NotATransfer, FormError):
            finder.feed(wire)
            finder.finish()


CONTENTS = st.dictionaries(
    st.sampled_from([b"a\x00", b"b\x00", b"b\x00c\x00"]),
    st.tuples(st.sampled_from([60, 300]), st.sets(st.integers(1, 4), min_size=1)),
)
Content = dict[bytes, tuple[int, set[int]]]


@given(st.lists(CONTENTS, min_size=2, max_size=5))
def test_differences_applied_are_the_difference(versions: list[Content]) -> None:
    """Any number of sequences applied give the changes from the first version to the last."""
    contents = [_content(version) for version in versions]
    sequences = [
        _difference(number, list(diff(before, after)))
        for number, (before, after) in enumerate(pairwise(contents), 7)
    ]
    places = {rrset[:2]: rrset for rrset in [*contents[0], RRset(b"", 6, 300, pack([soa_rdata(500)]))]}
    found = applied(ORIGIN, lambda owner, rtype: places.get((owner, rtype)), sequences)
    assert found == list(diff(contents[0], contents[-1]))


def _content(version: Content) -> list[RRset]:
    rrsets = [
        RRset(owner, A, ttl, pack([bytes([10, 0, 0, n]) for n in numbers]))
        for owner, (ttl, numbers) in version.items()
    ]
    return sorted(rrsets)


def _soa_row(serial: int) -> Row:
    return b"", 6, 300, pack([soa_rdata(serial)])


def _difference(serial: int, changes: list[Change]) -> Difference:
    """As a primary writes it: a changed TTL takes the whole set out and in."""
    before, after = _soa_row(serial), _soa_row(serial + 1)
    deleted: list[Row] = []
    added: list[Row] = []
    for owner, rtype, old, new in changes:
        gone = {(old.ttl, rdata) for rdata in unpack(old.rdata)} if old else set()
        come = {(new.ttl, rdata) for rdata in unpack(new.rdata)} if new else set()
        deleted += [(owner, rtype, ttl, len(r).to_bytes(2, "big") + r) for ttl, r in sorted(gone - come)]
        added += [(owner, rtype, ttl, len(r).to_bytes(2, "big") + r) for ttl, r in sorted(come - gone)]
    return Difference(before, after, deleted, added)
