"""What one server answers, judged as a validator does: each fault is found, and no healthy answer is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dnssecd.core.dns.rrset import RRset, Rrsigs, pack
from dnssecd.core.verify.served import ServedApex, judge_served
from tests.unit.core_verify import naive
from tests.unit.core_verify.naive import DNSKEY, KSK, NOW, ORIGIN, ZSK, Key
from tests.unit.core_verify.test_delegation import STRANGER, ds, twins

SOA = 6
SOA_RDATA = b"\0\0" + (1).to_bytes(4) * 5
DNSKEYS = RRset(b"", DNSKEY, 3600, pack([KSK.rdata, ZSK.rdata]))
SOAS = RRset(b"", SOA, 3600, pack([SOA_RDATA]))


def signed(rrset: RRset, *keys: Key, since: int = -3600, until: int = 86_400) -> Rrsigs:
    made = [naive.sign_one(rrset, key, NOW + since, NOW + until) for key in keys]
    return Rrsigs(b"", rrset.rtype, rrset.ttl, pack(made))


GOOD = ServedApex(DNSKEYS, signed(DNSKEYS, KSK), SOAS, signed(SOAS, ZSK))


def test_a_good_answer_is_trusted() -> None:
    assert judge_served(ORIGIN, [ds(KSK)], GOOD, NOW) == ""
    assert judge_served(ORIGIN, [ds(STRANGER), ds(KSK)], GOOD, NOW) == "", (
        "one DS that leads to a key is enough"
    )


def test_a_good_signature_beside_a_bad_one_is_enough() -> None:
    old = signed(DNSKEYS, KSK, since=-90_000, until=-60)
    both = Rrsigs(b"", DNSKEY, 3600, old.rdata + signed(DNSKEYS, KSK).rdata)
    assert judge_served(ORIGIN, [ds(KSK)], GOOD._replace(dnskey_sigs=both), NOW) == ""


@pytest.mark.parametrize(
    "given", [[], [ds(KSK, 250)], [ds(KSK, algorithm=250)]], ids=["none", "digest", "algorithm"]
)
def test_without_a_usable_ds_the_zone_is_insecure_and_nothing_is_wrong(given: list[bytes]) -> None:
    nothing = ServedApex(None, None, None, None)
    assert judge_served(ORIGIN, given, nothing, NOW) == ""


def tampered() -> ServedApex:
    other = RRset(b"", SOA, 3600, pack([SOA_RDATA[:-1] + b"\x02"]))
    return GOOD._replace(soa=other)


FAULTS: dict[str, tuple[Callable[[], ServedApex], str]] = {
    "unsigned keys": (
        lambda: GOOD._replace(dnskey_sigs=None),
        "DNSKEY RRset does not validate: it is not signed",
    ),
    "unsigned soa": (lambda: GOOD._replace(soa_sigs=None), "SOA does not validate: it is not signed"),
    "no keys": (lambda: GOOD._replace(dnskey=None), "no DNSKEY RRset"),
    "no soa": (lambda: GOOD._replace(soa=None), "no SOA"),
    "expired": (
        lambda: GOOD._replace(soa_sigs=signed(SOAS, ZSK, since=-90_000, until=-60)),
        "SOA does not validate: an RRSIG has expired",
    ),
    "early": (
        lambda: GOOD._replace(soa_sigs=signed(SOAS, ZSK, since=60)),
        "SOA does not validate: an RRSIG is not valid yet",
    ),
    "stranger": (lambda: GOOD._replace(soa_sigs=signed(SOAS, STRANGER)), "names a key that is not"),
    "changed": (tampered, "SOA does not validate: a signature does not verify"),
    "zsk signs keys": (
        lambda: GOOD._replace(dnskey_sigs=signed(DNSKEYS, ZSK)),
        "no DS at the parent is of a key that signs",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found(name: str) -> None:
    make, words = FAULTS[name]
    assert words in judge_served(ORIGIN, [ds(KSK)], make(), NOW)


def test_a_ds_of_another_key_is_found() -> None:
    assert "no DS at the parent" in judge_served(ORIGIN, [ds(STRANGER)], GOOD, NOW)
    assert "no DS at the parent" in judge_served(ORIGIN, [ds(KSK, bad=True)], GOOD, NOW)


def test_the_text_of_a_fault_has_no_times() -> None:
    """The event's cause changes only when the fault does."""
    expired = GOOD._replace(soa_sigs=signed(SOAS, ZSK, since=-90_000, until=-60))
    assert judge_served(ORIGIN, [ds(KSK)], expired, NOW) == judge_served(ORIGIN, [ds(KSK)], expired, NOW + 7)


def test_a_ds_of_a_key_that_only_shares_the_tag_is_found() -> None:
    anchored, forger = twins()
    keys = RRset(b"", DNSKEY, 3600, pack(sorted([anchored.rdata, forger.rdata, ZSK.rdata])))
    answer = GOOD._replace(dnskey=keys, dnskey_sigs=signed(keys, forger))
    assert "no DS at the parent" in judge_served(ORIGIN, [ds(anchored)], answer, NOW)
    assert judge_served(ORIGIN, [ds(forger)], answer, NOW) == ""
