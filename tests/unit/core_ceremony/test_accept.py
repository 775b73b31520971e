"""What a signer accepts of a response, and the text of every refusal."""

from hashlib import sha256

import pytest

from dnssecd.core.ceremony.accept import Published, ResponseRefused, Signer, accept_response
from dnssecd.core.ceremony.report import ds_digest
from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.dns.rrtypes import CDS, DNSKEY
from dnssecd.core.keys.signed_ahead import SignedAhead, expiration
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
    C,
    SoftKey,
    make_request,
    ordered,
    signed,
)

FIRST = Signer(
    ZONE,
    frozenset(ordered(A, B)),
    frozenset(),
    SignedAhead(STORES),
    accepted=frozenset({ds_digest(ZONE, K1.rdata)}),
)
RUNNING = replace(
    FIRST,
    ksks=frozenset({K1.rdata}),
    accepted=frozenset(),
    published=Published(ordered(K1, A), (K1.signing,)),
)


def refusal(response, signer=RUNNING, now=NOW + 60):
    """Return why a response is refused."""
    with pytest.raises(ResponseRefused) as caught:
        accept_response(response, signer, now)
    return str(caught.value)


def test_a_first_response_brings_the_ksk_that_a_person_accepted():
    accepted = accept_response(signed(make_request()), FIRST, NOW)
    assert accepted.ksks == (K1.rdata,)
    assert accepted.until > NOW + 90 * DAY
    assert "--accept-ksk" in refusal(signed(make_request()), replace(FIRST, accepted=frozenset()))


def test_the_refusal_of_an_unknown_ksk_shows_the_ds_to_compare():
    digest = sha256(ZONE + K1.rdata).hexdigest().upper()
    text = refusal(signed(make_request()), replace(FIRST, accepted=frozenset()))
    assert f"DS {K1.tag} 13 2 {digest}" in text


def test_every_set_of_the_plan_is_signed_for_the_whole_period():
    ahead = accept_response(signed(make_request()), RUNNING, NOW).ahead
    for zsks in ((A,), (A, B), (B,)):
        until = ahead.until(DNSKEY, ordered(K1, *zsks), (K1.signing,), NOW)
        assert until > NOW + 90 * DAY, zsks


def test_a_ksk_that_a_known_one_signs_with_is_accepted():
    accepted = accept_response(signed(make_request(), (K1,), (K2,)), RUNNING, NOW)
    assert accepted.ksks == (K2.rdata,)
    ahead = accepted.ahead
    assert ahead.until(DNSKEY, ordered(K1, K2, A), (K1.signing, K2.signing), NOW) > NOW
    assert ahead.until(DNSKEY, ordered(K2, A), (K2.signing,), NOW) > NOW
    for content in ((K1,), (K2,), (K1, K2)):
        assert any(each.rtype == CDS and len(each.rdatas) == len(content) for each in ahead.sets)


def test_a_ksk_that_nothing_confirms_is_refused():
    assert f"KSK {K2.tag} is not known" in refusal(signed(make_request(), (K2,)))


@pytest.mark.parametrize("flags", [259, 257 | 0x8000, 385, 1])
@pytest.mark.parametrize("first", [True, False])
def test_a_ksk_with_other_flags_is_refused_as_it_could_never_be_published(monkeypatch, flags, first):
    odd = SoftKey(7, flags)
    monkeypatch.setitem(KEYS, odd.signing, odd)
    if first:
        reason = refusal(
            signed(make_request(), (odd,)), replace(FIRST, accepted=frozenset({ds_digest(ZONE, odd.rdata)}))
        )
    else:
        reason = refusal(signed(make_request(), (K1,), (odd,)))
    assert f"KSK {odd.tag} has flags {flags}" in reason


@pytest.mark.parametrize("ttl", [14 * DAY + 3601, 1 << 31, (1 << 32) - 1])
def test_a_ttl_longer_than_the_signatures_is_refused(ttl):
    """With it, each later rollover would wait so long."""
    assert f"TTL {ttl} s" in refusal(signed(replace(make_request(), ttl=ttl)))
    accept_response(signed(replace(make_request(), ttl=DAY)), RUNNING, NOW)


def test_another_zone_is_refused():
    other = replace(signed(make_request()), zone=text_to_wire("example.net."))
    assert "example.net." in refusal(other)


def test_zsks_of_another_signer_are_refused():
    stranger = replace(RUNNING, zsks=frozenset(ordered(A, C)))
    assert str(B.tag) in refusal(signed(make_request()), stranger)


def flip(rrsig: bytes, at: int) -> bytes:
    """Return an RRSIG with one bit changed."""
    return rrsig[:at] + bytes((rrsig[at] ^ 1,)) + rrsig[at + 1 :]


@pytest.mark.parametrize("at", [3, 7, 11, 15, 17, 25, 40, -1])
@pytest.mark.parametrize("number", [0, 3, -1])
def test_one_wrong_bit_in_any_rrsig_refuses_all_of_it(at, number):
    response = signed(make_request())
    sets = list(response.sets)
    rrsigs = list(sets[number].rrsigs)
    rrsigs[-1] = flip(rrsigs[-1], at if at >= 0 else len(rrsigs[-1]) - 1)
    sets[number] = replace(sets[number], rrsigs=tuple(rrsigs))
    assert refusal(replace(response, sets=tuple(sets)))


def test_an_rrsig_by_a_zsk_is_refused():
    response = signed(make_request(), (replace(A, flags=256),))
    assert "no KSK" in refusal(response, replace(RUNNING, ksks=frozenset({K1.rdata})))


def test_a_set_without_rrsig_is_refused():
    response = signed(make_request())
    sets = (replace(response.sets[0], rrsigs=()), *response.sets[1:])
    assert "without RRSIG" in refusal(replace(response, sets=sets))


def test_an_expired_response_is_refused():
    assert "expired" in refusal(signed(make_request()), now=NOW + 200 * DAY)


def test_a_response_without_the_published_set_is_refused():
    published = Published(ordered(K1, A, C), (K1.signing,))
    signer = replace(RUNNING, published=published, zsks=frozenset(ordered(A, B, C)))
    assert "none of its DNSKEY RRsets is the one published now" in refusal(signed(make_request()), signer)


def test_a_gap_between_two_periods_is_refused_and_an_overlap_is_not():
    first = accept_response(signed(make_request(days=30)), RUNNING, NOW).ahead
    end = first.until(DNSKEY, ordered(K1, A), (K1.signing,), NOW)
    later = replace(RUNNING, ahead=first)
    assert "gap" in refusal(signed(make_request(start=end + DAY)), later, NOW + DAY)
    joined = accept_response(signed(make_request(start=end - DAY)), later, NOW + DAY)
    assert joined.until > end + 60 * DAY


def test_expired_rrsigs_are_dropped_from_the_supply():
    late = NOW + 40 * DAY
    ahead = accept_response(signed(make_request()), RUNNING, late).ahead
    assert min(expiration(rrsig, late) for each in ahead.sets for rrsig in each.rrsigs) > late


def test_the_tag_of_a_ksk_is_not_enough():
    text = refusal(signed(make_request()), replace(FIRST, accepted=frozenset({str(K1.tag), "AB" * 32})))
    assert "is not known" in text
