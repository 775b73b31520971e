"""Gates that people set: approval, freeze, one at a time; and the clock."""

import pytest

from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.evidence import Evidence
from dnssecd.core.keys.goals import denial_blocker
from dnssecd.core.keys.keyset import Keyset, KeysetError, signing_view
from dnssecd.core.keys.keystate import Goal, Role
from dnssecd.core.keys.planner import plan_rollover
from dnssecd.core.keys.types import Blocker, Gate

from .bench import APEX, DAY, HOUR, Bench, ksk_zsk, policy, running


def only(bench: Bench, gate: Gate) -> Blocker:
    assert bench.plan is not None
    [blocker] = [blocker for blocker in bench.plan.blockers if blocker.gate is gate]
    return blocker


@pytest.mark.parametrize(("kind", "role"), [("zsk", Role.ZSK), ("ksk", Role.KSK)])
def test_a_rollover_waits_for_its_approval_and_uses_it_up(kind: str, role: Role) -> None:
    bench = running(manual=frozenset({kind}))
    old = bench.key(role)
    bench.keyset = commands.roll_over(bench.keyset, role)
    bench.step()
    blocker = only(bench, Gate.APPROVAL)
    assert (blocker.rule, blocker.ref, blocker.tag) == (kind, old.ref, old.tag)
    assert bench.key(role).ref == old.ref
    bench.keyset = commands.approve(bench.keyset, blocker.token)
    bench.step()
    assert bench.key(role).ref != old.ref
    bench.settle()
    assert bench.keyset.approved == ()


def test_an_algorithm_change_asks_for_its_own_approval() -> None:
    bench = running(ksk_zsk(8))
    bench.policy = policy(ksk_zsk(13), manual=frozenset({"algorithm"}))
    plan = bench.step()
    tokens = [blocker.token for blocker in plan.blockers if blocker.gate is Gate.APPROVAL]
    assert [token.split(":")[0] for token in tokens] == ["algorithm", "algorithm"]
    for token in tokens:
        bench.keyset = commands.approve(bench.keyset, token)
    bench.settle(rounds=60)
    assert {key.algorithm for key in bench.keyset.keys} == {13}


def test_nothing_starts_or_continues_in_a_freeze_window() -> None:
    bench = running()
    bench.keyset = commands.roll_over(bench.keyset, Role.ZSK)
    bench.step()
    until = bench.now + 30 * DAY
    bench.policy = policy(freeze=((bench.now, until),))
    bench.secondaries_follow()
    bench.wait(DAY)
    assert only(bench, Gate.FREEZE).until == until
    assert bench.plan is not None
    assert bench.plan.next_wake == until
    bench.effects.clear()
    bench.settle(rounds=20)
    assert bench.effects == []
    bench.now = until
    bench.settle()
    assert len(bench.keyset.keys) == 2


def test_a_new_zone_is_signed_in_a_freeze_window() -> None:
    bench = Bench(policy(freeze=((0, 1 << 40),)))
    bench.step()
    assert bench.key(Role.ZSK).zrrsig.visible


def test_a_lifetime_shorter_than_a_rollover_does_not_heap_up_keys() -> None:
    bench = Bench(policy(ksk_zsk(lifetime=DAY)))
    most = 0
    for _ in range(60):
        bench.secondaries_follow()
        bench.parent_follows()
        bench.wait(3 * HOUR)
        most = max(most, sum(key.dnskey.visible for key in bench.keyset.keys))
    assert most <= 4


def test_nothing_moves_while_the_clock_is_not_sure() -> None:
    keyset = Keyset(APEX)
    plan = plan_rollover(keyset, policy(), Evidence(clock_sure=False), 5)
    assert plan.keyset is keyset
    assert plan.effects == ()
    assert [(blocker.gate, blocker.rule) for blocker in plan.blockers] == [(Gate.TIME, "clock")]


def test_waits_begin_again_after_a_clock_step() -> None:
    bench = running()
    bench.keyset = commands.roll_over(bench.keyset, Role.ZSK)
    bench.step()
    bench.secondaries_follow()
    bench.wait(60)
    bench.now += 300 * DAY
    bench.keyset = commands.clock_stepped(bench.keyset, bench.now)
    bench.step()
    assert bench.key(Role.ZSK).zrrsig.visible is False, "what was seen before the step does not count"
    bench.secondaries_follow()
    bench.wait(HOUR)
    assert bench.key(Role.ZSK).zrrsig.visible is False
    bench.wait(HOUR)
    assert bench.key(Role.ZSK).zrrsig.visible is True


def test_denial_has_the_same_gates() -> None:
    keyset = Keyset(APEX)
    asked = policy(manual=frozenset({"denial"}))
    blocker = denial_blocker(keyset, asked, 5, "nsec to nsec3")
    assert blocker is not None
    assert blocker.gate is Gate.APPROVAL
    approved = commands.approve(keyset, blocker.token)
    assert denial_blocker(approved, asked, 5, "nsec to nsec3") is None
    assert denial_blocker(approved, asked, 5, "nsec3 to nsec") is not None
    assert commands.used(approved, blocker.token).approved == ()
    frozen = denial_blocker(keyset, policy(freeze=((0, 9),)), 5, "nsec to nsec3")
    assert frozen is not None
    assert frozen.until == 9
    assert denial_blocker(keyset, policy(), 5, "nsec to nsec3") is None


def test_an_approval_of_denial_outlives_plans() -> None:
    bench = running()
    bench.keyset = commands.approve(bench.keyset, "denial:nsec to nsec3")
    bench.settle(rounds=3)
    assert bench.keyset.approved == ("denial:nsec to nsec3",)


def test_commands_that_cannot_be() -> None:
    bench = running()
    with pytest.raises(KeysetError, match="no csk is in use"):
        commands.roll_over(bench.keyset, Role.CSK)
    with pytest.raises(KeysetError, match="is a ZSK"):
        commands.revoke(bench.keyset, bench.key(Role.ZSK).ref)
    with pytest.raises(KeysetError, match="no key nonesuch"):
        commands.retire(bench.keyset, "nonesuch")


def test_retire_brings_a_successor_first() -> None:
    bench = running()
    old = bench.key(Role.ZSK)
    bench.keyset = commands.retire(bench.keyset, old.ref)
    bench.settle()
    assert bench.keyset.find(old.ref) is None
    assert bench.key(Role.ZSK).zrrsig.visible


def test_retire_of_a_standby_key() -> None:
    bench = running(standby_ksk=True)
    spare = bench.key(Role.KSK, Goal.STANDBY)
    bench.keyset = commands.retire(bench.keyset, spare.ref)
    bench.settle()
    assert bench.keyset.find(spare.ref) is None
    assert bench.key(Role.KSK, Goal.STANDBY).ref != spare.ref


@pytest.mark.parametrize("role", [Role.ZSK, Role.KSK])
def test_no_rollover_begins_before_the_first_keys_are_everywhere(role: Role) -> None:
    """No DS shows yet who validates: somebody with a trust anchor may hold the first DNSKEY set."""
    bench = Bench(policy())
    bench.step()
    old = bench.key(role)
    bench.keyset = commands.roll_over(bench.keyset, role)
    plan = bench.step()
    assert "one-at-a-time" in {blocker.rule for blocker in plan.blockers if blocker.ref == old.ref}
    assert len(bench.keyset.keys) == 2
    bench.settle(rounds=8)
    assert bench.key(role).ref != old.ref


def test_signatures_stay_only_while_their_key_is_published() -> None:
    """A key compromised before anybody can validate goes at once, and all its signatures with it."""
    bench = Bench(policy())
    bench.step()
    old = bench.key(Role.ZSK)
    bench.keyset = commands.compromised(bench.keyset, old.ref)
    bench.step()
    view = signing_view(bench.keyset)
    assert old.rdata not in view.dnskey_rdatas
    assert view.retiring_keys == ()
