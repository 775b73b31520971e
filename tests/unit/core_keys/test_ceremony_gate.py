"""The planner with an off-line KSK: only what was signed ahead is published, and nothing is made in its place."""

import pytest

from dnssecd.core.dns.rrtypes import CDNSKEY, CDS, DNSKEY
from dnssecd.core.keys import requests
from dnssecd.core.keys.evidence import Evidence, SecondarySight
from dnssecd.core.keys.keyset import Keyset, add_key, initial_keyset, new_key, published, signing_view
from dnssecd.core.keys.keystate import Event, Rec, Role, State
from dnssecd.core.keys.planner import plan_rollover
from dnssecd.core.keys.signed_ahead import AheadSet, SignedAhead, cds_until, offered, supply_until, unexpired
from dnssecd.core.keys.types import Gate, GenerateKey, KeySpec, PublishDnskey, RolloverPolicy
from dnssecd.replacing import replace
from tests.unit.core_ceremony.world import DAY, K1, K2, NOW, STORES, ZONE, A, B, SoftKey, ordered

POLICY = RolloverPolicy((KeySpec(Role.KSK, 13, "vault"), KeySpec(Role.ZSK, 13, "online")), parent=False)


def keyset_of(*keys: SoftKey) -> Keyset:
    """Return the key set of a zone that was just signed with these keys."""
    made = tuple(key_of(key) for key in keys)
    return published(initial_keyset(ZONE, made, NOW), 1, NOW)


def key_of(key: SoftKey):
    role = Role.KSK if key.flags & 1 else Role.ZSK
    return new_key(f"key{key.number}", role, 13, key.public, key.signing.keystore, NOW)


def rrsig(key: SoftKey, start: int, stop: int) -> bytes:
    """Return RRSIG RDATA of which the planner reads times and key only."""
    fixed = DNSKEY.to_bytes(2) + bytes((13, 2)) + (3600).to_bytes(4) + stop.to_bytes(4) + start.to_bytes(4)
    return fixed + key.tag.to_bytes(2) + ZONE + b"signature"


def signed(
    *keys: SoftKey, start: int = NOW - 60, stop: int = NOW + 30 * DAY, rtype: int = DNSKEY
) -> AheadSet:
    """Return a DNSKEY RRset signed by its KSKs for a time."""
    ksks = [key for key in keys if key.flags & 1]
    return AheadSet(rtype, 3600, ordered(*keys), tuple(rrsig(key, start, stop) for key in ksks))


def plan(keyset: Keyset, *sets: AheadSet, now: int = NOW + 2 * DAY):
    """Return the plan with this supply, all servers being up to date."""
    evidence = Evidence(
        serial=9, committed=NOW, secondaries=(SecondarySight("ns1", 9, NOW + DAY),), ttl_dnskey=3600,
        ahead=SignedAhead(STORES, sets),
    )  # fmt: skip
    return plan_rollover(keyset, POLICY, evidence, now)


def rolling() -> Keyset:
    """Return a settled key set with a ZSK that is to replace the one in use."""
    keyset = plan(keyset_of(K1, A), signed(K1, A)).keyset
    keyset = requests.roll_over(keyset, Role.ZSK)
    return add_key(keyset, replace(key_of(B), created=NOW + DAY))


def shown(keyset: Keyset) -> tuple[bytes, ...]:
    return signing_view(keyset).dnskey_rdatas


def test_a_zsk_is_published_when_the_rrset_with_it_is_signed():
    done = plan(rolling(), signed(K1, A), signed(K1, A, B))
    assert shown(done.keyset) == ordered(K1, A, B)


def test_a_zsk_waits_for_a_ceremony_where_no_rrset_has_it():
    done = plan(rolling(), signed(K1, A))
    assert shown(done.keyset) == ordered(K1, A)
    blocker = next(each for each in done.blockers if each.gate is Gate.CEREMONY and each.tag == B.tag)
    assert blocker.event is Event.PUBLISH
    assert "ksr export" in blocker.detail
    assert blocker.until is None


def test_a_zsk_waits_until_the_rrset_with_it_is_valid():
    later = NOW + 5 * DAY
    done = plan(rolling(), signed(K1, A), signed(K1, A, B, start=later))
    assert shown(done.keyset) == ordered(K1, A)
    assert done.next_wake == later
    done = plan(done.keyset, signed(K1, A), signed(K1, A, B, start=later), now=later)
    assert shown(done.keyset) == ordered(K1, A, B)


def test_a_step_does_not_lead_to_an_earlier_end():
    done = plan(rolling(), signed(K1, A), signed(K1, A, B, stop=NOW + 29 * DAY))
    assert shown(done.keyset) == ordered(K1, A)
    assert any("only" in each.detail for each in done.blockers if each.gate is Gate.CEREMONY)


def test_an_expired_supply_publishes_nothing():
    done = plan(rolling(), signed(K1, A, B), now=NOW + 31 * DAY)
    assert shown(done.keyset) == ordered(K1, A)


def test_changes_that_were_signed_together_are_made_together():
    keyset = add_key(rolling(), replace(key_of(K2), created=NOW + DAY))
    done = plan(keyset, signed(K1, A), signed(K1, K2, A, B))
    assert shown(done.keyset) == ordered(K1, K2, A, B)


def test_a_new_ksk_signs_when_the_rrset_has_its_signature():
    keyset = add_key(plan(keyset_of(K1, A), signed(K1, A)).keyset, replace(key_of(K2), created=NOW + DAY))
    half = AheadSet(DNSKEY, 3600, ordered(K1, K2, A), (rrsig(K1, NOW, NOW + 90 * DAY),))
    assert shown(plan(keyset, signed(K1, A), half).keyset) == ordered(K1, A)
    assert shown(plan(keyset, signed(K1, A), signed(K1, K2, A)).keyset) == ordered(K1, K2, A)


@pytest.mark.parametrize("asked", [True, False])
def test_no_ksk_is_made_where_it_is_off_line(asked):
    keyset = keyset_of(K1, A)
    keyset = requests.roll_over(keyset, Role.KSK) if asked else keyset
    if not asked:
        keyset = replace(keyset, keys=tuple(key for key in keyset.keys if key.role is not Role.KSK))
    done = plan(keyset, signed(K1, A))
    assert not any(isinstance(effect, GenerateKey) for effect in done.effects)
    assert any(each.rule == "key-ceremony" for each in done.blockers) or not asked


def test_a_zsk_alone_is_not_published_before_the_first_ceremony():
    keyset = add_key(Keyset(ZONE), key_of(A))
    done = plan(keyset)
    assert not any(isinstance(effect, PublishDnskey) for effect in done.effects)
    assert shown(done.keyset) == ()


def test_slots_join_and_a_gap_ends_the_coverage():
    joined = AheadSet(DNSKEY, 3600, ordered(K1, A), (
        rrsig(K1, NOW, NOW + 10), rrsig(K1, NOW + 8, NOW + 20), rrsig(K1, NOW + 21, NOW + 30),
    ))  # fmt: skip
    ahead = SignedAhead(STORES, (joined,))
    until = ahead.until(DNSKEY, ordered(K1, A), (K1.signing,), NOW)
    assert until == NOW + 20
    best = ahead.best(DNSKEY, ordered(K1, A), (K1.signing,), NOW + 9)
    assert best is not None
    assert best.rrsigs == joined.rrsigs[1:2]
    assert ahead.best(DNSKEY, ordered(K1, A), (K1.signing,), NOW + 20) is None
    assert ahead.begins(DNSKEY, ordered(K1, A), (K1.signing,), NOW + 20) == NOW + 21
    assert [len(each.rrsigs) for each in unexpired([joined], NOW + 15)] == [2]


def test_the_supply_reaches_as_far_as_the_rrsets_that_follow():
    ahead = SignedAhead(STORES, (
        signed(K1, A, stop=NOW + 10), signed(K1, A, B, start=NOW + 9, stop=NOW + 20),
        signed(K1, B, start=NOW + 15, stop=NOW + 30), signed(K1, B, start=NOW + 31, stop=NOW + 40),
    ))  # fmt: skip
    present = ahead.until(DNSKEY, ordered(K1, A), (K1.signing,), NOW)
    assert (present, supply_until(present, ahead, NOW)) == (NOW + 10, NOW + 30)
    assert supply_until(0, ahead, NOW) == 0


def test_cds_are_published_as_far_as_they_were_signed():
    view = signing_view(with_ds(keyset_of(K1, A)))
    assert view.cds
    dnskey = signed(K1, A)
    both = (
        replace(dnskey, rtype=CDS, rdatas=view.cds),
        replace(dnskey, rtype=CDNSKEY, rdatas=view.cdnskey),
    )
    assert offered(view, SignedAhead(STORES, (dnskey, *both)), NOW) == view
    for left in ((), both[:1], both[1:]):
        less = offered(view, SignedAhead(STORES, (dnskey, *left)), NOW)
        assert (less.cds, less.cdnskey) == ((), ())
        assert less.dnskey_rdatas == view.dnskey_rdatas


def with_ds(keyset: Keyset) -> Keyset:
    """Return the key set with the DS of the KSK submitted."""
    key = next(key for key in keyset.keys if key.role is Role.KSK)
    return keyset.with_key(key.with_record(Rec.DS, replace(key.ds, state=State.RUMOURED)))


def test_the_cds_are_signed_until_the_first_of_the_two_rrsets_ends():
    view = signing_view(with_ds(keyset_of(K1, A)))
    sets = [
        AheadSet(CDS, 3600, view.cds, (rrsig(K1, NOW, NOW + 20 * DAY),)),
        AheadSet(CDNSKEY, 3600, view.cdnskey, (rrsig(K1, NOW, NOW + 10 * DAY),)),
    ]
    assert cds_until(with_ds(keyset_of(K1, A)), SignedAhead(STORES, tuple(sets)), NOW) == NOW + 10 * DAY
    assert cds_until(with_ds(keyset_of(K1, A)), SignedAhead(STORES, tuple(sets[:1])), NOW) == 0
    assert cds_until(keyset_of(K1, A), SignedAhead(STORES, tuple(sets)), NOW) is None
    assert cds_until(with_ds(keyset_of(K1, A)), SignedAhead(frozenset(), tuple(sets)), NOW) is None
