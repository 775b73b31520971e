"""Several denial chains in one zone, as while denial changes (RFC 5155 §10.4), and chains with pieces missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pytest

from dnssecd.core.dns.rrset import RRset, Rrsigs, pack, unpack
from dnssecd.core.verify import (
    DenialExpectation,
    Expectation,
    MemoryZoneView,
    Violation,
    verify_change,
    verify_zone,
)
from tests.unit.core_verify import naive
from tests.unit.core_verify.naive import NOW, NSEC, NSEC3, NSEC3PARAM, ORIGIN, ZSK, Naive

FIRST, SECOND = Naive(nsec3=True), Naive(nsec3=True, iterations=1, salt=b"\xab")
PARAMS = {"first": b"\1\0\0\0\0", "second": b"\1\0\0\1\1\xab"}
Keep = Callable[[RRset], bool]


def every(_: RRset) -> bool:
    return True


def zone(*parts: tuple[Naive, Keep], params: Sequence[bytes] = ()) -> MemoryZoneView:
    """The same content with denial RRs by each of ``parts``, as far as its filter keeps them."""
    content = naive.example_content()
    base = Naive(nsec3=bool(params)).sign(content)
    sets = {rrset[:2]: rrset for rrset in base.scan()}
    rrsigs = {sigs[:2]: sigs for sigs in base.rrsig_scan() if sigs.covered not in (NSEC, NSEC3)}
    if params:
        sets[b"", NSEC3PARAM] = rrset = RRset(b"", NSEC3PARAM, 0, pack(params))
        rrsigs[b"", NSEC3PARAM] = signed(rrset)
    denial = {}
    for signer, keep in parts:
        for rrset in signer.sign(content).denial_scan():
            if keep(rrset):
                rrset = (
                    with_param(rrset) if params and rrset == (b"", *rrset[1:]) and not signer.nsec3 else rrset
                )
                denial[rrset[:2]] = rrset
                rrsigs[rrset[:2]] = signed(rrset)
    return MemoryZoneView(ORIGIN, sets.values(), denial.values(), rrsigs.values())


def signed(rrset: RRset) -> Rrsigs:
    return naive.make_rrsigs(rrset, (ZSK,), NOW - 3600, NOW + 86400)


def with_param(rrset: RRset) -> RRset:
    """The NSEC RR of the apex lists NSEC3PARAM where the zone has it."""
    rdata = unpack(rrset.rdata)[0]
    end = len(naive.key_to_wire(b"", ORIGIN))
    after = rdata[: rdata.index(ORIGIN) + end]
    return rrset._replace(rdata=pack([after + naive.bitmap({2, 6, 46, 47, 48, NSEC3PARAM})]))


def judged(view: MemoryZoneView) -> list[Violation]:
    return verify_zone(view, Expectation(ORIGIN, NOW))


def codes(found: Iterable[Violation]) -> set[tuple[str, str]]:
    return {(one.code, str(one.rank)) for one in found}


def but(owner: bytes) -> Keep:
    return lambda rrset: rrset.owner != owner


SOME = sorted(rrset.owner for rrset in SECOND.sign(naive.example_content()).denial_scan())[3]
MIXED = ("denial-mixed", "advice")


def test_two_complete_nsec3_chains() -> None:
    assert judged(zone((FIRST, every), (SECOND, every), params=list(PARAMS.values()))) == []


def test_a_gap_in_the_second_chain_is_found() -> None:
    found = codes(judged(zone((FIRST, every), (SECOND, but(SOME)), params=list(PARAMS.values()))))
    assert ("nsec3-missing", "bogus") in found
    assert ("nsec3-next", "bogus") in found


@pytest.mark.parametrize("keep", [every, but(SOME)])
def test_a_chain_that_no_nsec3param_stands_for_is_advice_complete_or_not(keep: Keep) -> None:
    found = judged(zone((FIRST, every), (SECOND, keep), params=[PARAMS["first"]]))
    assert codes(found) == {("nsec3-chain-unused", "advice")}


def test_an_nsec3param_without_chain() -> None:
    found = judged(zone((FIRST, every), params=list(PARAMS.values())))
    assert ("nsec3-missing", "bogus") in codes(found)
    found = judged(zone((Naive(), every), params=[PARAMS["first"]]))
    assert ("nsec3param-extra", "bogus") in codes(found)


def test_nsec_beside_nsec3() -> None:
    assert codes(judged(zone((FIRST, every), (Naive(), every), params=[PARAMS["first"]]))) == {MIXED}


def test_gaps_beside_the_other_kind_are_found() -> None:
    found = codes(judged(zone((FIRST, every), (Naive(), but(naive.key("mail"))), params=[PARAMS["first"]])))
    assert found == {MIXED, ("nsec-missing", "bogus")}
    place = naive.base32hex(FIRST._hash(naive.name("mail.example.")))
    found = codes(judged(zone((FIRST, but(place)), (Naive(), every), params=[PARAMS["first"]])))
    assert found == {MIXED, ("nsec3-missing", "bogus"), ("nsec3-next", "bogus")}


def test_nsec_left_over_while_it_is_taken_away_and_nsec3_not_yet_in_use() -> None:
    left = judged(zone((FIRST, every), (Naive(), but(b"")), params=[PARAMS["first"]]))
    assert codes(left) == {MIXED}
    coming = judged(zone((SECOND, but(SOME)), (Naive(), every)))
    assert codes(coming) == {MIXED, ("nsec3-chain-unused", "advice")}


def test_nsec3_alone_without_nsec3param() -> None:
    assert ("nsec3param-missing", "bogus") in codes(judged(zone((FIRST, every))))


def test_nsec_without_the_apex() -> None:
    """What is missing is named, and no NSEC3 is spoken of where there is none."""
    found = judged(zone((Naive(), but(b""))))
    assert codes(found) == {("nsec-missing", "bogus")}
    assert [one.owner for one in found if one.code == "nsec-missing"] == ["example."]


def test_the_gate_wants_the_planned_chain_and_no_other() -> None:
    view = zone((FIRST, every), (SECOND, every), params=list(PARAMS.values()))
    found = verify_zone(view, Expectation(ORIGIN, NOW, denial=DenialExpectation("nsec3")))
    assert {"nsec3-parameters", "nsec3param-extra"} <= {one.code for one in found}
    view = zone((FIRST, every), (Naive(), every), params=[PARAMS["first"]])
    found = verify_zone(view, Expectation(ORIGIN, NOW, denial=DenialExpectation("nsec3")))
    assert "denial-mixed" in {one.code for one in found}


def test_many_nsec3param_cost_no_more_than_a_few_chains() -> None:
    params = [b"\1\0\0\0\1" + bytes((octet,)) for octet in range(200)]
    found = judged(zone((FIRST, every), params=[*params, PARAMS["first"]]))
    assert "nsec3-parameters" in {one.code for one in found}


# Empty non-terminals and opt-out


def opt_out_zone(*, delegation: bool, ent: bool) -> MemoryZoneView:
    """An opt-out zone with x.y.insent an insecure delegation: its NSEC3 RR and those above it there or not."""
    signer = Naive(nsec3=True, opt_out=True)
    whole = Naive(nsec3=True, opt_out=False)
    content = naive.example_content()
    places = {
        naive.base32hex(signer._hash(naive.name(f"{text}.example."))): text for text in ("y.insent", "insent")
    }
    own = naive.base32hex(signer._hash(naive.name("x.y.insent.example.")))
    other = naive.base32hex(signer._hash(naive.name("insecure.example.")))
    kept = []
    for rrset in whole.sign(content).denial_scan():
        if (
            rrset.owner == other
            or (rrset.owner == own and not delegation)
            or (rrset.owner in places and not ent)
        ):
            continue
        kept.append(rrset)
    return closed(content, kept)


def closed(content: naive.Content, kept: list[RRset]) -> MemoryZoneView:
    """Link the NSEC3 RRs to one another, with the opt-out flag."""
    base = Naive(nsec3=True).sign(content)
    rrsigs = {sigs[:2]: sigs for sigs in base.rrsig_scan() if sigs.covered != NSEC3}
    denial = []
    for at, rrset in enumerate(kept):
        after = kept[(at + 1) % len(kept)].owner
        digest = int(after[:32], 32).to_bytes(20, "big")
        rdata = unpack(rrset.rdata)[0]
        rrset = rrset._replace(rdata=pack([b"\1\1" + rdata[2:6] + digest + rdata[26:]]))
        denial.append(rrset)
        rrsigs[rrset[:2]] = signed(rrset)
    return MemoryZoneView(ORIGIN, base.scan(), denial, rrsigs.values())


@pytest.mark.parametrize(
    ("delegation", "ent", "wanted"),
    [
        (False, False, set()),
        (False, True, set()),
        (True, True, set()),
        (True, False, {("nsec3-ent-missing", "violation")}),
    ],
)
def test_an_empty_non_terminal_above_a_delegation_with_nsec3_has_its_own(
    delegation: bool, ent: bool, wanted: set[tuple[str, str]]
) -> None:
    found = judged(opt_out_zone(delegation=delegation, ent=ent))
    assert codes(found) == wanted
    if wanted:
        assert {one.owner for one in found} == {"y.insent.example.", "insent.example."}


def test_a_change_is_judged_by_the_same_rule() -> None:
    old = opt_out_zone(delegation=False, ent=False)
    wanted = Expectation(ORIGIN, NOW, denial=DenialExpectation("nsec3", opt_out=True))
    place = naive.key("x.y.insent")
    for ent in (True, False):
        new = opt_out_zone(delegation=True, ent=ent)
        was = {rrset.owner: rrset for rrset in old.denial_scan()}
        touched = [(rrset.owner, NSEC3) for rrset in new.denial_scan() if was.get(rrset.owner) != rrset]
        found = verify_change(old, new, [(place, naive.NS)], wanted, touched)
        assert {one.owner for one in found} == (set() if ent else {"y.insent.example.", "insent.example."})
        assert {one.code for one in found} <= {"nsec3-missing", "nsec3-opt-out"}
