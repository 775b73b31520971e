"""RFC 7583's equations."""

from dnssecd.core.keys import timing

HOUR, DAY = 3_600, 86_400


def test_equations() -> None:
    assert timing.ipub(300, HOUR) == 300 + HOUR
    assert timing.ipub_first(300, HOUR, 2 * HOUR) == 300 + 2 * HOUR
    assert timing.iret_zsk(DAY, 300, HOUR) == DAY + 300 + HOUR
    assert timing.iret_ksk(HOUR, DAY) == HOUR + DAY
    assert timing.observed_dprp(100, 150, 300) == 300
    assert timing.observed_dprp(100, 1_000, 300) == 900


def test_rfc_5011() -> None:
    assert timing.query_interval(600) == HOUR
    assert timing.query_interval(2 * DAY) == DAY
    assert timing.query_interval(90 * DAY) == 15 * DAY
    assert timing.itrp(HOUR) == 30 * DAY + 2 * HOUR
    assert timing.itrp(40 * DAY) == 70 * DAY
    assert timing.irev(300, HOUR) == 300 + 30 * DAY
