"""Keys are lost, the zone becomes insecure, and is to be signed again: a lost key does not come back for that."""

from collections.abc import Callable

import pytest

from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.keyset import signing_view
from dnssecd.core.keys.keystate import Goal, Rec, Role, State
from dnssecd.core.keys.planner import plan_rollover
from dnssecd.core.keys.types import GenerateKey, KeySpec, PublishDnskey, SignDnskeyWith, SignWith, SubmitDs
from dnssecd.replacing import replace

from .bench import DAY, HOUR, Bench, csk, ksk_zsk, running

COMES = (PublishDnskey, SignDnskeyWith, SignWith, SubmitDs)


def lose(bench: Bench, *roles: Role) -> None:
    for role in roles:
        bench.keyset = commands.lost(bench.keyset, bench.key(role).ref)


def insecure(bench: Bench) -> None:
    """Let the parent remove the DS, and validators forget it; then the signatures go."""
    bench.policy = replace(bench.policy, signed=False)
    bench.step()
    bench.parent_follows()
    bench.secondaries_follow()
    for _ in range(99):
        if not any(key.krrsig.visible or key.zrrsig.visible for key in bench.keyset.keys):
            return
        bench.wait(HOUR)
    raise AssertionError("the zone does not become insecure")


@pytest.mark.parametrize(
    ("kind", "roles"),
    [(csk, (Role.CSK,)), (ksk_zsk, (Role.KSK,)), (ksk_zsk, (Role.ZSK,)), (ksk_zsk, (Role.KSK, Role.ZSK))],
)
@pytest.mark.parametrize("standby", [False, True])
@pytest.mark.parametrize("later", [0, DAY])
def test_a_lost_key_does_not_come_back_when_its_zone_is_signed_again(
    kind: Callable[[], tuple[KeySpec, ...]], roles: tuple[Role, ...], standby: bool, later: int
) -> None:
    """Not even while its successor is still being made."""
    bench = running(kind(), standby_zsk=standby)
    gone = {bench.key(role).ref for role in roles}
    lose(bench, *roles)
    insecure(bench)
    bench.wait(later)
    bench.policy = replace(bench.policy, signed=True)
    plan = plan_rollover(bench.keyset, bench.policy, bench.counted(), bench.now)
    assert standby or any(isinstance(effect, GenerateKey) for effect in plan.effects)
    assert not [effect for effect in plan.effects if isinstance(effect, COMES) and effect.ref in gone]
    bench.settle(rounds=12, gap=12 * HOUR)
    keys = [key for key in bench.keyset.keys if key.goal is Goal.PRESENT]
    assert sorted(key.role for key in keys) == sorted(spec.role for spec in kind())
    assert not gone & {key.ref for key in keys}
    assert all(key.record(rec).state is State.OMNIPRESENT for key in keys for rec in key.records)


@pytest.mark.parametrize("role", [Role.KSK, Role.ZSK])
def test_the_way_out_needs_no_successor(role: Role) -> None:
    """``signed = false`` is for a loss that nothing replaces: no key can be made, and a person removes the DS."""
    bench = running()
    bench.policy = replace(bench.policy, given=True)
    ksk = bench.key(Role.KSK)
    lose(bench, role)
    bench.policy = replace(bench.policy, signed=False)
    bench.step()
    assert bench.state(ksk, Rec.DS) is State.UNRETENTIVE
    insecure(bench)
    bench.settle(rounds=24, gap=12 * HOUR)
    assert bench.keyset.keys == ()


@pytest.mark.parametrize("kind", [csk, ksk_zsk])
def test_no_dnskey_is_left_in_an_insecure_zone(kind: Callable[[], tuple[KeySpec, ...]]) -> None:
    """A lost KSK leaves with its signature: no key would sign the DNSKEY RRset."""
    bench = running(kind())
    lose(bench, *(spec.role for spec in kind() if spec.role is not Role.ZSK))
    insecure(bench)
    assert signing_view(bench.keyset).dnskey_rdatas == ()


@pytest.mark.parametrize("removed", [False, True])
def test_a_ds_of_a_lost_key_is_wanted_again_only_where_the_parent_still_has_it(removed: bool) -> None:
    bench = running()
    lost = bench.key(Role.KSK)
    lose(bench, Role.KSK)
    bench.policy = replace(bench.policy, signed=False)
    bench.step()
    assert bench.state(lost, Rec.DS) is State.UNRETENTIVE
    bench.secondaries_follow()
    if removed:
        bench.parent_follows()
        bench.wait(60)
    bench.policy = replace(bench.policy, signed=True)
    bench.step()
    assert bench.state(lost, Rec.DS) is (State.UNRETENTIVE if removed else State.RUMOURED)
    bench.settle(rounds=24, gap=12 * HOUR)
    assert bench.keyset.find(lost.ref) is None
    assert bench.state(bench.key(Role.KSK), Rec.DS) is State.OMNIPRESENT


def test_a_key_that_was_lost_before_it_signed_never_signs() -> None:
    """A ZSK that is published is lost, and no other key is there yet that the policy allows."""
    bench = running()
    bench.policy = replace(bench.policy, given=True)
    bench.keyset = commands.roll_over(bench.keyset, Role.ZSK)
    old = bench.key(Role.ZSK)
    bench.generate(GenerateKey("new", Role.ZSK, 13, 0, "local", Goal.PRESENT, "a rollover was asked for"))
    bench.step()
    bench.keyset = commands.lost(bench.keyset, "new")
    for _ in range(20):
        bench.secondaries_follow()
        bench.wait(HOUR)
    new = bench.keyset.find("new")
    assert new is not None
    assert (new.dnskey.state, new.zrrsig.state) == (State.OMNIPRESENT, State.HIDDEN)
    assert bench.state(old, Rec.ZRRSIG) is State.OMNIPRESENT
    bench.keyset = commands.found(bench.keyset, "new")
    bench.step()
    assert bench.state(new, Rec.ZRRSIG) is State.RUMOURED


def test_a_lost_ksk_stays_for_its_cds_until_no_validator_checks_them() -> None:
    """Its standby key replaced it just before: validators may hold CDS that only the lost key signed."""
    bench = running(standby_ksk=True)
    lost = bench.key(Role.KSK)
    lose(bench, Role.KSK)
    bench.step()
    assert bench.state(lost, Rec.KRRSIG) is State.UNRETENTIVE
    bench.policy = replace(bench.policy, signed=False)
    bench.step()
    assert lost.rdata in signing_view(bench.keyset).dnskey_rdatas
