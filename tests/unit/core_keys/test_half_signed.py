"""A ZSK is lost that had not signed all zone data yet, before the parent has a DS: its successor signs first."""

import pytest

from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.evidence import SignatureCount
from dnssecd.core.keys.keyset import Key, Keyset
from dnssecd.core.keys.keystate import HIDDEN, Event, Goal, Rec, Role, State, advance
from dnssecd.core.keys.lost import half_signed
from dnssecd.replacing import replace

from .bench import running

WAITS = "is lost and had not signed all zone data: its successor signs first"


def key_of(keyset: Keyset, role: Role) -> Key:
    return next(key for key in keyset.keys if key.role is role)


def unsecured() -> Keyset:
    """Return the keys of a zone that no validator depends on; its ZSK is lost."""
    keyset = running().keyset
    ksk = key_of(keyset, Role.KSK)
    keyset = keyset.with_key(ksk.with_record(Rec.DS, HIDDEN))
    return commands.lost(keyset, key_of(keyset, Role.ZSK).ref)


def moved(keyset: Keyset, rec: Rec, event: Event) -> Keyset:
    """Return the key set with a step of the ZSK that needs a new version."""
    zsk = key_of(keyset, Role.ZSK)
    record = advance(zsk.record(rec), event, keyset.step + 1, 1)
    return keyset.with_key(zsk.with_record(rec, record))


@pytest.mark.parametrize("missing", [0, 1])
def test_a_step_waits_where_the_lost_key_left_data_unsigned(missing: int) -> None:
    before = unsecured()
    ksk = key_of(before, Role.KSK)
    after = before.with_key(replace(ksk.with_record(Rec.DNSKEY, HIDDEN), goal=Goal.ABSENT))
    counts = [SignatureCount(key_of(before, Role.ZSK).ref, 5, missing)]
    assert bool(half_signed(before, after, counts)) is bool(missing)
    if missing:
        assert WAITS in half_signed(before, after, counts)


def test_the_step_to_its_successor_does_not_wait() -> None:
    before = unsecured()
    after = moved(before, Rec.ZRRSIG, Event.WITHDRAW)
    assert key_of(after, Role.ZSK).zrrsig.state is State.UNRETENTIVE
    assert not half_signed(before, after, [SignatureCount(key_of(before, Role.ZSK).ref, 5, 1)])


def test_a_step_that_needs_no_version_does_not_wait() -> None:
    before = unsecured()
    after = replace(before, trust_after=7)
    assert not half_signed(before, after, [SignatureCount(key_of(before, Role.ZSK).ref, 5, 1)])


def test_where_a_validator_depends_on_the_zone_other_rules_decide() -> None:
    secured = running().keyset
    before = commands.lost(secured, key_of(secured, Role.ZSK).ref)
    ksk = key_of(before, Role.KSK)
    after = before.with_key(ksk.with_record(Rec.DNSKEY, HIDDEN))
    assert not half_signed(before, after, [SignatureCount(key_of(before, Role.ZSK).ref, 5, 1)])
