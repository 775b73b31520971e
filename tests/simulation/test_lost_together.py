"""Keys of two algorithms are lost together, at any time in an algorithm rollover: no validator fails, and it ends."""

from random import Random

import pytest

from dnssecd.core.keys.keystate import Rec, State
from dnssecd.replacing import replace

from .scenario import ALGORITHMS, DAY, HOUR, MINUTE, Act, Scenario, log_between, make
from .world import World, run_shown

SEEDS = 40
SOAK_SEEDS, SOAK_BLOCK = 10_000, 500
BEGINS, QUIET = 10 * DAY, 60 * DAY
TROUBLES = ("restart", "secondary out", "parent out", "clock", "lose evidence")


def make_losses(seed: int) -> Scenario:
    """Return a scenario in which two to four keys are lost within a day, while an algorithm rollover is under way."""
    rng = Random(f"lost together {seed}")
    base = make(seed)
    policy = replace(base.policy, rfc5011=False, parent=True, signed=True, standby_zsk=rng.random() < 0.25)
    policy = replace(policy, specs=tuple(replace(spec, lifetime=None) for spec in policy.specs))
    other = rng.choice([number for number in ALGORITHMS if number != policy.specs[0].algorithm])
    specs = tuple(replace(spec, algorithm=other, bits=2048 if other == 8 else 0) for spec in policy.specs)
    changed = replace(policy, specs=specs)
    lost_at = BEGINS + log_between(rng, HOUR, 20 * DAY)
    apart = rng.choice((0.0, 0.0, log_between(rng, MINUTE, DAY)))
    shares = [
        rng.uniform(0, 0.5),
        rng.uniform(0.5, 1),
        *(rng.random() for _ in range(rng.choice((0, 0, 1, 2)))),
    ]
    losses = [Act(lost_at + n * apart, "lost", share) for n, share in enumerate(shares)]
    troubles = [
        Act(rng.uniform(0, QUIET), rng.choice(TROUBLES), rng.random()) for _ in range(rng.choice((0, 0, 2)))
    ]
    acts = [Act(BEGINS, "policy", changed), *losses, *troubles, Act(QUIET, "policy", changed)]
    registry = "cds" if base.registry == "never" else base.registry
    return replace(
        base, policy=policy, acts=tuple(sorted(acts, key=lambda act: act.at)), quiet_at=QUIET, registry=registry,
        ttl_ds=max(base.ttl_ds, 60), parents_known=True,
    )  # fmt: skip


class LosesTogether(World):
    """``together``: lost keys of both algorithms signed at one time, with DNSKEYs of both in the DNSKEY RRset."""

    def __init__(self, seed: int) -> None:
        super().__init__(make_losses(seed), seed)
        self.together = False

    def daemon(self) -> None:
        signing = [
            key
            for key in self.keyset.keys
            if key.lost and (key.krrsig.visible or key.zrrsig.visible)
            if key.record(Rec.DNSKEY).state is State.OMNIPRESENT
        ]
        self.together |= len({key.algorithm for key in signing}) > 1
        super().daemon()


def run(seed: int) -> LosesTogether:
    return run_shown(LosesTogether(seed), f"seed {seed}")


@pytest.mark.parametrize("first", range(0, SEEDS, 10))
def test_keys_of_two_algorithms_are_replaced(first: int) -> None:
    for seed in range(first, first + 10):
        run(seed)


def test_a_lost_ksk_that_others_replace_goes_with_the_successor_of_a_lost_zsk() -> None:
    run(1817)


def test_the_seeds_lose_keys_of_two_algorithms_together() -> None:
    assert any(run(seed).together for seed in range(SEEDS))


@pytest.mark.soak
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("first", range(0, SOAK_SEEDS, SOAK_BLOCK))
def test_keys_of_two_algorithms_are_replaced_for_long(first: int) -> None:
    for seed in range(first, first + SOAK_BLOCK):
        run(seed)
