"""Each kind of roll-over, step by step, in the order that keeps it safe."""

import pytest

from dnssecd.core.keys import requests as commands
from dnssecd.core.keys import timing
from dnssecd.core.keys.keyset import DELETE_CDNSKEY, DELETE_CDS, ds_rdata, signing_view
from dnssecd.core.keys.keystate import Goal, Rec, Role, State
from dnssecd.core.keys.types import (
    KeyEffect,
    KeySpec,
    PublishDnskey,
    RemoveKey,
    RetireSignatures,
    RevokeKey,
    SignWith,
    SubmitDs,
    WithdrawDnskey,
    WithdrawDs,
)
from dnssecd.replacing import replace
from tests.unit.core_keys.bench import key_ids

from .bench import APEX, DAY, HOUR, Bench, csk, ksk_zsk, policy, running


def kinds(bench: Bench, *wanted: type) -> list[str]:
    return [type(effect).__name__ for effect in bench.effects if isinstance(effect, wanted)]


STEPS = (
    PublishDnskey,
    WithdrawDnskey,
    SignWith,
    RetireSignatures,
    SubmitDs,
    WithdrawDs,
    RevokeKey,
    RemoveKey,
)


def test_a_new_zone_publishes_and_signs_at_once_and_submits_its_ds_when_all_can_validate() -> None:
    bench = Bench(policy())
    bench.step()
    assert kinds(bench, *STEPS) == ["PublishDnskey", "PublishDnskey", "SignWith"]
    view = signing_view(bench.keyset)
    assert len(view.dnskey_rdatas) == 2
    assert view.cds == ()
    bench.secondaries_follow()
    bench.wait(DAY - HOUR)
    assert bench.rules() >= {"zone-data-signed", "zrrsig-settles"}
    bench.wait(2 * HOUR)
    assert kinds(bench, SubmitDs) == ["SubmitDs"]
    key = bench.key(Role.KSK)
    assert signing_view(bench.keyset).cds == (ds_rdata(APEX, key.rdata),)
    assert signing_view(bench.keyset).cdnskey == (key.rdata,)


def test_zsk_pre_publication() -> None:
    bench = running()
    old = bench.key(Role.ZSK)
    bench.keyset = commands.roll_over(bench.keyset, Role.ZSK)
    bench.step()
    new = bench.key(Role.ZSK)
    assert new.ref != old.ref
    assert key_ids(signing_view(bench.keyset).zone_keys) == (old.key_id,), "published, but does not sign yet"
    bench.secondaries_follow()
    bench.wait(2 * HOUR)
    view = signing_view(bench.keyset)
    assert key_ids(view.zone_keys) == (new.key_id,)
    assert [key.key_id for key in view.retiring_keys] == [old.key_id]
    assert not view.urgent
    bench.signed = frozenset({old.ref})  # they are replaced bit by bit
    bench.secondaries_follow()
    bench.wait(10 * DAY)
    assert bench.state(old, Rec.DNSKEY) is State.OMNIPRESENT
    bench.signed = frozenset({new.ref})
    bench.settle()
    assert kinds(bench, *STEPS) == [
        "PublishDnskey",
        "SignWith",
        "RetireSignatures",
        "WithdrawDnskey",
        "RemoveKey",
    ]


def test_double_ksk_swaps_the_ds_in_one_request() -> None:
    bench = running()
    old = bench.key(Role.KSK)
    bench.keyset = commands.roll_over(bench.keyset, Role.KSK)
    bench.step()
    new = bench.key(Role.KSK)
    assert signing_view(bench.keyset).cds == (ds_rdata(APEX, old.rdata),), (
        "not before all have the new DNSKEY"
    )
    bench.secondaries_follow()
    bench.wait(2 * HOUR)
    assert signing_view(bench.keyset).cds == (ds_rdata(APEX, new.rdata),)
    assert set(key_ids(signing_view(bench.keyset).dnskey_keys)) == {old.key_id, new.key_id}
    bench.wait(30 * DAY)
    assert bench.state(old, Rec.DNSKEY) is State.OMNIPRESENT, "the parent has not acted"
    bench.settle()
    assert kinds(bench, *STEPS) == ["PublishDnskey", "SubmitDs", "WithdrawDs", "WithdrawDnskey", "RemoveKey"]


def test_csk() -> None:
    bench = running(csk())
    old = bench.key(Role.CSK)
    bench.keyset = commands.roll_over(bench.keyset, Role.CSK)
    bench.settle()
    assert kinds(bench, *STEPS) == [
        "PublishDnskey",
        "SignWith",
        "RetireSignatures",
        "SubmitDs",
        "WithdrawDs",
        "WithdrawDnskey",
        "RemoveKey",
    ]
    assert bench.keyset.find(old.ref) is None


@pytest.mark.parametrize(("before", "after"), [(8, 13), (13, 15), (15, 13)])
def test_algorithm_signatures_first_then_keys_then_ds(before: int, after: int) -> None:
    bench = running(ksk_zsk(before))
    bench.policy = policy(ksk_zsk(after))
    bench.step()
    view = signing_view(bench.keyset)
    assert {key.algorithm for key in view.zone_keys} == {before, after}, "every RRset is signed by both"
    assert {rdata[3] for rdata in view.dnskey_rdatas} == {before}
    bench.secondaries_follow()
    bench.wait(DAY + HOUR)
    view = signing_view(bench.keyset)
    assert sorted(rdata[3] for rdata in view.dnskey_rdatas) == sorted([before, before, after, after])
    assert {key.algorithm for key in view.dnskey_keys} == {before, after}
    bench.settle()
    assert kinds(bench, *STEPS) == [
        "SignWith",
        "PublishDnskey",
        "PublishDnskey",
        "SubmitDs",
        "WithdrawDs",
        "WithdrawDnskey",
        "WithdrawDnskey",
        "RetireSignatures",
        "RemoveKey",
        "RemoveKey",
    ]
    assert {key.algorithm for key in bench.keyset.keys} == {after}


def test_zone_signatures_of_the_old_algorithm_outlast_its_keys() -> None:
    bench = running(ksk_zsk(8))
    bench.policy = policy(ksk_zsk(13))
    for _ in range(60):
        bench.secondaries_follow()
        bench.parent_follows()
        bench.wait(HOUR)
        for key in bench.keyset.keys:
            if key.algorithm == 8 and key.role is Role.ZSK and key.dnskey.state is not State.HIDDEN:
                assert key.zrrsig.visible


def test_key_size_and_key_store() -> None:
    bench = running((KeySpec(Role.KSK, 8, bits=2048), KeySpec(Role.ZSK, 8, bits=2048)))
    bench.policy = policy((KeySpec(Role.KSK, 8, bits=3072), KeySpec(Role.ZSK, 8, "hsm", bits=3072)))
    bench.settle()
    assert {(key.role, key.bits, key.keystore) for key in bench.keyset.keys} == {
        (Role.KSK, 3072, "local"),
        (Role.ZSK, 3072, "hsm"),
    }


def test_between_ksk_with_zsk_and_csk() -> None:
    bench = running()
    bench.policy = policy(csk())
    bench.settle()
    assert {key.role for key in bench.keyset.keys} == {Role.CSK}
    bench.policy = policy()
    bench.settle()
    assert {key.role for key in bench.keyset.keys} == {Role.KSK, Role.ZSK}


def test_lifetime_begins_the_successor_in_time() -> None:
    bench = running(ksk_zsk(lifetime=90 * DAY))
    zsk = bench.key(Role.ZSK)
    assert zsk.active is not None
    assert bench.plan is not None
    lead = timing.ipub(bench.policy.propagation_delay, bench.policy.dnskey_ttl) + bench.policy.margin
    assert bench.plan.next_wake == zsk.active + 90 * DAY - lead
    bench.now = bench.plan.next_wake - 1
    bench.step()
    assert bench.key(Role.ZSK).ref == zsk.ref
    bench.wait(1)
    assert bench.key(Role.ZSK).ref != zsk.ref


def test_standby_ksk_is_known_to_the_parent_only_and_takes_over() -> None:
    bench = running(standby_ksk=True)
    bench.settle()
    spare = bench.key(Role.KSK, Goal.STANDBY)
    assert spare.ds.state is State.OMNIPRESENT
    assert spare.dnskey.state is State.HIDDEN
    old = bench.key(Role.KSK)
    bench.keyset = commands.compromised(bench.keyset, old.ref)
    bench.step()
    assert bench.key(Role.KSK).ref == spare.ref, "no waiting for the parent"
    bench.secondaries_follow()
    bench.wait(2 * HOUR)
    assert ds_rdata(APEX, old.rdata) not in signing_view(bench.keyset).cds
    bench.settle()
    assert bench.keyset.find(old.ref) is None
    assert bench.key(Role.KSK, Goal.STANDBY).ds.state is State.OMNIPRESENT


def test_going_insecure_is_locked_until_the_ds_is_gone_everywhere() -> None:
    bench = running()
    key = bench.key(Role.KSK)
    bench.policy = policy(signed=False)
    bench.step()
    assert signing_view(bench.keyset).cds == (DELETE_CDS,)
    assert signing_view(bench.keyset).cdnskey == (DELETE_CDNSKEY,)
    assert signing_view(bench.keyset).dnskey_rdatas
    bench.secondaries_follow()
    bench.parent_serves(names=("a.parent",))
    bench.wait(40 * DAY)
    assert signing_view(bench.keyset).dnskey_rdatas, "one of the parent's servers still has it"
    bench.parent_serves(ttl=2 * DAY)
    bench.step()
    bench.wait(2 * DAY)
    assert signing_view(bench.keyset).dnskey_rdatas, "the DS is cached"
    bench.wait(2 * HOUR)
    view = signing_view(bench.keyset)
    assert (view.dnskey_rdatas, view.cds, view.zone_keys) == ((), (), ())
    bench.settle()
    assert bench.keyset.keys == ()
    bench.policy = policy()
    bench.settle()
    assert bench.key(Role.KSK).ds.state is State.OMNIPRESENT
    assert bench.key(Role.KSK).ref != key.ref, "a destroyed key's number is not used again"


def test_secure_again_before_the_parent_has_acted() -> None:
    bench = running()
    key = bench.key(Role.KSK)
    bench.policy = policy(signed=False)
    bench.step()
    bench.policy = policy()
    bench.step()
    assert signing_view(bench.keyset).cds == (ds_rdata(APEX, key.rdata),)
    bench.settle()
    assert bench.state(key, Rec.DS) is State.OMNIPRESENT
    assert len(bench.keyset.keys) == 2


def test_rfc5011_hold_down_and_revocation() -> None:
    bench = running(rfc5011=True)
    old = bench.key(Role.KSK)
    bench.keyset = commands.roll_over(bench.keyset, Role.KSK)
    bench.settle(rounds=100)
    assert bench.state(old, Rec.DNSKEY) is State.OMNIPRESENT, "validators do not trust the new key yet"
    assert "rfc5011-add-hold-down" in bench.rules()
    bench.settle(rounds=40)
    revoked = bench.keyset.find(f"{old.ref}/revoked")
    assert revoked is not None
    assert revoked.tag != old.tag
    assert revoked.rdata in signing_view(bench.keyset).dnskey_rdatas
    assert revoked.tag in {key.tag for key in signing_view(bench.keyset).dnskey_keys}
    assert revoked.tag not in {key.tag for key in signing_view(bench.keyset).cds_keys}
    bench.settle(rounds=200)
    assert {key.role for key in bench.keyset.keys} == {Role.KSK, Role.ZSK}
    removed = [effect for effect in bench.effects if isinstance(effect, RemoveKey)]
    assert [effect.key_id for effect in removed] == [old.key_id], "once, when both entries are gone"


def test_a_revocation_that_was_interrupted_is_shown_again_for_its_whole_time() -> None:
    """A validator that missed the REVOKE bit trusts the key until it sees that (RFC 5011 section 4.2)."""
    bench = running(csk())
    old = bench.key(Role.CSK)
    bench.keyset = commands.revoke(bench.keyset, old.ref)
    bench.settle()
    revoked = bench.keyset.find(f"{old.ref}/revoked")
    assert revoked is not None
    assert revoked.hold_until is not None
    bench.policy = replace(bench.policy, signed=False)
    bench.step()
    assert revoked.rdata not in signing_view(bench.keyset).dnskey_rdatas
    bench.now = revoked.hold_until - HOUR
    bench.policy = replace(bench.policy, signed=True, require_backup=True)
    bench.step()
    again = bench.keyset.find(revoked.ref)
    assert again is not None
    assert again.rdata in signing_view(bench.keyset).dnskey_rdatas, "it needs no backup"
    assert again.hold_until is not None
    assert again.hold_until >= bench.now + 30 * DAY
    bench.settle(rounds=14, gap=2 * DAY)
    assert bench.state(revoked, Rec.DNSKEY) is State.OMNIPRESENT
    bench.settle(rounds=14, gap=2 * DAY)
    assert bench.keyset.find(revoked.ref) is None


def test_revoke_without_rfc5011_policy() -> None:
    bench = running()
    bench.keyset = commands.revoke(bench.keyset, bench.key(Role.KSK).ref)
    bench.settle()
    assert kinds(bench, RevokeKey) == ["RevokeKey"]


def test_compromised_zsk_has_its_signatures_replaced_at_once() -> None:
    bench = running()
    bench.policy = policy(manual=frozenset({"zsk"}), freeze=((0, 1 << 40),))
    bench.keyset = commands.compromised(bench.keyset, bench.key(Role.ZSK).ref)
    bench.step()
    bench.secondaries_follow()
    bench.wait(2 * HOUR)
    assert signing_view(bench.keyset).urgent
    bench.settle()
    assert len(bench.keyset.keys) == 2


def test_policy_changed_back_midway_takes_the_old_keys_again() -> None:
    bench = running(ksk_zsk(13))
    keys = {key.ref for key in bench.keyset.keys}
    bench.policy = policy(ksk_zsk(15))
    bench.step()
    bench.secondaries_follow()
    bench.wait(2 * DAY)
    assert {rdata[3] for rdata in signing_view(bench.keyset).dnskey_rdatas} == {13, 15}
    bench.policy = policy(ksk_zsk(13))
    bench.settle(rounds=60)
    assert {key.ref for key in bench.keyset.keys} == keys


def test_policy_changed_twice_midway() -> None:
    bench = running(ksk_zsk(8))
    bench.policy = policy(ksk_zsk(13))
    bench.step()
    bench.secondaries_follow()
    bench.wait(DAY + HOUR)
    bench.policy = policy(csk(15))
    bench.settle(rounds=60)
    assert {(key.role, key.algorithm) for key in bench.keyset.keys} == {(Role.CSK, 15)}


def test_an_island_of_trust_waits_for_a_persons_word() -> None:
    bench = Bench(policy(parent=False), parents=())
    bench.settle()
    assert bench.plan is not None
    assert bench.plan.blockers == (), "nothing to complain of while nothing rolls"
    old = bench.key(Role.KSK)
    bench.keyset = commands.roll_over(bench.keyset, Role.KSK)
    bench.settle()
    assert bench.state(old, Rec.DNSKEY) is State.OMNIPRESENT
    missing = [
        item for blocker in bench.plan.blockers if blocker.rule == "ds-settles" for item in blocker.missing
    ]
    assert {item.whom for item in missing} == {"an operator"}
    bench.confirm(bench.key(Role.KSK), True)
    bench.confirm(old, False)
    bench.settle()
    assert bench.keyset.find(old.ref) is None


def test_every_step_names_its_key() -> None:
    bench = running()
    bench.keyset = commands.roll_over(bench.keyset, Role.ZSK)
    bench.settle()
    tags = {effect.tag for effect in bench.effects if isinstance(effect, KeyEffect)}
    assert len(tags) == 2


def test_nothing_is_blocked_in_the_end() -> None:
    bench = running(standby_ksk=True)
    assert bench.settle().blockers == ()
