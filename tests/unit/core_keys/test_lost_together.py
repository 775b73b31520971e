"""Keys of both algorithms are lost in the middle of an algorithm rollover: their successors come together."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from itertools import combinations

import pytest

from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.keyset import signing_view
from dnssecd.core.keys.keystate import Goal, Rec, Role, State
from dnssecd.core.keys.lost import can_publish, in_distress, with_lost_algorithms
from dnssecd.core.keys.rules import may_be_held
from dnssecd.core.keys.types import GenerateKey, KeySpec

from .bench import HOUR, Bench, csk, ksk_zsk, policy, running

OLD, NEW = 13, 15


def rolling(*, published: bool) -> Bench:
    """Return a zone whose data is signed in a new algorithm; ``published``: whose DNSKEY RRset has its keys, too."""
    bench = running()
    bench.policy = policy(ksk_zsk(NEW))
    bench.step()
    for _ in range(99):
        if any(may_be_held(key.dnskey) for key in bench.keyset.keys if key.algorithm == NEW) is published:
            return bench
        bench.secondaries_follow()
        bench.wait(HOUR)
    raise AssertionError("the rollover does not begin")


def lose_zsks(bench: Bench, order: tuple[int, ...] = (OLD, NEW)) -> None:
    for algorithm in order:
        zsk = next(key for key in bench.keyset.keys if (key.role, key.algorithm) == (Role.ZSK, algorithm))
        assert zsk.zrrsig.visible
        bench.keyset = commands.lost(bench.keyset, zsk.ref)


@pytest.mark.parametrize("order", [(OLD, NEW), (NEW, OLD)])
def test_before_the_new_algorithm_is_published_the_old_one_is_restored_first(
    order: tuple[int, ...],
) -> None:
    bench = rolling(published=False)
    lose_zsks(bench, order)
    settles(bench)


def test_a_standby_zsk_takes_over_while_the_other_algorithm_gets_a_new_one() -> None:
    bench = rolling(published=True)
    bench.generate(GenerateKey("standby", Role.ZSK, NEW, 0, "local", Goal.STANDBY, "there is no standby key"))
    new = bench.keyset.keys[-1]
    ready = next(key for key in bench.keyset.keys if key.role is Role.ZSK and key.algorithm == NEW)
    bench.keyset = bench.keyset.with_key(new.with_record(Rec.DNSKEY, ready.dnskey))
    lose_zsks(bench)
    settles(bench)


def states(bench: Bench) -> set[tuple[str, Rec, State]]:
    return {(key.ref, rec, key.record(rec).state) for key in bench.keyset.keys for rec in key.records}


def points(specs: tuple[KeySpec, ...], changed: tuple[KeySpec, ...]) -> Iterator[Bench]:
    """Yield a zone in each state that an algorithm rollover leads it through."""
    bench = running(specs)
    bench.policy = policy(changed)
    bench.step()
    seen = []
    for _ in range(72):
        if states(bench) not in seen:
            seen.append(states(bench))
            yield deepcopy(bench)
        bench.secondaries_follow()
        bench.parent_follows()
        bench.wait(HOUR)
    assert all(key.algorithm == NEW for key in bench.keyset.keys if key.dnskey.visible)


@pytest.mark.parametrize("kind", [ksk_zsk, csk])
def test_any_keys_can_be_lost_together_at_any_step(kind: Callable[[int], tuple[KeySpec, ...]]) -> None:
    for bench in points(kind(OLD), kind(NEW)):
        signing = [key.ref for key in bench.keyset.keys if key.krrsig.visible or key.zrrsig.visible]
        for lost in (some for size in (2, len(signing)) for some in combinations(signing, size)):
            zone = deepcopy(bench)
            for ref in lost:
                zone.keyset = commands.lost(zone.keyset, ref)
            zone.settle()
            left = sorted((key.role, key.algorithm) for key in zone.keyset.keys if key.goal is Goal.PRESENT)
            assert left == sorted((spec.role, NEW) for spec in kind(NEW)), lost
            assert not in_distress(zone.keyset), lost


def test_a_lost_key_of_an_algorithm_that_leaves_gets_no_successor() -> None:
    """Once no validator has its DNSKEY, its signatures go, in the version that brings the other ZSK."""
    bench = next(zone for zone in points(ksk_zsk(OLD), ksk_zsk(NEW)) if not asks_for(zone, OLD))
    lose_zsks(bench)
    bench.step()
    assert not can_publish(bench.keyset)
    made = [key for key in bench.keyset.keys if not key.lost and key.role is Role.ZSK]
    assert [key.algorithm for key in made] == [NEW]
    ends(bench)


def test_a_successor_for_data_comes_with_the_end_of_a_ksk_that_others_replace_already() -> None:
    """Without a ZSK no version can be signed, and the lost KSK cannot sign another DNSKEY RRset: only both together."""
    bench = running()
    old = bench.key(Role.KSK)
    bench.generate(GenerateKey("other", Role.KSK, OLD, 0, "local", Goal.PRESENT, "it replaces the other"))
    other = bench.keyset.keys[-1]
    for rec in other.records:
        other = other.with_record(rec, old.record(rec))
    bench.keyset = bench.keyset.with_key(other)
    for key in (old, bench.key(Role.ZSK)):
        bench.keyset = commands.lost(bench.keyset, key.ref)
    bench.settle(rounds=80)
    assert not in_distress(bench.keyset)
    assert sorted(key.role for key in bench.keyset.keys if not key.lost) == [Role.KSK, Role.ZSK]


def asks_for(bench: Bench, algorithm: int) -> bool:
    return any(key.dnskey.visible for key in bench.keyset.keys if key.algorithm == algorithm)


def test_each_role_gets_a_key_of_the_size_that_it_had() -> None:
    bench = running(tuple(KeySpec(role, 8, bits=bits) for role, bits in ((Role.KSK, 4096), (Role.ZSK, 2048))))
    zsk = bench.key(Role.ZSK)
    bench.keyset = commands.lost(bench.keyset, zsk.ref)
    specs = with_lost_algorithms(bench.keyset, ksk_zsk(NEW))
    assert [(spec.role, spec.algorithm, spec.bits) for spec in specs] == [
        (Role.KSK, 8, 4096),
        (Role.ZSK, 8, 2048),
    ]


def settles(bench: Bench) -> None:
    """Assert that a version can be signed at once, and that the rollover ends then."""
    bench.step()
    assert can_publish(bench.keyset)
    ends(bench)


def ends(bench: Bench) -> None:
    """Assert that the rollover ends with new keys alone."""
    bench.settle(rounds=80)
    keys = bench.keyset.keys
    assert sorted((key.role, key.algorithm, key.lost) for key in keys) == [
        (Role.KSK, NEW, False),
        (Role.ZSK, NEW, False),
    ]
    assert all(key.record(rec).state is State.OMNIPRESENT for key in keys for rec in key.records)


def test_signatures_that_no_validator_asks_for_go_with_the_key_that_made_them() -> None:
    bench = rolling(published=False)
    assert {key.algorithm for key in signing_view(bench.keyset).zone_keys} == {OLD, NEW}
    lose_zsks(bench, (NEW,))
    assert {key.algorithm for key in signing_view(bench.keyset).zone_keys} == {OLD}
    lost = next(key for key in bench.keyset.keys if key.lost)
    assert lost.zrrsig.state is State.UNRETENTIVE
    assert lost.zrrsig.step_out == bench.keyset.step
    bench.keyset = commands.found(bench.keyset, lost.ref)
    bench.step()
    assert bench.keyset.find(lost.ref).zrrsig.state is State.RUMOURED  # type: ignore[union-attr]
