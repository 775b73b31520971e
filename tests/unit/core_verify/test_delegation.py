"""What joins a zone to its parent: revoked keys never serve, DS by digest type, CDS and CDNSKEY together."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest

from dnssecd.core.dns.rrset import pack, unpack
from dnssecd.core.verify import (
    Expectation,
    MemoryZoneView,
    Rank,
    VerificationFailed,
    Violation,
    verify_given,
    verify_zone,
)
from dnssecd.core.verify.keys import key_tag
from tests.unit.core_verify import naive
from tests.unit.core_verify.naive import DNSKEY, KSK, NOW, ORIGIN, ZSK, Key, Naive

CDS, CDNSKEY = 59, 60
REVOKED = Key(1, 257 | 0x80)
STRANGER = Key(7, 257)
SECOND = Key(8, 257)
DELETE_CDS, DELETE_CDNSKEY = bytes(5), b"\0\0\3\0\0"


def ds(key: Key, kind: int = 2, *, bad: bool = False, algorithm: int = 15) -> bytes:
    digests = {1: hashlib.sha1, 2: hashlib.sha256, 4: hashlib.sha384}
    digest = digests[kind](ORIGIN + key.rdata).digest() if kind in digests else bytes(32)
    if bad:
        digest = digest[:-1] + bytes((digest[-1] ^ 1,))
    return key.tag.to_bytes(2, "big") + bytes((algorithm, kind)) + digest


def zone(
    keys: Sequence[Key] = (KSK, ZSK),
    signing: Sequence[Key] = (KSK,),
    cds: Sequence[bytes] = (),
    cdnskey: Sequence[bytes] = (),
    cds_by: Sequence[Key] = (KSK,),
    expired: Sequence[Key] = (),
) -> MemoryZoneView:
    """A zone whose DNSKEY RRset is signed by ``signing`` (by ``expired`` in the past), CDS by ``cds_by``."""
    content = naive.example_content()
    for rtype, rdatas in ((CDS, cds), (CDNSKEY, cdnskey)):
        if rdatas:
            content[b"", rtype] = (3600, frozenset(rdatas))
    view = Naive(keys=tuple(keys)).sign(content)
    rrsigs = {sigs[:2]: sigs for sigs in view.rrsig_scan()}

    def sign(rtype: int, by: Sequence[Key]) -> None:
        rrset = view.rrset(b"", rtype)
        if rrset is not None:
            made = [naive.sign_one(rrset, key, NOW - 3600, NOW + 86400) for key in by]
            made += [naive.sign_one(rrset, key, NOW - 90000, NOW - 60) for key in expired if rtype == DNSKEY]
            rrsigs[b"", rtype] = naive.Rrsigs(b"", rtype, rrset.ttl, pack(made))

    sign(DNSKEY, signing)
    sign(CDS, cds_by)
    sign(CDNSKEY, cds_by)
    return MemoryZoneView(ORIGIN, view.scan(), view.denial_scan(), rrsigs.values())


def judged(view: MemoryZoneView, *given: bytes) -> list[Violation]:
    return verify_zone(view, Expectation(ORIGIN, NOW, ds=given))


def codes(found: Sequence[Violation]) -> set[tuple[str, str]]:
    return {(one.code, str(one.rank)) for one in found}


# Revoked keys


def test_a_revoked_key_signs_the_dnskey_rrset_for_no_other() -> None:
    found = judged(zone(keys=(REVOKED, ZSK), signing=(REVOKED,)))
    assert {"ksk-missing", "algorithm-missing"} <= {one.code for one in found}
    assert {one.rank for one in found} == {Rank.BOGUS}


def test_no_ds_leads_to_a_revoked_key() -> None:
    view = zone(keys=(REVOKED, KSK, ZSK), signing=(REVOKED, KSK))
    assert judged(view, ds(KSK)) == [], "a revoked key beside the one that serves is RFC 5011's way"
    assert codes(judged(view, ds(REVOKED))) == {("ds-mismatch", "bogus")}


def test_a_zsk_that_signs_the_dnskey_rrset_does_for_a_ds_but_not_beside_a_revoked_target() -> None:
    view = zone(keys=(REVOKED, ZSK), signing=(REVOKED, ZSK))
    assert judged(view, ds(ZSK)) == []
    assert codes(judged(view, ds(REVOKED))) == {("ds-mismatch", "bogus")}


def test_no_cds_stands_for_a_revoked_key() -> None:
    view = zone((REVOKED, KSK, ZSK), (REVOKED, KSK), [ds(REVOKED)], [REVOKED.rdata])
    assert {"cds-mismatch", "cdnskey-mismatch"} <= {
        one.code for one in judged(view) if one.rank is Rank.BOGUS
    }


# DS


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([ds(KSK, 1)], set()),
        ([ds(KSK, 1), ds(KSK, 2)], set()),
        ([ds(KSK, 1), ds(KSK, 2, bad=True)], {("ds-mismatch", "bogus")}),
        ([ds(KSK, 1), ds(KSK, 4, bad=True)], {("ds-mismatch", "bogus")}),
        ([ds(KSK, 1, bad=True), ds(KSK, 2)], set()),
        ([ds(KSK, 2), ds(KSK, 4)], set()),
        ([ds(KSK, 2), ds(KSK, 4, bad=True)], {("ds-mismatch", "bogus")}),
        ([ds(KSK, 2, bad=True), ds(KSK, 4)], {("ds-mismatch", "bogus")}),
        ([ds(KSK, 2), ds(STRANGER, 2)], set()),
        ([ds(STRANGER, 2)], {("ds-mismatch", "bogus")}),
        ([ds(KSK, 1), ds(STRANGER, 2)], {("ds-mismatch", "bogus")}),
        ([ds(KSK, 2), ds(STRANGER, 2, algorithm=13)], {("ds-mismatch", "bogus")}),
        ([ds(KSK, 1), ds(STRANGER, 99)], set()),
        ([ds(KSK, 99)], {("ds-insecure", "advice")}),
        ([ds(KSK, 2, algorithm=200)], {("ds-insecure", "advice")}),
        ([ds(KSK, 2), ds(KSK, 2, algorithm=200), ds(KSK, 3)], set()),
    ],
)
def test_each_digest_type_has_to_lead_to_a_key(given: list[bytes], wanted: set[tuple[str, str]]) -> None:
    assert codes(judged(zone(), *given)) == wanted


# Who signs


def test_an_expired_rrsig_of_the_ksk_is_reported_once() -> None:
    found = judged(zone(signing=(), expired=(KSK,)), ds(KSK))
    assert codes(found) == {("rrsig-expired", "bogus")}


def test_an_expired_rrsig_of_the_ksk_is_not_made_up_for_by_the_zsk() -> None:
    assert ("rrsig-expired", "bogus") in codes(judged(zone(signing=(ZSK,), expired=(KSK,))))


def test_an_expired_rrsig_beside_a_good_one_is_advice() -> None:
    view = zone()
    mail = view.rrset(naive.key("mail"), 1)
    assert mail is not None
    both = [naive.sign_one(mail, ZSK, NOW - 3600, NOW + 60), naive.sign_one(mail, ZSK, NOW - 9000, NOW - 60)]
    rrsigs = {sigs[:2]: sigs for sigs in view.rrsig_scan()}
    rrsigs[mail[:2]] = naive.Rrsigs(*mail[:3], pack(both))
    view = MemoryZoneView(ORIGIN, view.scan(), view.denial_scan(), rrsigs.values())
    assert codes(judged(view)) == {("rrsig-expired", "advice")}


def test_a_sep_key_has_to_sign_where_the_ds_is_not_known() -> None:
    assert codes(judged(zone(signing=(ZSK,)))) == {("ksk-missing", "bogus")}
    assert judged(zone(signing=(ZSK,)), ds(ZSK)) == []


def test_one_key_without_sep_flag_does_it_all() -> None:
    view = zone(keys=(ZSK,), signing=(ZSK,))
    assert judged(view) == []
    assert judged(view, ds(ZSK)) == []


# CDS and CDNSKEY


def test_cds_and_cdnskey_of_the_key_that_signs() -> None:
    view = zone(cds=[ds(KSK), ds(KSK, 4)], cdnskey=[KSK.rdata])
    assert judged(view) == judged(view, ds(KSK)) == []


def test_the_delete_forms_together() -> None:
    assert judged(zone(cds=[DELETE_CDS], cdnskey=[DELETE_CDNSKEY])) == []


@pytest.mark.parametrize(
    ("cds", "cdnskey", "wanted"),
    [
        ([ds(KSK)], [], {("cds-alone", "advice")}),
        ([], [KSK.rdata], {("cds-alone", "advice")}),
        ([ds(KSK), ds(SECOND)], [KSK.rdata], {("cds-cdnskey-differ", "bogus")}),
        ([ds(KSK)], [KSK.rdata, SECOND.rdata], {("cds-cdnskey-differ", "bogus")}),
        ([ds(SECOND)], [SECOND.rdata], {("cds-continuity", "bogus")}),
        ([ds(KSK), ds(SECOND)], [KSK.rdata, SECOND.rdata], set()),
        ([ds(KSK), ds(SECOND, 4)], [KSK.rdata, SECOND.rdata], {("cds-continuity", "bogus")}),
        ([ds(ZSK)], [ZSK.rdata], {("cds-continuity", "bogus")}),
        ([ds(KSK, 99)], [KSK.rdata], {("cds-continuity", "violation")}),
        ([ds(STRANGER)], [STRANGER.rdata], {("cds-mismatch", "bogus"), ("cdnskey-mismatch", "bogus")}),
        (
            [ds(KSK), ds(STRANGER)],
            [KSK.rdata, STRANGER.rdata],
            {("cds-mismatch", "advice"), ("cdnskey-mismatch", "advice")},
        ),
        ([DELETE_CDS], [KSK.rdata], {("cds-cdnskey-differ", "bogus")}),
        ([ds(KSK)], [DELETE_CDNSKEY], {("cds-cdnskey-differ", "bogus")}),
        ([bytes(4) + b"\1"], [DELETE_CDNSKEY], {("cds-delete-form", "bogus")}),
        ([bytes(4)], [DELETE_CDNSKEY], {("cds-delete-form", "bogus")}),
        ([bytes(6)], [DELETE_CDNSKEY], {("cds-delete-form", "bogus")}),
        ([b"\0\1\0\0\0"], [DELETE_CDNSKEY], {("cds-delete-form", "bogus")}),
        ([DELETE_CDS], [b"\0\0\3\0\4"], {("cds-delete-form", "bogus")}),
        ([DELETE_CDS], [b"\1\1\3\0\0"], {("cds-delete-form", "bogus")}),
        ([DELETE_CDS, ds(KSK)], [DELETE_CDNSKEY], {("cds-delete-mixed", "bogus")}),
    ],
)
def test_cds_and_cdnskey_are_judged_together(
    cds: list[bytes], cdnskey: list[bytes], wanted: set[tuple[str, str]]
) -> None:
    assert codes(judged(zone((KSK, SECOND, ZSK), (KSK,), cds, cdnskey))) == wanted


def test_who_signs_cds() -> None:
    view = zone(cds=[ds(KSK)], cdnskey=[KSK.rdata], cds_by=(ZSK,))
    assert codes(judged(view)) == codes(judged(view, ds(KSK))) == {("cds-signer", "violation")}
    view = zone((KSK, SECOND, ZSK), (KSK, SECOND), [ds(KSK)], [KSK.rdata], (SECOND,))
    assert judged(view) == []
    assert codes(judged(view, ds(KSK))) == {("cds-signer", "violation")}


def test_the_gate_takes_a_standby_key_and_nothing_else_that_is_not_published() -> None:
    view = zone(cds=[ds(KSK), ds(STRANGER)], cdnskey=[KSK.rdata, STRANGER.rdata])
    wanted = Expectation(ORIGIN, NOW, standby_keys=(STRANGER.rdata,))
    assert verify_zone(view, wanted) == []


# Keys that share a tag


def twins() -> tuple[Key, Key]:
    """Two KSKs of one algorithm with the same tag: for any given key one is found among 65,536."""
    seen: dict[int, Key] = {}
    for seed in range(100, 2_000):
        key = Key(seed, 257)
        if key.tag in seen:
            return seen[key.tag], key
        seen[key.tag] = key
    raise AssertionError("no two keys with one tag")


def test_a_ds_leads_to_the_key_that_signs_and_not_to_another_with_its_tag() -> None:
    """Else an attacker could sign any zone with a key that has the anchor's tag, beside the anchor's DNSKEY."""
    anchored, forger = twins()
    view = zone(keys=(anchored, forger), signing=(forger,))
    assert codes(judged(view, ds(anchored))) == {("ds-mismatch", "bogus")}
    assert judged(view, ds(forger)) == []
    assert judged(zone(keys=(anchored, forger), signing=(forger, anchored)), ds(anchored)) == []
    cds = {"cds": [ds(anchored)], "cdnskey": [anchored.rdata]}
    view = zone((anchored, forger), (anchored,), **cds, cds_by=(forger,))
    assert ("cds-signer", "violation") in codes(judged(view, ds(anchored)))
    assert judged(zone((anchored, forger), (anchored,), **cds, cds_by=(anchored,)), ds(anchored)) == []
    assert "rrsig-bad" in {one.code for one in judged(spoiled(view), ds(anchored))}


def spoiled(view: MemoryZoneView) -> MemoryZoneView:
    """Return the zone with damaged RRSIGs over the DNSKEY RRset."""
    sigs = [s._replace(rdata=s.rdata[:-1] + b"\xff") if s.covered == DNSKEY else s for s in view.rrsig_scan()]
    return MemoryZoneView(ORIGIN, view.scan(), view.denial_scan(), sigs)


# Zones that cannot be checked here


def of_algorithm(view: MemoryZoneView, number: int) -> MemoryZoneView:
    """Return the zone as a signer with an algorithm that is not known here would have signed it."""
    tags: dict[int, int] = {}
    content, sigs = [], []
    for rrset in view.scan():
        if rrset.rtype == DNSKEY:
            made = [rdata[:3] + bytes((number,)) + rdata[4:] for rdata in unpack(rrset.rdata)]
            tags |= dict(zip(map(key_tag, unpack(rrset.rdata)), map(key_tag, made), strict=True))
            rrset = rrset._replace(rdata=pack(sorted(made)))
        content.append(rrset)
    for each in view.rrsig_scan():
        made = [
            rdata[:2]
            + bytes((number,))
            + rdata[3:16]
            + tags[int.from_bytes(rdata[16:18])].to_bytes(2)
            + rdata[18:]
            for rdata in unpack(each.rdata)
        ]
        sigs.append(each._replace(rdata=pack(sorted(made))))
    return MemoryZoneView(ORIGIN, content, view.denial_scan(), sigs)


@pytest.mark.parametrize("given", [[], [ds(KSK, algorithm=12)], [ds(KSK, 250)]])
def test_a_zone_that_cannot_be_checked_here_is_refused_where_it_must_be(given: list[bytes]) -> None:
    view = zone() if given == [ds(KSK, 250)] else of_algorithm(zone(), 12)
    known = Expectation(ORIGIN, NOW, ds=tuple(given), checkable=True)
    assert all(one.rank is not Rank.BOGUS for one in judged(view, *given)), "for validators it is insecure"
    verdict, _ = verify_given(view, known, object(), 0, limit=100)
    assert isinstance(verdict, VerificationFailed)
    verdict, _ = verify_given(
        zone(), Expectation(ORIGIN, NOW, ds=(ds(KSK),), checkable=True), object(), 0, limit=100
    )
    assert not isinstance(verdict, VerificationFailed)


def test_a_zonemd_that_is_required_must_be_one_that_can_be_checked() -> None:
    """Two ZONEMD RRs with one scheme and hash algorithm both count as none (RFC 8976 §2)."""
    content = naive.example_content()
    serial = (1).to_bytes(4)
    content[b"", 63] = (3600, frozenset(serial + b"\1\1" + bytes((octet,)) * 48 for octet in (1, 2)))
    view = Naive(keys=(KSK, ZSK)).sign(content)
    for required, wanted in ((True, {"zonemd-repeated", "zonemd-missing"}), (None, {"zonemd-repeated"})):
        found = verify_zone(view, Expectation(ORIGIN, NOW, zonemd=required))
        assert {one.code for one in found} == wanted
        assert any(one.rank is Rank.BOGUS for one in found) is bool(required)
