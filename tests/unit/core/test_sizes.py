"""Sizes with another algorithm, against a version whose octets can be counted by hand."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dnssecd.core.dns.names import APEX, owner_key, text_to_wire
from dnssecd.core.dns.rrset import RRset, Rrsigs, pack
from dnssecd.core.dns.rrtypes import DNSKEY, NSEC, SOA
from dnssecd.core.signing.sizes import OCTETS, forecast_sizes
from dnssecd.core.zone.zoneview import ZoneView

ORIGIN = text_to_wire("a.test.")
OWNER = owner_key(text_to_wire("www.a.test."), ORIGIN)
SOA_OCTETS, NSEC_OCTETS = 40, 20


def signature(algorithm: int) -> bytes:
    return bytes((0, 1, algorithm)) + bytes(15) + ORIGIN + bytes(OCTETS[algorithm][1])


def view(*algorithms: int) -> ZoneView:
    """The apex with SOA and DNSKEY, one address, NSEC at both; a KSK and a ZSK of each algorithm."""
    keys = [
        bytes((1, flag, 3, number)) + bytes((flag,)) * OCTETS[number][0]
        for number in algorithms
        for flag in (0, 1)
    ]
    content = [RRset(APEX, SOA, 60, pack([bytes(SOA_OCTETS)])), RRset(APEX, DNSKEY, 60, pack(keys))]
    content.append(RRset(OWNER, 1, 60, pack([bytes(4)])))
    denial = [RRset(owner, NSEC, 60, pack([bytes(NSEC_OCTETS)])) for owner in (APEX, OWNER)]
    sets = [(APEX, SOA), (APEX, DNSKEY), (OWNER, 1), (APEX, NSEC), (OWNER, NSEC)]
    packed = pack([signature(number) for number in algorithms])
    signed = [Rrsigs(owner, covered, 60, packed) for owner, covered in sets]

    def rows(found: list[Any]) -> Any:
        def scan(start: bytes = b"", stop: bytes | None = None) -> Iterator[Any]:
            yield from found

        return scan

    made = SimpleNamespace(
        origin=ORIGIN, scan=rows(content), denial_scan=rows(denial), rrsig_scan=rows(signed)
    )
    return cast(ZoneView, made)


def test_the_dnskey_answer_is_counted() -> None:
    found = forecast_sizes(view(13), 18)
    head, rr, rrsig = 23 + len(ORIGIN) + 4, 12, 12 + 18 + len(ORIGIN)
    assert found.now.dnskey == head + 2 * (rr + 68) + rrsig + 64
    assert found.after.dnskey == head + 2 * (rr + 1_316) + rrsig + 2_420
    assert found.during.dnskey == found.after.dnskey + 2 * (rr + 68) + rrsig + 64


def test_signatures_and_transfers_are_counted() -> None:
    found = forecast_sizes(view(13), 18)
    assert [stage.signatures for stage in (found.now, found.during, found.after)] == [5, 10, 5]
    assert found.after.signature_octets == 5 * 2_420
    grown = found.after.transfer - found.now.transfer
    assert grown == 5 * (2_420 - 64) + 2 * (1_312 - 64)
    assert found.during.transfer > found.after.transfer > found.now.transfer


@pytest.mark.parametrize("algorithm", OCTETS)
def test_the_same_algorithm_changes_nothing(algorithm: int) -> None:
    found = forecast_sizes(view(algorithm), algorithm)
    assert found.now == found.after


def test_in_the_middle_of_a_rollover_one_is_left() -> None:
    found = forecast_sizes(view(13, 15), 18)
    assert (found.now.signatures, found.during.signatures, found.after.signatures) == (10, 15, 5)


def test_an_unknown_algorithm() -> None:
    with pytest.raises(KeyError):
        forecast_sizes(view(13), 5)
