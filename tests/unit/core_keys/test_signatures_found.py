"""Keys of a zone restored from an older backup may have signed the zone since: their DNSKEYs stay for a while."""

from __future__ import annotations

import pytest

from dnssecd.core.keys.keyset import Key, Keyset, new_key
from dnssecd.core.keys.keystate import Rec, RecordState, Role, State
from dnssecd.core.keys.requests import signatures_found
from dnssecd.replacing import replace

NOW = 1_900_000_000
APEX = b"\x04test\x00"


def zsk(dnskey: State, zrrsig: State, *, foreign: bool = False) -> Key:
    key = new_key("key1", Role.ZSK, 13, bytes(64), "local", 1)
    records = RecordState(dnskey, 1, 1, 1), RecordState(zrrsig, 1, 1, 1)
    return replace(key, dnskey=records[0], zrrsig=records[1], signer="other" if foreign else "")


@pytest.mark.parametrize("dnskey", list(State))
@pytest.mark.parametrize("zrrsig", list(State))
def test_published_keys_that_sign_nothing_may_have_signed(dnskey: State, zrrsig: State) -> None:
    keyset = Keyset(APEX, (zsk(dnskey, zrrsig),))
    found = signatures_found(keyset, NOW)
    published = dnskey in (State.RUMOURED, State.OMNIPRESENT)
    if published and zrrsig is State.HIDDEN:
        record = found.keys[0].record(Rec.ZRRSIG)
        assert (record.state, record.changed, record.step_in) == (State.UNRETENTIVE, NOW, 0)
        assert found.keys[0].dnskey == keyset.keys[0].dnskey
    else:
        assert found == keyset


def test_of_other_signers_and_ksks_nothing_is_assumed() -> None:
    ksk = replace(zsk(State.OMNIPRESENT, State.HIDDEN), role=Role.KSK)
    other = zsk(State.OMNIPRESENT, State.HIDDEN, foreign=True)
    assert other.foreign
    for key in (ksk, other):
        assert signatures_found(Keyset(APEX, (key,)), NOW) == Keyset(APEX, (key,))
