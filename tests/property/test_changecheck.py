"""Checking a difference finds what checking the whole zone would: nothing new is missed, nothing is invented."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from dnssecd.core.dns import rrtypes as t
from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.dns.rrset import RRset, pack
from dnssecd.core.verify.memoryview import MemoryZoneView
from dnssecd.core.zone.changecheck import check_changes
from dnssecd.core.zone.changeset import diff
from dnssecd.core.zone.findings import Finding, Findings
from dnssecd.core.zone.zonecheck import check

ORIGIN = text_to_wire("example.")
_LABELS = (b"a\x00", b"b\x00", b"*\x00", b"example\x00", b"_t\x00")
_KEYS = st.lists(st.sampled_from(_LABELS), min_size=1, max_size=3).map(b"".join)
_TARGETS = ("a.example.", "b.a.example.", "a.b.example.", "other.", "c.example.", "example.example.")
_NS = st.sets(st.sampled_from([text_to_wire(name) for name in _TARGETS]), min_size=1, max_size=2)

_ADDRESS, _TEXT = pack([b"\xc0\x00\x02\x01"]), pack([b"\x01x"])
_PLAIN = {
    t.A: _ADDRESS,
    t.AAAA: pack([bytes(16)]),
    t.TXT: _TEXT,
    t.CNAME: pack([text_to_wire("a.example.")]),
    t.DNAME: pack([text_to_wire("other.")]),
    t.DS: pack([b"\x00\x01\x0d\x02" + bytes(32)]),
    t.DNSKEY: pack([b"\x01\x00\x03\x0f" + bytes(32)]),
    t.MX: pack(
        [b"\x00\x0a" + text_to_wire("192.0.2.1.example."), b"\x00\x05" + text_to_wire("a.example.example.")]
    ),
}


@st.composite
def _rrset(draw: st.DrawFn) -> RRset:
    owner = draw(_KEYS)
    rtype = draw(st.sampled_from([t.NS, t.NS, *_PLAIN]))
    rdata = pack(draw(_NS)) if rtype == t.NS else _PLAIN[rtype]
    return RRset(owner, rtype, draw(st.sampled_from([60, 300])), rdata)


@st.composite
def _zone(draw: st.DrawFn) -> list[RRset]:
    soa = RRset(b"", t.SOA, 300, pack([text_to_wire("a.example.") + text_to_wire("b.example.") + bytes(20)]))
    apex = RRset(b"", t.NS, 300, pack(draw(_NS)))
    rest = {rrset[:2]: rrset for rrset in draw(st.lists(_rrset(), max_size=12))}
    extra = [RRset(b"", t.DNAME, 300, _PLAIN[t.DNAME])] if draw(st.integers(0, 9)) == 0 else []
    return sorted([soa, apex, *extra, *rest.values()])


def _all(found: Findings) -> set[Finding]:
    return {*found.errors, *found.warnings}


@settings(max_examples=150, deadline=None)
@given(_zone(), _zone(), st.integers(0, 2), st.randoms(use_true_random=False))
def test_a_difference_is_judged_as_the_whole_is(
    old: list[RRset], new: list[RRset], many: int, random: Random
) -> None:
    if many:  # most differences are small: a few RRsets more, and one less
        mixed = {rrset[:2]: rrset for rrset in (*old, *new[-many:])}
        del mixed[random.choice([place for place in sorted(mixed) if place[0]] or [(b"", t.NS)])]
        new = sorted(mixed.values())
    view = MemoryZoneView(ORIGIN, new, (), ())
    changes = list(diff(old, new))
    found = check_changes(view, changes, 10_000, name_servers=lambda: [r for r in old if r.rtype == t.NS])
    before, whole = check(old, ORIGIN, 10_000), check(new, ORIGIN, 10_000)
    assert _all(found) <= _all(whole)
    assert _all(whole) - _all(before) <= _all(found)
    assert set(found.errors) <= set(whole.errors)


def test_a_name_that_hides_a_wildcard_by_a_difference() -> None:
    soa = RRset(b"", t.SOA, 300, pack([text_to_wire("a.example.") + text_to_wire("b.example.") + bytes(20)]))
    fixed = [soa, RRset(b"", t.NS, 300, pack([text_to_wire("other.")]))]
    wild, named = RRset(b"*\x00", t.A, 300, _ADDRESS), RRset(b"b\x00", t.A, 300, _ADDRESS)
    below = RRset(b"b\x00_t\x00", t.TXT, 300, _TEXT)
    hiding = sorted([*fixed, wild, below])
    for old in ([*fixed, wild], [*fixed, wild, named, below], [*fixed, below]):
        found = check_changes(MemoryZoneView(ORIGIN, hiding, (), ()), list(diff(sorted(old), hiding)))
        assert [f[:2] for f in found.warnings if f.code != "soa-timers"] == [("wildcard-hidden", b"b\x00")]


def test_a_name_server_whose_address_a_wildcard_gave() -> None:
    soa = RRset(b"", t.SOA, 300, pack([text_to_wire("a.example.") + text_to_wire("b.example.") + bytes(20)]))
    fixed = [soa, RRset(b"", t.NS, 300, pack([text_to_wire("other.")]))]
    wild, cut = (
        RRset(b"*\x00", t.A, 300, _ADDRESS),
        RRset(b"s\x00", t.NS, 300, pack([text_to_wire("a.b.example.")])),
    )
    old, new = sorted([*fixed, wild, cut]), sorted([*fixed, cut])
    view = MemoryZoneView(ORIGIN, new, (), ())
    found = check_changes(view, list(diff(old, new)), name_servers=lambda: [cut])
    assert [error[:2] for error in found.errors] == [("missing-glue", b"s\x00")]
