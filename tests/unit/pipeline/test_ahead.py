"""When the RRSIGs of an off-line KSK are replaced by later ones of the supply."""

import pytest

from dnssecd.core.keys.keyset import SigningView
from dnssecd.core.keys.signed_ahead import SignedAhead
from dnssecd.pipeline.version.ahead import dnskey_end, next_switch
from tests.unit.core_ceremony.world import DAY, K1, NOW, STORES, A, make_request, ordered, signed

HOUR = 3_600
REFRESH = 5 * DAY
FIRST_END = NOW + 14 * DAY


def switch(now: int, published_end: int) -> int | None:
    """Return when the switch is; slots of 14 days begin every 7 days, an hour before."""
    ahead = SignedAhead(STORES, signed(make_request()).sets)
    view = SigningView(dnskey_rdatas=ordered(K1, A), dnskey_keys=(K1.signing,), zone_keys=(A.signing,))
    return next_switch(ahead, view, published_end, now, REFRESH)


@pytest.mark.parametrize(
    "now",
    [NOW, NOW + 7 * DAY - 2 * HOUR, NOW + 7 * DAY, FIRST_END - REFRESH - 1],
    ids=["at first", "before the next are valid", "the next are valid, and wait", "just before"],
)
def test_the_published_rrsigs_are_replaced_before_they_expire(now: int) -> None:
    """Also where later ones are valid already: a version in that time still has the earlier ones."""
    assert switch(now, FIRST_END) == FIRST_END - REFRESH


def test_a_switch_that_is_overdue_is_not_put_off_by_each_new_version() -> None:
    for late in (FIRST_END - DAY, FIRST_END - HOUR, FIRST_END + HOUR):
        assert switch(late, FIRST_END) == FIRST_END - REFRESH


def test_there_is_no_switch_after_the_last_rrsigs() -> None:
    assert switch(NOW + 80 * DAY, NOW + 200 * DAY) is None


def test_the_runway_is_that_of_the_supply_until_a_switch_is_overdue() -> None:
    supply = NOW + 90 * DAY
    assert dnskey_end(supply, FIRST_END, NOW + 9 * DAY, NOW) == supply
    assert dnskey_end(supply, FIRST_END, NOW + 9 * DAY, NOW + 10 * DAY) == FIRST_END
    assert dnskey_end(supply, FIRST_END, None, NOW) == supply
    assert dnskey_end(0, FIRST_END, None, NOW) == FIRST_END
