"""Leaving out the cryptography over what did not change finds what judging everything finds, in others' zones, too."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from dnssecd.core.dns.rrset import RRset, pack, unpack
from dnssecd.core.verify import (
    Expectation,
    MemoryZoneView,
    Rank,
    VerificationFailed,
    Violation,
    inline_checker,
    verify_given,
    verify_zone,
)
from dnssecd.core.verify.checker import SignatureJob
from tests.property.test_verify_change import apply_edits, base, edit, graft, make_signer, set_serial, signers
from tests.property.test_verify_mutations import ANY, FOREIGN, NSEC3_ONLY, NSEC_ONLY, SAME_TAG, Zone, flip
from tests.unit.core_verify import naive
from tests.unit.core_verify.naive import KSK, NOW, ORIGIN, ZSK, Naive, key

LATER = 200
LIMIT = 1_000
#: Damages that find their records in the zones made here, or do nothing.
DAMAGES = {**ANY, **NSEC_ONLY, **NSEC3_ONLY}

damages = st.lists(st.sampled_from(sorted(DAMAGES)), max_size=2)


def expected(now: int) -> Expectation:
    return Expectation(ORIGIN, now)


def judged(old: MemoryZoneView | None, new: MemoryZoneView, now: int) -> tuple[list[Violation], int]:
    """Return all findings, and how many signatures were verified for them."""
    checked = 0

    def counting(jobs: list[SignatureJob]) -> list[bool]:
        nonlocal checked
        checked += len(jobs)
        return inline_checker(jobs)

    verdict, notes = verify_given(
        new, expected(now), object(), 1, limit=LIMIT, verify_signatures=counting, old=old, old_verified_at=NOW
    )
    if isinstance(verdict, VerificationFailed):
        return sorted(verdict.violations, key=repr), checked
    return sorted(notes, key=repr), checked


def damaged(signer: Naive, view: MemoryZoneView, wanted: Iterable[str]) -> MemoryZoneView:
    for what in wanted:
        zone = Zone.of(signer, view)
        try:
            DAMAGES[what][2](zone)
        except (KeyError, IndexError, ValueError):  # not in this zone
            continue
        view = zone.view()
    return view


def is_bogus(view: MemoryZoneView, now: int) -> bool:
    return any(one.rank is Rank.BOGUS for one in verify_zone(view, expected(now), LIMIT))


def check(old: MemoryZoneView, new: MemoryZoneView, now: int) -> None:
    whole, checked = judged(None, new, now)
    quick, fewer = judged(old, new, now)
    assert quick == whole
    assert fewer <= checked


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    signers,
    st.lists(edit, max_size=10),
    damages,
    st.lists(edit, max_size=4),
    st.lists(st.booleans(), max_size=12),
    damages,
    st.sampled_from([NOW, NOW + LATER, NOW + 40 * 86_400]),
)
def test_the_findings_are_the_same(options, first, bad, second, forget, worse, now):  # type: ignore[no-untyped-def]
    signer = make_signer(options)
    before = apply_edits(base(), first)
    old = damaged(signer, signer.sign(set_serial(before, 1)), bad)
    assume(not is_bogus(old, NOW))
    new = graft(old, signer.sign(set_serial(apply_edits(before, second), 2)), forget)
    check(old, damaged(signer, new, worse), now)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.booleans(), damages, damages)
def test_the_findings_are_the_same_in_a_larger_zone(nsec3, bad, worse):  # type: ignore[no-untyped-def]
    signer = make_signer({"nsec3": nsec3})
    old = damaged(signer, signer.sign(naive.example_content()), bad)
    assume(not is_bogus(old, NOW))
    check(old, damaged(signer, old, worse), NOW)


def example() -> Zone:
    signer = Naive()
    return Zone.of(signer, signer.sign(naive.example_content()))


def test_one_change_costs_the_cryptography_of_that_change() -> None:
    old, new = example(), example()
    new.put("mail", 1, b"\1\2\3\4")
    found, checked = judged(old.view(), new.view(), NOW)
    assert (found, checked) == ([], 1)
    assert judged(None, new.view(), NOW)[1] == len(new.rrsigs)


def glue_was_signed(zone: Zone) -> None:
    """A signature that was not judged, because its RRset was glue."""
    zone.sign("ns.secure", 1)
    zone.edit_sig("ns.secure", 1, flip(-1))


def no_delegation(zone: Zone) -> None:
    for rtype in (2, 43):
        zone.content.pop((key("secure"), rtype))
        zone.rrsigs.pop((key("secure"), rtype), None)


def two_signatures(zone: Zone) -> None:
    """One that is good, and a bad one that is not valid yet."""
    place = key("mail"), 1
    zone.sign("mail", 1)
    good = unpack(zone.rrsigs[place].rdata)
    zone.sign("mail", 1, inception=NOW + LATER // 2)
    zone.edit_sig("mail", 1, flip(-1))
    bad = unpack(zone.rrsigs[place].rdata)
    zone.rrsigs[place] = zone.rrsigs[place]._replace(rdata=pack(sorted({*good, *bad})))


def keys(zone: Zone, *more: bytes) -> None:
    zone.put("@", 48, KSK.rdata, *more, ttl=3600)


@pytest.mark.parametrize(
    ("stored", "change"),
    [
        (glue_was_signed, no_delegation),
        (two_signatures, lambda zone: None),
        (lambda zone: keys(zone, ZSK.rdata, SAME_TAG), lambda zone: keys(zone, SAME_TAG)),
        (lambda zone: None, lambda zone: keys(zone, ZSK.rdata, FOREIGN.rdata)),
    ],
    ids=[
        "glue comes out of its delegation",
        "a signature gets valid",
        "a key of the tag goes",
        "a key comes",
    ],
)
def test_what_was_not_verified_then_is_verified_now(
    stored: Callable[[Zone], object], change: Callable[[Zone], object]
) -> None:
    old = example()
    stored(old)
    assert not is_bogus(old.view(), NOW)
    new = Zone.of(old.signer, old.view())
    change(new)
    check(old.view(), new.view(), NOW + LATER)
    if stored is not two_signatures and stored is not glue_was_signed:
        return
    assert "rrsig-bad" in {one.code for one in judged(old.view(), new.view(), NOW + LATER)[0]}


def test_sets_that_come_out_of_order_are_verified() -> None:
    from dnssecd.core.verify.unchanged import Unchanged

    zone = example()
    view = zone.view()
    known = Unchanged(view, NOW)
    last = max(place for place in zone.rrsigs if place in zone.content)
    mail = key("mail"), 1
    assert known(zone.content[last], zone.rrsigs[last])
    assert not known(zone.content[mail], zone.rrsigs[mail])
    assert not known(RRset(b"\xfe\0", 1, 600, b"\0\4\1\2\3\4"), zone.rrsigs[mail])
