"""Which CDS RRsets a ceremony signs: those that follow from its keys, and those that the signer publishes or will."""

import pytest

from dnssecd.core.ceremony.checks import Level, Limits, check_cds
from dnssecd.core.ceremony.known import CDS_SETS_MAX, cds_sets, known_ksks
from dnssecd.core.ceremony.request import KnownKsk
from dnssecd.core.dns.rrtypes import CDNSKEY, CDS, DNSKEY
from dnssecd.core.keys.keyset import ds_rdata, initial_keyset, new_key
from dnssecd.core.keys.keystate import Goal, Rec, RecordState, Role, State
from dnssecd.core.keys.simulate import Span
from dnssecd.replacing import replace
from tests.unit.core_ceremony.world import (
    DAY,
    K1,
    K2,
    KEYS,
    NOW,
    STORES,
    ZONE,
    A,
    B,
    SoftKey,
    make_request,
    ordered,
    signed,
)

OLD, O1, O2, STRANGER = (SoftKey(number, 257) for number in (21, 22, 23, 24))
DS_THERE = RecordState(State.OMNIPRESENT, NOW)


@pytest.fixture(autouse=True)
def more_keys(monkeypatch):
    for key in (O1, O2):
        monkeypatch.setitem(KEYS, key.signing, key)


def request_of(*ksks, cds=()):
    """Return a request of a signer that says these KSKs are its own, and these CDS sets are wanted."""
    known = tuple(KnownKsk(key.rdata, "active", online=key in (O1, O2)) for key in ksks)
    return replace(make_request(), ksks=known, cds_sets=tuple(ordered(*keys) for keys in cds))


def cds_of(response):
    """Return the sets of keys whose CDS and CDNSKEY RRsets were signed for the whole period."""
    slots = len(make_request().slots)
    complete = [each for each in response.sets if len(each.rrsigs) >= slots]
    shown = {each.rdatas for each in complete if each.rtype == CDNSKEY}
    digests = {each.rdatas for each in complete if each.rtype == CDS}
    assert digests == {tuple(sorted(ds_rdata(ZONE, rdata) for rdata in rdatas)) for rdatas in shown}
    return shown


def test_the_cds_published_now_are_signed_also_where_they_do_not_follow_from_the_keys_here():
    request = request_of(K1, K2, O1, O2, cds=[(K1, O1, O2), (K2, O2)])
    found = cds_of(signed(request, (K1,), (K2,)))
    assert {ordered(K1, O1, O2), ordered(K2, O2)} <= found
    assert {ordered(K1), ordered(K1, K2), ordered(K2), ordered(K1, O2), ordered(O2)} <= found
    assert ordered(K1, K2, O1) in found
    alone = request_of(K1, K2, cds=[(K1,)])
    assert cds_of(signed(alone, (K1, K2))) == {ordered(K1), ordered(K1, K2)}


def test_one_of_two_keys_at_the_signer_may_be_published_without_the_other():
    response = signed(request_of(O1, O2))
    shown = {each.rdatas for each in response.sets if each.rtype == DNSKEY}
    for online in ((), (O1,), (O2,), (O1, O2)):
        assert {ordered(K1, A, *online), ordered(K1, A, B, *online), ordered(K1, B, *online)} <= shown


def test_no_cds_is_signed_for_an_unknown_key():
    request = request_of(K1, STRANGER, cds=[(K1, STRANGER), (STRANGER,)])
    assert all(STRANGER.rdata not in rdatas for rdatas in cds_of(signed(request)))
    findings = list(check_cds(request, Limits(), {K1.rdata}))
    assert [finding.level for finding in findings] == [Level.ATTENTION, Level.ATTENTION]
    assert all(str(STRANGER.tag) in finding.text for finding in findings)


def test_a_cds_set_that_can_be_signed_is_no_finding():
    request = request_of(K1, O1, cds=[(K1,), (K1, O1), (O1,)])
    assert not list(check_cds(request, Limits(), {K1.rdata}))


def test_too_many_cds_sets_are_refused():
    request = request_of(K1, cds=[(K1,)] * 3)
    (finding,) = check_cds(request, Limits(sets_max=2), {K1.rdata})
    assert finding.level is Level.REFUSED


# What the signer says


def key(soft, role=Role.KSK, store="online", **fields):
    made = new_key(f"key{soft.number}", role, 13, soft.public, store, NOW)
    return replace(made, **fields)


def span(soft, start, stop, state=State.OMNIPRESENT, rec=Rec.DS):
    return Span(f"key{soft.number}", Role.KSK, "", rec, state, start, stop)


def keyset_of(*keys):
    return initial_keyset(ZONE, keys, NOW)


def test_a_key_that_left_the_zone_is_not_asked_for():
    hidden = RecordState(State.HIDDEN, NOW)
    keyset = keyset_of(key(OLD), key(O1), key(A, Role.ZSK), key(K1, store="vault"))
    gone = replace(keyset.keys[0], goal=Goal.ABSENT, dnskey=hidden, krrsig=hidden, ds=hidden)
    found = {each.rdata: each.online for each in known_ksks(keyset.with_key(gone), STORES)}
    assert found == {O1.rdata: True, K1.rdata: False}
    still = replace(gone, dnskey=RecordState(State.OMNIPRESENT, NOW))
    assert OLD.rdata in {each.rdata for each in known_ksks(keyset.with_key(still), STORES)}


def test_a_csk_at_the_signer_is_one_of_the_keys_that_the_ceremony_has_to_know():
    found = [each.rdata for each in known_ksks(keyset_of(key(O1, Role.CSK)), STORES)]
    assert found == [O1.rdata]


def test_the_cds_of_now_come_first_and_those_of_the_plan_follow():
    keyset = keyset_of(key(O1, ds=DS_THERE), key(K1, store="vault"), key(A, Role.ZSK))
    spans = [
        span(O1, NOW, NOW + 20 * DAY),
        span(K1, NOW + 10 * DAY, None, State.RUMOURED),
        span(K1, NOW + 5 * DAY, NOW + 6 * DAY, rec=Rec.DNSKEY),
        span(O1, NOW + 20 * DAY, None, State.UNRETENTIVE),
    ]
    ksks = {O1.rdata, K1.rdata}
    assert cds_sets(keyset, spans, NOW, ksks) == (ordered(O1), ordered(O1, K1), ordered(K1))


def test_a_set_with_a_key_that_is_still_to_be_made_is_not_asked_for():
    keyset = keyset_of(key(O1, ds=DS_THERE))
    spans = [span(O1, NOW, None), span(K2, NOW + DAY, None)]
    assert cds_sets(keyset, spans, NOW, {O1.rdata}) == (ordered(O1),)


def test_the_number_of_cds_sets_has_a_bound():
    many = [SoftKey(number, 257) for number in range(100, 130)]
    keyset = keyset_of(*(key(each) for each in many))
    spans = [span(each, NOW + number * DAY, None) for number, each in enumerate(many)]
    assert len(cds_sets(keyset, spans, NOW, {each.rdata for each in many})) == CDS_SETS_MAX
