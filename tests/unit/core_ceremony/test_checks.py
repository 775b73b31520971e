"""What a ceremony refuses to sign, and what it wants a person to confirm."""

import pytest

from dnssecd.core.ceremony.checks import Level, Limits, Previous, check_request, is_refused
from dnssecd.core.ceremony.report import request_report, response_report
from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.keys.keyset import dnskey_rdata
from dnssecd.replacing import replace
from tests.unit.core_ceremony.world import (
    DAY,
    K1,
    NOW,
    ZONE,
    A,
    B,
    C,
    make_request,
    ordered,
    signed,
    with_proofs,
)

LAST = Previous(ZONE, 0, "", "", frozenset(ordered(A)), NOW + DAY)


def levels(request, previous=LAST, limits=None, now=NOW):
    """Return the findings as text by level."""
    found = {level: [] for level in Level}
    for finding in check_request(request, limits or Limits(), previous, now):
        found[finding.level].append(finding.text)
    return found


def with_slot(request, number=0, **fields):
    """Return the request with one slot changed, signed again."""
    slots = list(request.slots)
    slots[number] = replace(slots[number], **fields)
    return with_proofs(replace(request, slots=tuple(slots)), (A, B))


def test_a_request_that_continues_is_good():
    found = levels(make_request())
    assert not found[Level.REFUSED]
    assert not found[Level.ATTENTION]


def test_the_first_request_is_to_be_compared_by_voice():
    found = levels(make_request(), None)
    assert not found[Level.REFUSED]
    assert any("voice" in text for text in found[Level.ATTENTION])


def resigned(**fields):
    """Return a change of a request that is signed again."""
    return lambda request: with_proofs(replace(request, **fields), (A, B))


@pytest.mark.parametrize(("change", "reason"), [
    (resigned(zone=text_to_wire("example.net.")), "was for example.com."),
    (resigned(slots=()), "0 slots"),
    (resigned(ttl=30 * DAY), "TTL"),
    (lambda r: with_slot(r, expiration=NOW + 300 * DAY), "valid for"),
    (lambda r: with_slot(r, expiration=NOW - 3601), "valid for"),
    (lambda r: with_slot(r, 1, inception=NOW + 15 * DAY), "does not begin"),
    (lambda r: with_slot(r, sets=(ordered(B),)), "do not continue"),
    (lambda r: replace(r, proofs=r.proofs[1:]), "without a good signature"),
    (lambda r: replace(r, ttl=r.ttl + 1), "without a good signature"),
    (lambda r: with_proofs(replace(r, zsks=(*r.zsks, dnskey_rdata(256, 5, A.public))), (A, B)), "algorithm"),
    (lambda r: with_proofs(replace(r, zsks=(*r.zsks, dnskey_rdata(385, 13, A.public))), (A, B)), "flags"),
    (lambda r: make_request(start=NOW + 300 * DAY), "too far ahead"),
    (lambda r: make_request(start=NOW - 200 * DAY), "it ended"),
])  # fmt: skip
def test_what_goes_beyond_limits_or_does_not_continue_is_refused(change, reason):
    request = change(make_request())
    refused = levels(request)[Level.REFUSED]
    assert any(reason in text for text in refused), refused
    assert is_refused(check_request(request, Limits(), LAST, NOW))


def test_an_older_number_is_refused():
    found = levels(make_request(), replace(LAST, number=1))
    assert any("is not after" in text for text in found[Level.REFUSED])


def test_a_request_that_only_unknown_zsks_signed_is_refused():
    found = levels(make_request(), replace(LAST, zsks=frozenset(ordered(C))))
    assert any("who asks" in text for text in found[Level.REFUSED])


def test_a_missed_import_and_a_gap_are_reported():
    found = levels(make_request(), replace(LAST, response="ab", until=NOW - DAY))
    assert any("not imported" in text for text in found[Level.ATTENTION])
    assert any("gap" in text for text in found[Level.ATTENTION])


def test_the_reports_have_hashes_tags_and_times():
    request = make_request()
    text = request_report(request, check_request(request, Limits(), LAST, NOW), [(K1.rdata, "current")])
    for part in (request.digest.hex()[:4], str(A.tag), str(K1.tag), "2026-11-30", "ok"):
        assert part in text
    response = signed(request)
    text = response_report(response)
    assert response.digest.hex()[:4] in text
