"""A wait begins with evidence, lasts for the TTL observed, and what contradicts it counts."""

import pytest

from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.evidence import Evidence, ParentSight, SecondarySight
from dnssecd.core.keys.facts import WAITS, Look, World, look
from dnssecd.core.keys.keyset import Key, TtlMemory
from dnssecd.core.keys.keystate import Event, Rec, RecordState, Role, State, advance
from dnssecd.core.keys.planner import plan_rollover
from dnssecd.core.keys.types import Blocker, Gate
from dnssecd.replacing import replace

from .bench import DAY, HOUR, Bench, ksk_zsk, policy, running


def rolling(role: Role, **kwargs: object) -> tuple[Bench, Key, Key]:
    """A rollover just begun: (bench, old key, new key)."""
    bench = running(**kwargs)  # type: ignore[arg-type]
    old = bench.key(role)
    bench.keyset = commands.roll_over(bench.keyset, role)
    bench.step()
    return bench, old, bench.key(role)


def blocker(bench: Bench, rule: str, key: Key | None = None) -> Blocker:
    assert bench.plan is not None
    found = [
        item for item in bench.plan.blockers if item.rule == rule and (key is None or item.ref == key.ref)
    ]
    assert found, bench.plan.blockers
    return found[0]


def test_the_secondary_that_lags_is_named_with_answer_seen_and_wanted() -> None:
    bench, _, new = rolling(Role.ZSK)
    bench.secondaries_follow("ns1")
    late = SecondarySight("ns2", bench.serial - 1, bench.now, "timeout", bench.now + 60)
    bench.evidence = replace(bench.evidence, secondaries=(bench.evidence.secondaries[0], late))
    bench.wait(30 * DAY)
    found = blocker(bench, "dnskey-settles", new)
    [missing] = found.missing
    assert (missing.whom, missing.seen) == ("ns2", f"serial {bench.serial - 1}, then timeout")
    assert missing.wanted == f"serial {bench.serial} or later"
    assert missing.next_look == late.next_look
    assert found.gate is Gate.SAFETY
    assert bench.state(new, Rec.DNSKEY) is State.RUMOURED


def test_the_wait_is_for_the_ttl_from_the_last_sight() -> None:
    bench, _, new = rolling(Role.ZSK)
    bench.wait(5 * HOUR)
    bench.secondaries_follow()
    bench.step()
    assert blocker(bench, "dnskey-settles", new).until == bench.now + HOUR + bench.policy.margin


def test_the_policys_propagation_delay_is_a_floor() -> None:
    bench, _, new = rolling(Role.ZSK, propagation_delay=2 * HOUR)
    bench.secondaries_follow()
    bench.step()
    assert blocker(bench, "dnskey-settles", new).until == bench.now + 3 * HOUR + bench.policy.margin


def test_a_ttl_that_was_lowered_counts_as_long_as_copies_live() -> None:
    bench = running(dnskey_ttl=2 * DAY)
    bench.evidence = replace(bench.evidence, ttl_dnskey=2 * DAY)
    bench.step()
    bench.policy = policy(dnskey_ttl=HOUR)
    bench.evidence = replace(bench.evidence, ttl_dnskey=HOUR)
    bench.commit()
    bench.step()
    bench.secondaries_follow()
    bench.wait(60)
    bench.keyset = commands.roll_over(bench.keyset, Role.ZSK)
    bench.step()
    bench.secondaries_follow()
    bench.step()
    until = blocker(bench, "dnskey-settles", bench.key(Role.ZSK)).until
    assert until is not None
    assert until >= bench.now + 2 * DAY
    bench.settle()
    bench.keyset = commands.roll_over(bench.keyset, Role.ZSK)
    bench.step()
    bench.secondaries_follow()
    bench.step()
    until = blocker(bench, "dnskey-settles", bench.key(Role.ZSK)).until
    assert until is not None
    assert until < bench.now + 2 * HOUR, "and no longer"


def test_serials_compare_by_rfc_1982() -> None:
    bench = Bench(policy(), serial=2**32 - 2)
    bench.step()
    bench.commit()
    bench.commit()
    assert bench.serial > 2**32 - 1
    bench.evidence = replace(bench.evidence, secondaries=(SecondarySight("ns1", 3, bench.now),))
    bench.wait(2 * HOUR)
    assert bench.state(bench.key(Role.KSK), Rec.DNSKEY) is State.OMNIPRESENT


def test_a_secondary_that_goes_back_restarts_the_wait() -> None:
    bench, _, new = rolling(Role.ZSK)
    bench.secondaries_follow()
    bench.wait(HOUR // 2)
    bench.secondaries_follow("ns2", serial=bench.serial - 1)
    bench.wait(DAY)
    assert bench.state(new, Rec.DNSKEY) is State.RUMOURED
    bench.secondaries_follow()
    bench.wait(2 * HOUR)
    assert bench.state(new, Rec.DNSKEY) is State.OMNIPRESENT


def test_a_secondary_that_goes_back_unsettles_what_it_lacks() -> None:
    bench, old, new = rolling(Role.ZSK)
    bench.secondaries_follow()
    bench.wait(2 * HOUR)
    assert bench.state(new, Rec.DNSKEY) is State.OMNIPRESENT
    bench.secondaries_follow("ns1", serial=bench.serial - 2)
    bench.wait(30 * DAY)
    assert bench.state(new, Rec.DNSKEY) is State.RUMOURED
    assert bench.state(old, Rec.DNSKEY) is State.OMNIPRESENT, "no step goes on meanwhile"
    bench.settle()
    assert bench.keyset.find(old.ref) is None


def swapping() -> tuple[Bench, Key, Key]:
    """A KSK rollover whose DS change was asked for."""
    bench, old, new = rolling(Role.KSK)
    bench.secondaries_follow()
    bench.wait(2 * HOUR)
    bench.secondaries_follow()
    assert bench.state(new, Rec.DS) is State.RUMOURED
    return bench, old, new


def test_every_server_of_the_parent_counts() -> None:
    bench, old, new = swapping()
    bench.now += 60
    bench.parent_serves(old, names=("b.parent",))
    bench.parent_serves(new, names=("a.parent",))
    bench.wait(60 * DAY)
    [missing] = blocker(bench, "ds-settles", new).missing
    assert (missing.whom, missing.seen) == ("b.parent", f"DS with key tags {old.tag}")
    assert missing.wanted == f"DS with key tag {new.tag}"
    assert bench.state(old, Rec.DNSKEY) is State.OMNIPRESENT
    bench.parent_serves(new)
    bench.wait(60)
    until = blocker(bench, "ds-settles", new).until
    assert until == bench.now - 60 + bench.policy.parent_propagation_delay + DAY + bench.policy.margin


def test_the_largest_ds_ttl_observed_counts() -> None:
    bench, _, new = swapping()
    bench.now += 60
    bench.parent_serves(new, names=("a.parent",), ttl=HOUR)
    bench.parent_serves(new, names=("b.parent",), ttl=7 * DAY)
    bench.step()
    until = blocker(bench, "ds-settles", new).until
    assert until is not None
    assert until >= bench.now + 7 * DAY


def test_a_sight_from_before_the_request_proves_nothing() -> None:
    bench, old, new = swapping()
    assert bench.evidence.parents[0].ds is not None
    bench.wait(60 * DAY)
    assert bench.state(old, Rec.DS) is State.UNRETENTIVE
    assert blocker(bench, "ds-fades", old).missing[0].seen == "no answer since"
    assert bench.state(new, Rec.DS) is State.RUMOURED


def test_a_ds_that_never_came_is_looked_for_again_after_the_secondaries_have_cds_without_it() -> None:
    """A parent that reads CDS at a secondary with an older version may add it until then."""
    bench = Bench(policy())
    bench.step()
    key = bench.key(Role.KSK)
    asked = RecordState(State.RUMOURED, bench.now, first_in=1, step_in=1)
    gone = replace(advance(asked, Event.WITHDRAW, 2, bench.now), serial=bench.serial, published=bench.now)
    key = key.with_record(Rec.DS, gone)
    keyset = bench.keyset.with_key(key)

    def seen() -> Look:
        nonlocal key
        found = look(WAITS, keyset, key, Rec.DS, World(bench.policy, bench.evidence, bench.now))
        assert found is not None
        key = key.with_record(Rec.DS, found.record)
        return found

    bench.now += 60
    bench.parent_serves()
    assert [missing.whom for missing in seen().missing] == ["ns1", "ns2"]
    bench.now += 60
    bench.secondaries_follow()
    assert [missing.whom for missing in seen().missing] == ["a.parent", "b.parent"]
    bench.now += 60
    bench.parent_serves(names=("a.parent",))
    assert [missing.whom for missing in seen().missing] == ["b.parent"]
    bench.secondaries_follow()
    bench.parent_serves(names=("b.parent",))
    assert seen().until == bench.now - 60 + bench.policy.parent_propagation_delay + DAY + bench.policy.margin


def test_a_ds_of_the_same_key_tag_is_not_enough() -> None:
    bench, _, new = swapping()
    bench.now += 60
    bench.parent_serves(new)
    forged = tuple(
        replace(sight, ds=tuple(ds[:-1] + bytes((ds[-1] ^ 1,)) for ds in sight.ds or ()))
        for sight in bench.evidence.parents
    )
    bench.evidence = replace(bench.evidence, parents=forged)
    bench.wait(60 * DAY)
    assert bench.state(new, Rec.DS) is State.RUMOURED
    assert {item.whom for item in blocker(bench, "foreign-ds").missing} <= {"a.parent", "b.parent"}


def test_a_ds_by_sha_384_is_ours_too() -> None:
    bench, _, new = swapping()
    bench.now += 60
    bench.parent_serves(new, digest=4)
    bench.wait(2 * DAY)
    assert bench.state(new, Rec.DS) is State.OMNIPRESENT


def test_a_persons_word_stands_in_for_servers_that_do_not_answer_and_is_recorded() -> None:
    bench, old, new = swapping()
    bench.now += 60
    bench.confirm(new, True)
    bench.confirm(old, False)
    bench.wait(2 * DAY + 2 * HOUR)
    assert bench.state(new, Rec.DS) is State.OMNIPRESENT
    found = bench.keyset.find(new.ref)
    assert found is not None
    assert any("alice: confirmed" in witness for witness in found.ds.witnesses)


@pytest.mark.parametrize("answers", [True, False])
def test_after_a_persons_word_the_ttl_counts_that_was_seen_since(answers: bool) -> None:
    """The policy's TTL is a floor, and the parent may have raised its own since a server was last asked."""
    bench, _, new = swapping()
    bench.policy = replace(bench.policy, parent_ds_ttl=60)
    bench.keyset = replace(bench.keyset, ttl_ds=TtlMemory(HOUR))
    silent = tuple(ParentSight(sight.name) for sight in bench.evidence.parents)
    bench.evidence = replace(bench.evidence, parents=silent)
    bench.now += 60
    bench.confirm(new, True)
    bench.step()
    if answers:
        bench.now += 60
        bench.parent_serves(new, names=("b.parent",), ttl=DAY + 6 * HOUR)
    bench.wait(DAY + 2 * HOUR)
    assert bench.state(new, Rec.DS) is State.RUMOURED
    bench.wait(6 * HOUR)
    assert (bench.state(new, Rec.DS) is State.OMNIPRESENT) is answers
    bench.wait(2 * DAY)
    assert bench.state(new, Rec.DS) is State.OMNIPRESENT


def test_a_persons_word_does_not_outweigh_what_a_server_says() -> None:
    bench, old, new = swapping()
    bench.now += 60
    bench.confirm(new, True)
    bench.parent_serves(old, names=("b.parent",))
    bench.wait(60 * DAY)
    assert bench.state(new, Rec.DS) is State.RUMOURED
    assert [item.whom for item in blocker(bench, "ds-settles", new).missing] == ["b.parent"]


def test_a_parent_that_takes_the_ds_back_stops_the_rollover() -> None:
    bench, old, new = swapping()
    bench.now += 60
    bench.parent_serves(new)
    bench.wait(HOUR)
    bench.parent_serves(old)
    bench.wait(60 * DAY)
    assert bench.state(new, Rec.DS) is State.RUMOURED
    assert bench.state(old, Rec.DNSKEY) is State.OMNIPRESENT


def test_a_ds_that_vanishes_later_unsettles_and_is_wanted_again() -> None:
    bench = running()
    key = bench.key(Role.KSK)
    bench.now += 60
    bench.parent_serves(names=("a.parent",))
    bench.step()
    assert bench.state(key, Rec.DS) is State.RUMOURED
    assert "a.parent" in {item.whom for item in blocker(bench, "ds-settles", key).missing}


def test_a_ds_that_was_added_early_counts_as_held() -> None:
    bench = Bench(policy())
    bench.step()
    key = bench.key(Role.KSK)
    bench.now += 60
    bench.parent_serves(key)
    bench.step()
    assert bench.state(key, Rec.DS) is State.UNRETENTIVE
    bench.settle()
    assert bench.state(key, Rec.DS) is State.OMNIPRESENT


def test_without_secondaries_the_commit_counts() -> None:
    bench = Bench(policy(), secondaries=())
    bench.step()
    bench.wait(2 * HOUR)
    assert bench.state(bench.key(Role.KSK), Rec.DNSKEY) is State.OMNIPRESENT


def test_a_version_committed_while_the_clock_was_ahead_holds_up_no_signatures() -> None:
    bench = Bench(policy(), secondaries=())
    bench.step()
    bench.evidence = replace(bench.evidence, committed=bench.now + 40 * DAY)
    zsk = bench.key(Role.ZSK)
    bench.keyset = bench.keyset.with_key(
        replace(zsk, zrrsig=replace(zsk.zrrsig, serial=None, published=None, seen=None))
    )
    bench.wait(HOUR)
    bench.wait(2 * DAY)
    assert bench.state(zsk, Rec.ZRRSIG) is State.OMNIPRESENT


def test_nothing_counts_before_it_is_committed() -> None:
    bench = Bench(policy())
    bench.evidence = Evidence()
    bench.step()
    bench.keyset = bench.keyset.with_key(
        replace(bench.key(Role.KSK), dnskey=replace(bench.key(Role.KSK).dnskey, serial=None, published=None))
    )
    bench.wait(99 * DAY)
    found = blocker(bench, "dnskey-settles", bench.key(Role.KSK))
    assert found.missing[0].seen == "not committed yet"
    assert found.event is Event.SETTLE


@pytest.mark.parametrize("parent", [True, False])
def test_a_plan_that_only_notes_what_was_seen_is_made_once(*, parent: bool) -> None:
    """The daemon stores its key set and goes by the plan that it has."""
    bench = Bench(policy(ksk_zsk(lifetime=30 * DAY), parent=parent))
    bench.step()
    noted = 0
    for _ in range(200):
        bench.secondaries_follow()
        bench.parent_follows()
        bench.now += HOUR
        plan = plan_rollover(bench.keyset, bench.policy, bench.counted(), bench.now)
        if plan.keyset != bench.keyset and not plan.effects:
            noted += 1
            assert plan_rollover(plan.keyset, bench.policy, bench.counted(), bench.now) == plan
        bench.wait(6 * HOUR)
    assert noted >= 2


def test_a_plan_asked_again_adds_nothing() -> None:
    bench = running(ksk_zsk(lifetime=30 * DAY))
    for _ in range(200):
        bench.secondaries_follow()
        bench.parent_follows()
        bench.wait(6 * HOUR)
        again = plan_rollover(bench.keyset, bench.policy, bench.counted(), bench.now)
        assert again.effects == ()
        assert again.keyset == bench.keyset
