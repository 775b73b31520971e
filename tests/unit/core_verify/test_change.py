"""Judging a change: keys and parameters that change, records touched without reason, cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from dnssecd.core.dns.rrset import RRset, Rrsigs, pack, unpack
from dnssecd.core.verify import (
    DenialExpectation,
    Expectation,
    MemoryZoneView,
    VerificationFailed,
    VerifiedVersion,
    verify_change,
    verify_version,
)
from dnssecd.core.verify import change as change_module
from dnssecd.core.verify.checker import SignatureJob, inline_checker
from dnssecd.replacing import replace
from tests.unit.core_verify import naive
from tests.unit.core_verify.naive import KSK, NOW, ORIGIN, ZSK, Content, Key, Naive, key

NEW_ZSK = Key(3, 256)
SOA_PLACE = (b"", naive.SOA)


class Counting:
    """A checker that counts signatures."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, jobs: Sequence[SignatureJob], /) -> Callable[[], list[int]]:
        self.count += len(jobs)
        return inline_checker(jobs)


class CountingView:
    """A view that counts rows read."""

    def __init__(self, view: MemoryZoneView) -> None:
        self.view = view
        self.rows: Counter[str] = Counter()

    @property
    def origin(self) -> bytes:
        return self.view.origin

    def __getattr__(self, attribute: str) -> Any:
        method = getattr(self.view, attribute)

        def counted(*arguments: Any) -> Any:
            result = method(*arguments)
            if "scan" not in attribute:
                self.rows[attribute] += len(result) if isinstance(result, list) else 1
                return result
            return (self.rows.update([attribute]) or row for row in result)

        return counted


def planned(signer: Naive, **more: Any) -> Expectation:
    """What the version after serial 1 is judged by."""
    denial = DenialExpectation("nsec")
    if signer.nsec3:
        denial = DenialExpectation("nsec3", signer.iterations, signer.salt, signer.opt_out)
    return Expectation(ORIGIN, NOW, denial=denial, previous_serial=1, **more)


def content(serial: int, **changed: bytes) -> Content:
    """The example zone with TXT RRsets at names changed."""
    out = naive.example_content(serial)
    for text, data in changed.items():
        out[key(text), naive.TXT] = (600, frozenset({data}))
    return out


def codes(found: Sequence[Any]) -> set[str]:
    return {violation.code for violation in found}


def test_a_key_comes_and_the_old_signatures_stay() -> None:
    old_signer = Naive()
    old = old_signer.sign(content(1))
    new_signer = Naive(keys=(KSK, ZSK))
    signed = new_signer.sign(content(2))
    dnskey = RRset(b"", naive.DNSKEY, 3600, pack([KSK.rdata, ZSK.rdata, NEW_ZSK.rdata]))
    new = with_set(signed, dnskey, naive.make_rrsigs(dnskey, [KSK], NOW - 9, NOW + 99999))
    counting = Counting()
    found = verify_change(old, new, [SOA_PLACE], planned(new_signer), verify_signatures=counting)
    assert found == []
    assert counting.count == 2  # SOA and DNSKEY


def test_a_key_goes_while_its_signatures_stay() -> None:
    old = Naive(keys=(KSK, ZSK, NEW_ZSK)).sign(content(1))
    signed = Naive(keys=(KSK, ZSK, NEW_ZSK)).sign(content(2))
    dnskey = RRset(b"", naive.DNSKEY, 3600, pack([KSK.rdata, ZSK.rdata]))
    new = with_set(signed, dnskey, naive.make_rrsigs(dnskey, [KSK], NOW - 9, NOW + 99999))
    assert codes(verify_change(old, new, [SOA_PLACE], planned(Naive()))) == {"rrsig-unknown-key"}


def test_a_key_is_replaced_by_one_of_the_same_tag() -> None:
    """The tag is a sum, so two 16-bit words of a key can change places: matched by tag alone it would pass."""
    old = Naive().sign(content(1))
    swapped = ZSK.rdata[:4] + ZSK.rdata[6:8] + ZSK.rdata[4:6] + ZSK.rdata[8:]
    assert swapped != ZSK.rdata
    dnskey = RRset(b"", naive.DNSKEY, 3600, pack([KSK.rdata, swapped]))
    signed = Naive().sign(content(2))
    new = with_set(signed, dnskey, naive.make_rrsigs(dnskey, [KSK], NOW - 9, NOW + 99999))
    found = verify_change(old, new, [SOA_PLACE], planned(Naive()))
    assert codes(found) == {"rrsig-bad"}
    assert len(found) > 10


def with_set(view: MemoryZoneView, rrset: RRset, sigs: Rrsigs) -> MemoryZoneView:
    """Return a view with one content set and its RRSIGs replaced."""
    place = rrset[:2]
    return MemoryZoneView(
        view.origin,
        [rrset, *(s for s in view.scan() if s[:2] != place)],
        view.denial_scan(),
        [sigs, *(s for s in view.rrsig_scan() if s[:2] != place)],
    )


SIX = [(a, b) for a in range(3) for b in range(3) if a != b]
KINDS = [{}, {"nsec3": True}, {"nsec3": True, "opt_out": True}]


@pytest.mark.parametrize(("before", "after"), SIX)
def test_the_six_switches_of_denial(before: int, after: int) -> None:
    old_signer, new_signer = Naive(**KINDS[before]), Naive(**KINDS[after])  # type: ignore[arg-type]
    old, new = old_signer.sign(content(1)), new_signer.sign(content(2))
    assert verify_change(old, new, [SOA_PLACE], planned(new_signer)) == []
    assert verify_change(old, new, [SOA_PLACE], planned(old_signer)) != []
    mixed = MemoryZoneView(ORIGIN, new.scan(), old.denial_scan(), new.rrsig_scan())
    assert verify_change(old, mixed, [SOA_PLACE], planned(new_signer)) != []


def test_a_change_of_the_soa_minimum_reaches_all_of_denial() -> None:
    signer = Naive()
    old, new = signer.sign(content(1)), signer.sign(content(2))
    shorter = RRset(b"", naive.SOA, 3600, pack([naive.soa(2, 300)]))
    new = with_set(new, shorter, naive.make_rrsigs(shorter, [ZSK], NOW - 9, NOW + 9999))
    assert codes(verify_change(old, new, [SOA_PLACE], planned(signer))) == {"denial-ttl"}


def test_the_least_validity_is_demanded_of_new_signatures_only() -> None:
    old = Naive(expiration=NOW + 1000).sign(content(1))
    fresh = Naive(expiration=NOW + 99999)
    new = fresh.sign(content(2))
    kept = MemoryZoneView(
        ORIGIN,
        new.scan(),
        new.denial_scan(),
        [s if s[:2] == SOA_PLACE else old.rrsigs(*s[:2]) or s for s in new.rrsig_scan()],
    )
    expectation = planned(fresh, min_validity=5000)
    assert verify_change(old, kept, [SOA_PLACE], expectation) == []
    short = Naive(expiration=NOW + 1001).sign(content(2))
    assert "rrsig-validity-short" in codes(verify_change(old, short, [SOA_PLACE], expectation))


def damaged(view: MemoryZoneView, place: bytes, edit: Callable[[bytes], bytes]) -> MemoryZoneView:
    """Return a view with the RDATA of one denial RR changed, and signed again."""
    rrset = view.denial(place)
    assert rrset is not None
    bad = rrset._replace(rdata=pack([edit(one) for one in unpack(rrset.rdata)]))
    sigs = naive.make_rrsigs(bad, [ZSK], NOW - 9, NOW + 9999)
    return MemoryZoneView(
        view.origin,
        view.scan(),
        [bad if d.owner == place else d for d in view.denial_scan()],
        [sigs if s[:2] == bad[:2] else s for s in view.rrsig_scan()],
    )


@pytest.mark.parametrize(
    ("at", "code"), [(1, "nsec3-flags"), (3, "nsec3-parameters"), (25, "nsec3-next"), (-1, "bitmap-wrong")]
)
def test_a_touched_nsec3_that_no_change_explains(at: int, code: str) -> None:
    signer = Naive(nsec3=True)
    old, new = signer.sign(content(1)), signer.sign(content(2))
    place = naive.base32hex(signer._hash(naive.name("mail.example.")))

    def edit(rdata: bytes) -> bytes:
        out = bytearray(rdata)
        out[at] ^= 1
        return bytes(out)

    bad = damaged(new, place, edit)
    found = verify_change(old, bad, [SOA_PLACE], planned(signer), [(place, naive.NSEC3)])
    assert code in codes(found)


def test_a_touched_nsec_that_no_change_explains() -> None:
    signer = Naive()
    old, new = signer.sign(content(1)), signer.sign(content(2))
    bad = damaged(new, key("mail"), lambda r: r + b"\1\1\1")
    touched = [(key("mail"), naive.NSEC)]
    assert codes(verify_change(old, bad, [SOA_PLACE], planned(signer), touched)) == {"bitmap-wrong"}


def test_signing_again_what_is_due_is_no_violation() -> None:
    signer = Naive(nsec3=True)
    old = signer.sign(content(1))
    new = Naive(nsec3=True, expiration=NOW + 60 * 86400).sign(content(2))
    touched = [s[:2] for s in new.rrsig_scan()]
    assert verify_change(old, new, [SOA_PLACE], planned(signer), touched) == []


@pytest.mark.parametrize("options", KINDS)
def test_cost_does_not_grow_with_the_zone(options: dict[str, Any]) -> None:
    rows = []
    for size in (50, 500):
        signer = Naive(**options)
        names = {f"host{at}": b"\1x" for at in range(size)}
        old, new = signer.sign(content(1, **names)), signer.sign(content(2, **names, newcomer=b"\1x"))
        counting, before, after = Counting(), CountingView(old), CountingView(new)
        changed = [SOA_PLACE, (key("newcomer"), naive.TXT)]
        expectation = planned(signer)
        assert verify_change(before, after, changed, expectation, verify_signatures=counting) == []
        rows.append((sum(before.rows.values()) + sum(after.rows.values()), counting.count))
    assert rows[0] == rows[1]


def test_many_affected_names_make_the_whole_zone_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_module, "REGION_MAX", 3)
    signer = Naive()
    old, new = signer.sign(content(1)), signer.sign(content(2, x=b"\1a", y=b"\1b", z=b"\1c"))
    changed = [(key(text), naive.TXT) for text in "xyz"]
    counting = Counting()
    assert verify_change(old, new, changed, planned(signer), verify_signatures=counting) == []
    assert counting.count < 12
    bad = damaged(new, key("y"), lambda r: r + b"\1\1\1")
    assert codes(verify_change(old, bad, changed, planned(signer))) == {"bitmap-wrong"}


def test_version_entry_gives_a_token_or_all_that_is_wrong() -> None:
    signer = Naive()
    old, new = signer.sign(content(1)), signer.sign(content(2))
    transaction = object()
    first = replace(planned(signer), previous_serial=None)
    token = verify_version(None, old, [], [], first, transaction, 1)
    assert isinstance(token, VerifiedVersion)
    assert (token.origin, token.serial, token.verified_at) == (ORIGIN, 1, NOW)
    token = verify_version(old, new, [SOA_PLACE], [], planned(signer), transaction, 2)
    assert isinstance(token, VerifiedVersion)
    failed = verify_version(old, old, [SOA_PLACE], [], planned(signer), transaction, 2)
    assert isinstance(failed, VerificationFailed)
    assert codes(failed.violations) == {"serial-not-forward"}
    assert "serial 1 is not after 1" in str(failed)


@pytest.mark.parametrize("change", ["missing", "more", "other", "last"])
@pytest.mark.parametrize("first", [True, False])
def test_a_version_must_have_the_content_that_is_at_hand(change: str, first: bool) -> None:
    signer = Naive()
    old, new = signer.sign(content(1)), signer.sign(content(2))
    given = [rrset for rrset in new.scan() if rrset.owner or rrset.rtype in (naive.SOA, naive.NS)]
    wanted = replace(planned(signer), previous_serial=None) if first else planned(signer)
    arguments = (None if first else old, new, [SOA_PLACE], [], wanted, object(), 1)
    assert isinstance(verify_version(*arguments, content=given), VerifiedVersion)
    middle = len(given) // 2
    if change == "missing":
        given = given[:middle] + given[middle + 1 :]
    elif change == "more":
        given = [
            *given[:middle],
            RRset(given[middle].owner + b"x\0", naive.TXT, 60, b"\0\2\1a"),
            *given[middle:],
        ]
        given.sort()
    elif change == "other":
        given[middle] = given[middle]._replace(ttl=given[middle].ttl + 1)
    else:
        given.append(RRset(b"zzzz\0", naive.TXT, 60, b"\0\2\1a"))
    failed = verify_version(*arguments, content=given)
    assert isinstance(failed, VerificationFailed)
    assert codes(failed.violations) == {"content-differs"}
    assert len(failed.violations) == 1


def test_whole_finds_what_lies_outside_the_change() -> None:
    signer = Naive()
    old, new = signer.sign(content(1)), signer.sign(content(2))
    bad = damaged(new, key("mail"), lambda r: r + b"\1\1\1")
    arguments = (old, bad, [SOA_PLACE], [], planned(signer), object(), 1)
    assert isinstance(verify_version(*arguments, whole=True), VerificationFailed)
