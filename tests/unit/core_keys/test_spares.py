"""Spare keys are used before one is made; with keys = "given" none is ever made. And the standby ZSK."""

import pytest

from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.evidence import SpareKey
from dnssecd.core.keys.keyset import mark_of, signing_view
from dnssecd.core.keys.keystate import Goal, Rec, Role, State
from dnssecd.core.keys.types import GenerateKey, KeySpec, UseSpare
from dnssecd.replacing import replace
from tests.unit.core_keys.bench import key_ids

from .bench import DAY, HOUR, Bench, policy, running


def spare(name: str, role: Role = Role.ZSK, created: int = 5, **changes: object) -> SpareKey:
    public = name.encode().ljust(64, b".")
    return replace(SpareKey(name, role, 13, 0, "local", public, created), **changes)  # type: ignore[arg-type]


def rolling(*spares: SpareKey, role: Role = Role.ZSK, **kwargs: object) -> Bench:
    bench = running(**kwargs)  # type: ignore[arg-type]
    bench.evidence = replace(bench.evidence, spares=spares)
    bench.keyset = commands.roll_over(bench.keyset, role)
    bench.step()
    return bench


def made(bench: Bench) -> list[str]:
    return [effect.role.value for effect in bench.effects if isinstance(effect, GenerateKey)]


def test_a_rollover_uses_the_oldest_spare_key_and_makes_none() -> None:
    bench = rolling(spare("young", created=9), spare("old", created=3), spare("middle"))
    assert bench.key(Role.ZSK).key_id == "old"
    assert made(bench) == []
    assert [effect.ref for effect in bench.effects if isinstance(effect, UseSpare)] == ["old"]
    bench.settle()
    assert key_ids(signing_view(bench.keyset).zone_keys) == ("old",)


@pytest.mark.parametrize(
    "other",
    [
        spare("x", role=Role.KSK),
        spare("x", algorithm=15, public_key=b"x" * 32),
        spare("x", keystore="hsm"),
    ],
    ids=["role", "algorithm", "key store"],
)
def test_a_spare_key_of_another_kind_is_left_alone(other: SpareKey) -> None:
    bench = rolling(other)
    assert bench.key(Role.ZSK).key_id != "x"
    assert made(bench) == ["zsk"]


def test_a_spare_rsa_key_has_the_size_that_the_policy_wants() -> None:
    specs = (KeySpec(Role.KSK, 8, bits=2048), KeySpec(Role.ZSK, 8, bits=2048))
    small = spare("small", algorithm=8, bits=1024, public_key=b"s" * 130, created=1)
    fits = spare("fits", algorithm=8, bits=2048, public_key=b"f" * 260, created=2)
    bench = rolling(small, fits, specs=specs)
    assert bench.key(Role.ZSK).key_id == "fits"


def test_a_key_that_left_the_zone_never_comes_back() -> None:
    """It is restored from a backup, say, under the same or another id."""
    bench = running()
    old = bench.key(Role.ZSK)
    bench.keyset = commands.roll_over(bench.keyset, Role.ZSK)
    bench.settle()
    assert bench.keyset.find(old.ref) is None
    assert mark_of(old.algorithm, old.public_key) in bench.keyset.past
    back = spare("restored", public_key=old.public_key, created=1)
    bench.evidence = replace(bench.evidence, spares=(back,))
    bench.keyset = commands.roll_over(bench.keyset, Role.ZSK)
    bench.effects.clear()
    bench.step()
    assert made(bench) == ["zsk"]


def test_a_spare_key_with_a_tag_that_is_taken_is_left_alone() -> None:
    bench = running()
    double = spare("double", public_key=bench.key(Role.ZSK).public_key)
    bench.evidence = replace(bench.evidence, spares=(double,))
    bench.keyset = commands.roll_over(bench.keyset, Role.ZSK)
    bench.step()
    assert bench.key(Role.ZSK).key_id != "double"


def test_given_keys_are_waited_for_and_never_made() -> None:
    bench = rolling(role=Role.KSK, given=False)
    assert made(bench) == ["ksk"], "the bench makes keys"
    bench = running()
    bench.policy = policy(given=True)
    first = bench.key(Role.KSK)
    bench.keyset = commands.roll_over(bench.keyset, Role.KSK)
    bench.settle()
    assert made(bench) == []
    assert bench.key(Role.KSK).ref == first.ref, "the key in use stays in use"
    plan = bench.step()
    (blocker,) = [blocker for blocker in plan.blockers if blocker.rule == "keys-given"]
    assert blocker.missing[0].wanted == "a ksk of algorithm 13 in key store local"
    assert plan.next_wake is not None
    assert plan.next_wake <= bench.now + HOUR
    bench.evidence = replace(bench.evidence, spares=(spare("from the ceremony", role=Role.KSK),))
    bench.settle()
    assert bench.key(Role.KSK).key_id == "from the ceremony"
    assert "keys-given" not in bench.rules()


def test_a_standby_zsk_is_published_and_signs_nothing() -> None:
    bench = running(standby_zsk=True)
    bench.settle()
    key = bench.key(Role.ZSK, Goal.STANDBY)
    assert bench.state(key, Rec.DNSKEY) is State.OMNIPRESENT
    assert bench.state(key, Rec.ZRRSIG) is State.HIDDEN
    assert key.rdata in signing_view(bench.keyset).dnskey_rdatas
    assert key_ids(signing_view(bench.keyset).zone_keys) == (bench.key(Role.ZSK).key_id,)


def test_a_standby_zsk_takes_over_at_once_and_gets_a_successor() -> None:
    bench = running(standby_zsk=True)
    bench.settle()
    old, standby = bench.key(Role.ZSK), bench.key(Role.ZSK, Goal.STANDBY)
    bench.keyset = commands.compromised(bench.keyset, old.ref)
    bench.step()
    view = signing_view(bench.keyset)
    assert key_ids(view.zone_keys) == (standby.key_id,), "in the first version"
    assert view.urgent
    bench.wait(2 * DAY)
    bench.settle()
    assert bench.keyset.find(old.ref) is None
    assert bench.key(Role.ZSK).ref == standby.ref
    assert bench.state(bench.key(Role.ZSK, Goal.STANDBY), Rec.DNSKEY) is State.OMNIPRESENT


def test_a_standby_zsk_goes_when_it_is_no_longer_wanted() -> None:
    bench = running(standby_zsk=True)
    bench.settle()
    bench.policy = policy()
    bench.settle()
    assert sorted(key.role for key in bench.keyset.keys) == [Role.KSK, Role.ZSK]


def test_a_lost_zsk_that_replaced_some_signatures_gets_a_new_successor() -> None:
    """The key before it made the rest of them: the two together leave no gap, and no rule sees that."""
    bench = running()
    old = bench.key(Role.ZSK)
    bench.policy = policy(specs=(KeySpec(Role.KSK, 13), KeySpec(Role.ZSK, 13, "hsm")))
    bench.step()
    for _ in range(20):
        if bench.state(old, Rec.ZRRSIG) is not State.UNRETENTIVE:
            bench.wait(HOUR)
            bench.secondaries_follow()
            bench.step()
    assert bench.state(old, Rec.ZRRSIG) is State.UNRETENTIVE
    bench.keyset = commands.lost(bench.keyset, bench.key(Role.ZSK).ref)
    bench.policy = policy()
    bench.effects.clear()
    bench.step()
    assert made(bench) == ["zsk"]
    left = bench.keyset.find(old.ref)
    assert left is not None
    assert left.goal is Goal.ABSENT
