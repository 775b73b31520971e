"""Judging a change finds what judging the whole zone finds, whatever the derived records look like."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dnssecd.core.dns.rrset import RRset
from dnssecd.core.verify import DenialExpectation, Expectation, MemoryZoneView, verify_change, verify_zone
from tests.unit.core_verify import naive
from tests.unit.core_verify.naive import Content, Naive, key, name

NAMES = [
    "@", "a", "b", "a.a", "b.a", "c.b.a", "*.a", "*", "x.y.z", "z", "y.z", "d.x.y.z", "ns1", "\\000.a", "zz", "q.zz",
]  # fmt: skip
RDATAS = {
    naive.A: [b"\xc0\0\2\1", b"\xc0\0\2\2"],
    naive.TXT: [b"\1a", b"\1b"],
    naive.NS: [name("ns.other."), name("ns2.other.")],
    naive.DS: [b"\0\1\x0d\2" + bytes(32)],
    naive.DNAME: [name("away.")],
}

edit = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from(sorted(RDATAS)),
    st.sets(st.integers(0, 1)),
    st.sampled_from([300, 600]),
)


def apply_edits(content: Content, edits: list[tuple[str, int, set[int], int]]) -> Content:
    """Return content with RRsets replaced; an empty choice deletes. DS without NS is dropped, as input checks do."""
    out = dict(content)
    for text, rtype, chosen, ttl in edits:
        place = (key(text), rtype)
        if place in ((b"", naive.NS), (b"", naive.DS)):
            continue
        rdatas = frozenset(rdata for at, rdata in enumerate(RDATAS[rtype]) if at in chosen)
        if rdatas:
            out[place] = (ttl, rdatas if rtype != naive.DNAME else frozenset(list(rdatas)[:1]))
        else:
            out.pop(place, None)
    return {
        place: value for place, value in out.items() if place[1] != naive.DS or (place[0], naive.NS) in out
    }


def difference(old: Content, new: Content) -> list[tuple[bytes, int]]:
    """(owner, type) of RRsets that differ."""
    return sorted(place for place in {*old, *new} if old.get(place) != new.get(place))


def derived(view: MemoryZoneView) -> dict[tuple[bytes, int, str], object]:
    """All denial RRsets and RRSIGs of a view."""
    out: dict[tuple[bytes, int, str], object] = {(d.owner, d.rtype, "d"): d for d in view.denial_scan()}
    return out | {(s.owner, s.covered, "s"): s for s in view.rrsig_scan()}


def touched(old: MemoryZoneView, new: MemoryZoneView) -> list[tuple[bytes, int]]:
    """(owner, type or covered) of derived records that differ."""
    before, after = derived(old), derived(new)
    return sorted({place[:2] for place in {*before, *after} if before.get(place) != after.get(place)})


def base() -> Content:
    """The start: apex, some names."""
    content = naive.example_content()
    return {place: value for place, value in content.items() if place[0] in (b"", key("ns1"))}


def expectation(signer: Naive, serial: int) -> Expectation:
    """What a version of the signer is judged by."""
    denial = DenialExpectation("nsec")
    if signer.nsec3:
        denial = DenialExpectation("nsec3", signer.iterations, signer.salt, signer.opt_out)
    return Expectation(naive.ORIGIN, naive.NOW, denial=denial, previous_serial=serial)


signers = st.sampled_from(
    [
        {},
        {"nsec3": True},
        {"nsec3": True, "opt_out": True},
        {"nsec3": True, "opt_out": True, "keep_opt_out_empty": True, "salt": b"\1\2", "iterations": 2},
    ]
)
CACHES: dict[str, dict[tuple[bytes, bytes], object]] = {}


def make_signer(options: dict[str, object]) -> Naive:
    """Return a signer that remembers signatures across examples: they are deterministic."""
    return Naive(**options, cache=CACHES.setdefault(repr(options), {}))  # type: ignore[arg-type]


def set_serial(content: Content, serial: int) -> Content:
    """Return content with another SOA serial."""
    return content | {(b"", naive.SOA): (3600, frozenset({naive.soa(serial)}))}


QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(signers, st.lists(edit, max_size=12), st.lists(edit, min_size=1, max_size=6))
def test_good_change_is_accepted(options, first, second):  # type: ignore[no-untyped-def]
    signer = make_signer(options)
    before = apply_edits(base(), first)
    after = apply_edits(before, second)
    old, new = signer.sign(set_serial(before, 1)), signer.sign(set_serial(after, 2))
    assert verify_zone(old, expectation(signer, 0)) == []
    assert verify_zone(new, expectation(signer, 1)) == []
    changed = [*difference(before, after), (b"", naive.SOA)]
    assert verify_change(old, new, changed, expectation(signer, 1), touched(old, new)) == []
    assert verify_change(old, new, changed, expectation(signer, 1)) == []


def graft(old: MemoryZoneView, new: MemoryZoneView, forget: list[bool]) -> MemoryZoneView:
    """Return ``new`` with some of the derived records that differ left as they were in ``old``."""
    before, after = derived(old), derived(new)
    places = sorted(place for place in {*before, *after} if before.get(place) != after.get(place))
    for at, place in enumerate(places):
        if forget and forget[at % len(forget)]:
            if place in before:
                after[place] = before[place]
            else:
                del after[place]
    denial = [item for item in after.values() if isinstance(item, RRset)]
    rrsigs = [item for item in after.values() if not isinstance(item, RRset)]
    return MemoryZoneView(new.origin, new.scan(), denial, rrsigs)  # type: ignore[arg-type]


@settings(parent=QUICK, max_examples=400)
@given(
    signers,
    st.lists(edit, max_size=12),
    st.lists(edit, min_size=1, max_size=4),
    st.lists(st.booleans(), min_size=1, max_size=12),
)
def test_forgotten_repairs_are_found_as_in_the_whole_zone(options, first, second, forget):  # type: ignore[no-untyped-def]
    signer = make_signer(options)
    before = apply_edits(base(), first)
    after = apply_edits(before, second)
    old = signer.sign(set_serial(before, 1))
    new = graft(old, signer.sign(set_serial(after, 2)), forget)
    whole = verify_zone(new, expectation(signer, 1))
    changed = [*difference(before, after), (b"", naive.SOA)]
    assert bool(verify_change(old, new, changed, expectation(signer, 1), touched(old, new))) == bool(whole)
    assert bool(verify_change(old, new, changed, expectation(signer, 1))) == bool(whole)
