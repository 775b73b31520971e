"""All ZSKs are lost in the middle of an algorithm rollover: the algorithm that no SOA can be signed in comes first."""

import pytest

from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.keyset import signing_view
from dnssecd.core.keys.keystate import Goal, Rec, Role, State
from dnssecd.core.keys.lost import can_publish, restored_first
from dnssecd.core.keys.rules import may_be_held
from dnssecd.core.keys.types import GenerateKey

from .bench import HOUR, Bench, ksk_zsk, policy, running

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
def test_before_the_new_algorithm_is_published_the_old_one_is_restored_first(order: tuple[int, ...]) -> None:
    bench = rolling(published=False)
    lose_zsks(bench, order)
    settles(bench)


def test_a_published_ksk_does_not_sign_in_place_of_a_lost_zsk() -> None:
    bench = rolling(published=True)
    bench.generate(GenerateKey("standby", Role.ZSK, NEW, 0, "local", Goal.STANDBY, "there is no standby key"))
    new = bench.keyset.keys[-1]
    ready = next(key for key in bench.keyset.keys if key.role is Role.ZSK and key.algorithm == NEW)
    bench.keyset = bench.keyset.with_key(new.with_record(Rec.DNSKEY, ready.dnskey))
    lose_zsks(bench)
    specs = restored_first(bench.keyset, ksk_zsk(NEW))
    assert {spec.algorithm for spec in specs} == {OLD}, "it has no ZSK; the new one has the standby key"
    settles(bench)


def settles(bench: Bench) -> None:
    """Assert that a version can be signed at once, and that the rollover ends then."""
    bench.step()
    assert can_publish(bench.keyset)
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
