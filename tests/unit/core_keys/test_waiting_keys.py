"""No new key is used before it is safe from loss: backed up (require_backup), or held by enough nodes (held_by_min)."""

from collections.abc import Callable
from typing import Any

import pytest

from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.backup_gate import backup_refusal
from dnssecd.core.keys.evidence import KeyBackup, KeyHolders
from dnssecd.core.keys.facts import World
from dnssecd.core.keys.holders_gate import holders_refusal
from dnssecd.core.keys.keyset import Key
from dnssecd.core.keys.keystate import Event, Goal, Rec, RecordState, Role, State
from dnssecd.core.keys.rules import secured
from dnssecd.core.keys.types import Gate
from dnssecd.replacing import replace

from .bench import DAY, Bench, policy, running


def held(bench: Bench, key: Key, *nodes: str) -> None:
    bench.evidence = replace(bench.evidence, holders=(KeyHolders(key.key_id, nodes),))


def in_cluster(holders_min: int = 2, *, shared: bool = True) -> Bench:
    bench = running()
    stores = frozenset(key.keystore for key in bench.keyset.keys) if shared else frozenset({"another"})
    bench.policy = policy(holders_min=holders_min, shared=stores)
    return bench


def saved(bench: Bench, key: Key) -> None:
    backup = KeyBackup(key.key_id, bench.now, "a file")
    bench.evidence = replace(bench.evidence, backups=(*bench.evidence.backups, backup))


def requiring() -> Bench:
    bench = running()
    bench.policy = policy(require_backup=True)
    return bench


both = pytest.mark.parametrize(
    ("waiting", "gate", "make_safe"),
    [
        (requiring, Gate.BACKUP, saved),
        (in_cluster, Gate.HOLDERS, lambda bench, key: held(bench, key, "a", "b")),
    ],
    ids=["backup", "holders"],
)


@both
def test_a_key_in_use_stays_in_use(waiting: Callable[[], Bench], gate: Gate, make_safe: object) -> None:
    bench = waiting()
    before = bench.keyset
    bench.settle()
    assert [key.ref for key in bench.keyset.keys] == [key.ref for key in before.keys]
    assert not any(blocker.gate is gate for blocker in bench.step().blockers)


@both
def test_an_emergency_does_not_wait(waiting: Callable[[], Bench], gate: Gate, make_safe: object) -> None:
    bench = waiting()
    old = bench.key(Role.ZSK)
    bench.keyset = commands.compromised(bench.keyset, old.ref)
    bench.step()
    assert bench.state(bench.key(Role.ZSK), Rec.DNSKEY) is not State.HIDDEN
    bench.wait(2 * DAY)
    bench.settle()
    assert bench.keyset.find(old.ref) is None


@both
def test_what_is_known_of_another_key_does_not_count(
    waiting: Callable[[], Bench], gate: Gate, make_safe: Callable[[Bench, Key], None]
) -> None:
    bench = waiting()
    make_safe(bench, bench.key(Role.ZSK))
    bench.keyset = commands.roll_over(bench.keyset, Role.ZSK)
    bench.settle()
    assert bench.state(bench.key(Role.ZSK), Rec.DNSKEY) is State.HIDDEN


def test_a_new_key_waits_for_its_backup() -> None:
    bench = requiring()
    bench.keyset = commands.roll_over(bench.keyset, Role.ZSK)
    bench.settle()
    new = bench.key(Role.ZSK)
    assert bench.state(new, Rec.DNSKEY) is State.HIDDEN
    plan = bench.step()
    (blocker,) = [blocker for blocker in plan.blockers if blocker.gate is Gate.BACKUP]
    assert (blocker.rule, blocker.tag) == ("require-backup", new.tag)
    assert "has no confirmed backup" in blocker.detail
    assert "key backup --confirm" in blocker.missing[0].wanted
    saved(bench, new)
    bench.settle()
    assert bench.state(new, Rec.ZRRSIG) is State.OMNIPRESENT


@pytest.mark.parametrize("role", [Role.ZSK, Role.KSK])
def test_a_new_key_waits_for_other_nodes(role: Role) -> None:
    bench = in_cluster(3)
    bench.keyset = commands.roll_over(bench.keyset, role)
    bench.settle()
    new = bench.key(role)
    assert {new.record(rec).state for rec in new.records} == {State.HIDDEN}
    for nodes, who in (((), "by no node for sure"), (("a", "b"), "by a, b only")):
        held(bench, new, *nodes)
        (blocker,) = {blocker for blocker in bench.step().blockers if blocker.gate is Gate.HOLDERS}
        assert (blocker.rule, blocker.tag) == ("held-by-nodes", new.tag)
        assert who in blocker.detail
        assert "3 nodes" in blocker.detail
    held(bench, new, "a", "b", "c")
    bench.step()
    assert bench.state(bench.key(role), Rec.DNSKEY) is not State.HIDDEN


@pytest.mark.parametrize(
    "bench", [in_cluster(1), in_cluster(shared=False)], ids=["one host", "another key store"]
)
def test_elsewhere_nothing_waits(bench: Bench) -> None:
    bench.keyset = commands.roll_over(bench.keyset, Role.ZSK)
    bench.settle()
    assert bench.state(bench.key(Role.ZSK), Rec.ZRRSIG) is State.OMNIPRESENT


@pytest.mark.parametrize("role", [Role.ZSK, Role.KSK])
@pytest.mark.parametrize("gate", [{"holders_min": 2}, {"require_backup": True}], ids=["holders", "backup"])
def test_in_an_insecure_zone_a_key_stays_until_its_successor_may_be_used(
    gate: dict[str, Any], role: Role
) -> None:
    """There no rule of validators forbids to withdraw it: signatures without a DNSKEY would be left."""
    bench = in_cluster()
    bench.policy = replace(bench.policy, **({"holders_min": 1} | gate))
    old = bench.key(role)
    bench.keyset = commands.roll_over(bench.keyset, role)
    bench.settle()
    new = bench.key(role)
    assert new.ref != old.ref
    withdraw = ((old.ref, Rec.DNSKEY, Event.WITHDRAW),)
    world = World(bench.policy, bench.counted(), bench.now)
    judge = holders_refusal if "holders_min" in gate else backup_refusal
    assert secured(bench.keyset)
    assert judge(bench.keyset, withdraw, world) is None, "the rules of a secure zone keep it"
    keys = tuple(
        replace(key, ds=RecordState()) if Rec.DS in key.records else key for key in bench.keyset.keys
    )
    insecure = replace(bench.keyset, keys=keys)
    refused = judge(insecure, withdraw, world)
    assert refused is not None
    assert refused[0].ref == new.ref
    assert judge(insecure.with_key(replace(new, goal=Goal.ABSENT)), withdraw, world) is None
    other = ((bench.key(Role.KSK if role is Role.ZSK else Role.ZSK).ref, Rec.DNSKEY, Event.SETTLE),)
    assert judge(insecure, other, world) is None


def test_no_zsk_is_published_before_a_ksk_signs_the_dnskey_rrset() -> None:
    """The key stores of a KSK and a ZSK are not backed up at the same time."""
    bench = Bench(policy=policy(require_backup=True))
    bench.step()
    zsk, ksk = bench.key(Role.ZSK), bench.key(Role.KSK)
    saved(bench, zsk)
    blockers = bench.step().blockers
    assert bench.state(zsk, Rec.DNSKEY) is State.HIDDEN
    assert (ksk.tag, "require-backup") in {(blocker.tag, blocker.rule) for blocker in blockers}
    saved(bench, ksk)
    bench.step()
    for key, rec in ((ksk, Rec.DNSKEY), (ksk, Rec.KRRSIG), (zsk, Rec.DNSKEY), (zsk, Rec.ZRRSIG)):
        assert bench.state(key, rec) is State.RUMOURED


def test_a_zone_that_becomes_insecure_loses_its_ksk_last() -> None:
    bench = running()
    bench.policy = replace(bench.policy, signed=False)
    signed = []
    for _ in range(99):
        bench.step()
        bench.parent_follows()
        bench.secondaries_follow()
        bench.wait(DAY / 4)
        shown = any(key.dnskey.visible for key in bench.keyset.keys)
        signed.append(not shown or any(key.krrsig.visible for key in bench.keyset.keys))
    assert all(signed)
    assert bench.keyset.keys == ()
