"""The security of a zone in one word, from its keys and what the parent serves."""

from __future__ import annotations

import pytest

from dnssecd.core.keys.evidence import ParentSight
from dnssecd.core.keys.keyset import Keyset, ds_rdata
from dnssecd.core.keys.keystate import Event, Rec, State
from dnssecd.core.keys.types import Blocker, Gate, Missing
from dnssecd.core.parent.handover import handover_of
from dnssecd.core.parent.security import Security, Word, security_of
from dnssecd.replacing import replace
from tests.unit.core_parent import keysets
from tests.unit.core_parent.keysets import APEX, NOW, ZONE

OURS = ds_rdata(APEX, keysets.key(1).rdata)
NEXT = ds_rdata(APEX, keysets.key(2).rdata)
STRANGE = ds_rdata(APEX, keysets.key(5).rdata)
TAG = keysets.key(1).tag


def sight(*ds: bytes, name: str = "a") -> ParentSight:
    return ParentSight(name, ds, 60, NOW)


def look(
    keyset: Keyset,
    *sights: ParentSight,
    blockers: tuple[Blocker, ...] = (),
    alone: bool = False,
    bogus: str = "",
) -> Security:
    return security_of(keyset, handover_of(ZONE, keyset), sights, blockers, alone=alone, bogus=bogus)


def until(when: int | None, *missing: Missing) -> Blocker:
    return Blocker(
        Gate.TIME,
        "dnskey-settles",
        "",
        tag=TAG,
        rec=Rec.DNSKEY,
        event=Event.SETTLE,
        until=when,
        missing=missing,
    )


@pytest.mark.parametrize(
    ("keyset", "sights", "word"),
    [
        (keysets.in_place(), (), Word.UNKNOWN),
        (keysets.in_place(), (ParentSight("a"),), Word.UNKNOWN),
        (keysets.in_place(), (sight(),), Word.INSECURE),
        (keysets.in_place(), (sight(OURS),), Word.SECURE),
        (keysets.in_place(), (sight(OURS), sight(name="b")), Word.SECURE),
        (keysets.in_place(), (sight(OURS, STRANGE),), Word.SECURE),
        (keysets.in_place(), (sight(STRANGE),), Word.BOGUS),
        (keysets.in_place(), (sight(OURS), sight(STRANGE, name="b")), Word.BOGUS),
        (keysets.submit(), (sight(),), Word.DS_DUE),
        (keysets.fresh(), (sight(),), Word.DS_DUE),
        (keysets.replaced(), (sight(OURS),), Word.ROLLING),
    ],
)
def test_the_word(keyset: Keyset, sights: tuple[ParentSight, ...], word: Word) -> None:
    assert look(keyset, *sights).word is word


def test_answers_that_do_not_validate_are_bogus_in_any_case() -> None:
    seen_as = look(keysets.in_place(), sight(OURS), bogus="ns1: the SOA does not validate")
    assert (seen_as.word, seen_as.detail) == (Word.BOGUS, "ns1: the SOA does not validate")


def test_a_ds_of_an_unknown_digest_type_is_not_judged() -> None:
    odd = STRANGE[:3] + b"\xfa" + STRANGE[4:]
    assert look(keysets.in_place(), sight(odd)).word is Word.SECURE


def test_a_ds_is_due_when_the_last_of_its_key_s_waits_is_over() -> None:
    seen_as = look(keysets.fresh(), sight(), blockers=(until(NOW + 60), until(NOW + 3600)))
    assert seen_as.due_at == NOW + 3600


def test_no_time_is_shown_while_a_server_is_awaited() -> None:
    lagging = Missing("ns2", "serial 1", "serial 2")
    seen_as = look(keysets.fresh(), sight(), blockers=(until(NOW + 60), until(None, lagging)))
    assert (seen_as.word, seen_as.due_at) == (Word.DS_DUE, None)


def test_a_zone_without_parent_is_secure_once_its_trust_anchor_was_confirmed() -> None:
    assert look(keysets.fresh(), alone=True).word is Word.INSECURE
    assert look(keysets.in_place(), alone=True).word is Word.SECURE


def test_a_requested_rollover_is_rolling() -> None:
    keyset = keysets.in_place()
    asked = replace(keyset, keys=(replace(keyset.keys[0], roll=True), *keyset.keys[1:]))
    assert asked.keys[0].ds.state is State.OMNIPRESENT
    assert look(asked, sight(OURS)).word is Word.ROLLING
