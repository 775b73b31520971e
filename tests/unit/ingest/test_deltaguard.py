"""The delta guard: share of owner names touched, and names that repeat the zone's name."""

from __future__ import annotations

import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.dns.rrset import RRset, pack
from dnssecd.core.verify.memoryview import MemoryZoneView
from dnssecd.core.zone.changeset import Change, diff
from dnssecd.core.zone.deltaguard import Verdict, judge

ORIGIN = text_to_wire("example.com.")


def zone(
    names: int, address: bytes = b"\x00\x04\x01\x02\x03\x04", prefix: bytes = b"", first: int = 0
) -> list[RRset]:
    return sorted(
        RRset(prefix + b"h%05d\x00" % number, 1, 5, address) for number in range(first, first + names)
    )


def verdict(old: list[RRset], new: list[RRset], share: float = 0.3, origin: bytes = ORIGIN) -> Verdict:
    return judge(diff(old, new), len({rrset.owner for rrset in old}), share, origin)


def test_additions_never_trip() -> None:
    assert not verdict(zone(100), zone(1000)).tripped


def test_removals_trip_above_the_share() -> None:
    assert not verdict(zone(100), zone(70)).tripped
    result = verdict(zone(100), zone(69))
    assert result.tripped
    assert result[:2] == (31, 100)
    assert result.reasons[0] == "31 of 100 owner names (31.0 %) would be removed or changed, more than 30 %"


def test_changes_count_like_removals() -> None:
    assert verdict(zone(100), zone(31, b"\x00\x04\x09\x09\x09\x09") + zone(69, first=31)).touched == 31


def test_small_zones_trip_from_five_names_on() -> None:
    assert verdict(zone(24), zone(0)).tripped
    assert verdict(zone(6), zone(1)).tripped
    assert not verdict(zone(6), zone(2)).tripped
    assert not verdict(zone(20), zone(15)).tripped, "five names, but a quarter of the zone only"


A, NS, MX, TXT, AAAA = 1, 2, 15, 16, 28
SERVED = [
    RRset(b"", NS, 5, pack([text_to_wire("ns.example.com.")])),
    RRset(b"", MX, 5, pack([b"\x00\x0a" + text_to_wire("mail.example.com.")])),
    RRset(b"", TXT, 5, pack([b"\x01x"])),
    RRset(b"mail\x00", A, 5, pack([bytes(4)])),
    RRset(b"ns\x00", A, 5, pack([bytes(4)])),
]
MORE = RRset(b"ns\x00", AAAA, 5, pack([bytes(16)]))


def grave(old: list[RRset], new: list[RRset], share: float = 0.3) -> Verdict:
    owners = len({rrset.owner for rrset in old})
    return judge(diff(old, new), owners, share, ORIGIN, lambda: MemoryZoneView(ORIGIN, new, (), ()))


def without(place: tuple[bytes, int], content: list[RRset] = SERVED) -> list[RRset]:
    return [rrset for rrset in content if rrset[:2] != place]


@pytest.mark.parametrize("rtype", [A, AAAA, MX])
def test_the_apex_may_not_lose_what_the_zone_lives_by(rtype: int) -> None:
    extra = RRset(b"", rtype, 5, pack([bytes(5)]))
    old = sorted([*without((b"", rtype)), extra])
    result = grave(old, without((b"", rtype)))
    assert result.tripped
    assert "the apex would lose its" in result.reasons[0]
    assert not grave(old, sorted([*without((b"", rtype)), extra._replace(ttl=6)])).tripped, (
        "changed, not lost"
    )
    assert not grave(old, without((b"", rtype)), 0.4).tripped, "a third of the names, which is allowed"


def test_the_apex_may_lose_other_types() -> None:
    assert not grave(SERVED, without((b"", TXT))).tripped


def test_a_name_server_may_not_lose_its_address() -> None:
    result = grave(SERVED, without((b"ns\x00", A)))
    assert result.reasons[0].endswith("name server ns.example.com. would have no address")
    assert not grave(SERVED, without((b"mail\x00", A))).tripped
    both = [*SERVED, MORE]
    assert not grave(both, without((b"ns\x00", A), both)).tripped, "it has another"


def test_a_name_is_counted_once() -> None:
    two = [RRset(b"h\x00", rtype, 5, b"\x00\x00") for rtype in (1, 16)]
    assert verdict(two, []).touched == 1


def test_the_first_load_and_the_soa_never_trip() -> None:
    assert not verdict([], zone(1000) + zone(1000, prefix=b"com\x00example\x00")).tripped
    soa = RRset(b"", 6, 5, b"\x00\x00")
    assert judge([Change(b"", 6, soa, soa._replace(ttl=6))], 1, 0.0, ORIGIN).touched == 0


def test_missing_final_dots() -> None:
    """.se, 2009: names ended in ``zone.zone.``."""
    result = verdict(zone(10), zone(10) + zone(1, prefix=b"com\x00example\x00"))
    assert result.tripped
    assert "h00000.example.com.example.com." in result.reasons[0]


def test_a_zone_of_one_label_may_hold_its_own_label() -> None:
    origin = text_to_wire("se.")
    assert not verdict(zone(100), sorted(zone(100) + zone(20, prefix=b"se\x00")), origin=origin).tripped
    assert verdict(zone(100), sorted(zone(100) + zone(30, prefix=b"se\x00")), origin=origin).tripped


def test_doubled_names_that_were_there_do_not_trip() -> None:
    doubled = zone(3, prefix=b"com\x00example\x00")
    assert not verdict(doubled, [rrset._replace(ttl=9) for rrset in doubled]).tripped


def test_the_root_has_no_suffix_to_double() -> None:
    assert not verdict(zone(1), zone(50), origin=b"\x00").tripped
