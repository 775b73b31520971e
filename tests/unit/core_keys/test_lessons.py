"""How zones went dark through keys and time, replayed against the planner."""

import pytest

from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.keyset import KeysetError, add_key, new_key, signing_view
from dnssecd.core.keys.keystate import Rec, Role, State
from dnssecd.core.keys.types import GenerateKey
from tests.unit.core_keys.bench import key_ids

from .bench import DAY, HOUR, ksk_zsk, policy, running


def test_nz_2023_old_ksk_retired_while_its_ds_was_cached() -> None:
    bench = running()
    old = bench.key(Role.KSK)
    bench.keyset = commands.roll_over(bench.keyset, Role.KSK)
    bench.step()
    bench.secondaries_follow()
    bench.wait(2 * HOUR)
    bench.secondaries_follow()
    bench.now += 60
    bench.parent_serves(bench.key(Role.KSK), names=("a.parent",), ttl=HOUR)
    bench.parent_serves(bench.key(Role.KSK), names=("b.parent",), ttl=5 * DAY)
    bench.wait(5 * DAY)
    assert bench.state(old, Rec.DNSKEY) is State.OMNIPRESENT
    bench.wait(2 * HOUR)
    assert bench.state(old, Rec.DNSKEY) is State.UNRETENTIVE


def test_gov_2013_signed_with_one_algorithm_while_the_ds_named_two() -> None:
    bench = running(ksk_zsk(8))
    bench.policy = policy(ksk_zsk(13))
    for _ in range(50):
        bench.secondaries_follow()
        bench.parent_follows()
        bench.wait(6 * HOUR)
        view = signing_view(bench.keyset)
        named = {key.algorithm for key in bench.keyset.keys if key.ds.state is not State.HIDDEN}
        assert named <= {key.algorithm for key in view.zone_keys}
        assert named <= {key.algorithm for key in view.dnskey_keys}


def test_fj_2022_signed_with_a_key_the_parent_did_not_know() -> None:
    bench = running()
    old = bench.key(Role.KSK)
    bench.keyset = commands.compromised(bench.keyset, old.ref)
    bench.step()
    bench.secondaries_follow()
    bench.wait(400 * DAY)
    assert old.key_id in key_ids(signing_view(bench.keyset).dnskey_keys), (
        "the parent has not acted: the old key signs on"
    )


def test_ru_2024_key_tag_collision() -> None:
    bench = running()
    key = bench.key(Role.ZSK)
    moved = bytearray(key.public_key)
    moved[0], moved[2] = moved[2], moved[0]  # the tag is a sum: order does not count
    moved[5], moved[7] = moved[7], moved[5]
    clash = new_key("other", Role.ZSK, 13, bytes(moved), "local", bench.now)
    assert clash.tag == key.tag
    with pytest.raises(KeysetError, match="key tag"):
        add_key(bench.keyset, clash)
    bench.keyset = commands.roll_over(bench.keyset, Role.ZSK)
    bench.step()
    request = next(effect for effect in bench.effects if isinstance(effect, GenerateKey))
    with pytest.raises(KeysetError, match="key tag"):
        commands.generated(bench.keyset, request, "other", bytes(moved), bench.now)


def test_slack_2021_unsigned_while_the_ds_was_cached() -> None:
    bench = running()
    bench.policy = policy(signed=False)
    bench.step()
    bench.secondaries_follow()
    bench.now += 60
    bench.parent_serves(ttl=DAY)
    bench.wait(DAY)
    view = signing_view(bench.keyset)
    assert view.dnskey_rdatas
    assert view.zone_keys
    bench.wait(2 * HOUR)
    assert not signing_view(bench.keyset).dnskey_rdatas


def test_opendnssec_a_missing_key_is_no_reason_to_make_one() -> None:
    """Nothing the planner is told can make it ask for a second key beside one in use."""
    bench = running()
    bench.evidence = type(bench.evidence)()
    bench.wait(900 * DAY)
    assert not [effect for effect in bench.effects if isinstance(effect, GenerateKey)]
    assert len(bench.keyset.keys) == 2
