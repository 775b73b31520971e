"""Keys are lost while their zone becomes insecure, and it is signed again at any time: no validator fails."""

from random import Random

import pytest

from dnssecd.core.keys.keystate import State
from dnssecd.core.keys.types import RolloverPolicy
from dnssecd.replacing import replace

from .scenario import ALGORITHMS, DAY, MINUTE, Act, Scenario, log_between, make
from .world import World, run_shown

SEEDS = 60
SOAK_SEEDS, SOAK_BLOCK = 10_000, 500
BEGINS, QUIET = 10 * DAY, 70 * DAY
TROUBLES = ("restart", "secondary out", "parent out", "clock", "lose evidence")
OTHERS = ("roll ksk", "roll zsk", "policy", "revoke", "retire", "compromised")


def make_losses(seed: int) -> Scenario:
    """Return a scenario in which keys are lost before or after the policy makes the zone insecure, and secure again.

    In half of them other things change at that time: keys, or the policy once more.
    """
    rng = Random(f"lost insecure {seed}")
    base = make(seed)
    policy = replace(base.policy, parent=True, signed=True, rfc5011=False)
    policy = replace(policy, specs=tuple(replace(spec, lifetime=None) for spec in policy.specs))
    policy = replace(policy, standby_zsk=rng.random() < 0.25, require_backup=rng.random() < 0.25)
    begins = BEGINS + log_between(rng, MINUTE, 10 * DAY)
    acts = [
        Act(begins, "policy", replace(policy, signed=False)),
        Act(begins + log_between(rng, MINUTE, 20 * DAY), "policy", policy),
        Act(QUIET, "policy", policy),
    ]
    for _ in range(rng.choice((1, 1, 2, 3))):
        after = log_between(rng, MINUTE, 20 * DAY) * rng.choice((-0.1, 1))
        acts.append(Act(begins + after, "lost", rng.random()))
    for _ in range(rng.choice((0, 0, 2))):
        acts.append(Act(rng.uniform(begins, begins + 10 * DAY), rng.choice(TROUBLES), rng.random()))
    for _ in range(rng.choice((0, 0, 1, 2))):
        kind = rng.choice(OTHERS)
        value = _another(rng, policy) if kind == "policy" else rng.random()
        acts.append(Act(rng.uniform(BEGINS, begins + 5 * DAY), kind, value))
    registry = "cds" if base.registry == "never" else base.registry
    return replace(
        base, policy=policy, acts=tuple(sorted(acts, key=lambda act: act.at)), quiet_at=QUIET, registry=registry,
        ttl_ds=max(base.ttl_ds, 60), parents_known=True,
    )  # fmt: skip


def _another(rng: Random, policy: RolloverPolicy) -> RolloverPolicy:
    algorithm = rng.choice(ALGORITHMS)
    bits = 2048 if algorithm == 8 else 0
    specs = tuple(replace(spec, algorithm=algorithm, bits=bits) for spec in policy.specs)
    return replace(policy, specs=specs, signed=rng.random() < 0.7)


class LosesInsecure(World):
    """``returned``: the policy wanted the zone signed again while a lost key's signature may be held."""

    def __init__(self, seed: int) -> None:
        super().__init__(make_losses(seed), seed)
        self.returned = False

    def daemon(self) -> None:
        back = self.policy.signed and not self.keyset.signed
        self.returned |= back and any(
            key.lost and key.krrsig.state is State.UNRETENTIVE for key in self.keyset.keys
        )
        super().daemon()


def run(seed: int) -> LosesInsecure:
    return run_shown(LosesInsecure(seed), f"seed {seed}")


@pytest.mark.parametrize("first", range(0, SEEDS, 10))
def test_zones_are_signed_again_without_their_lost_keys(first: int) -> None:
    for seed in range(first, first + 10):
        run(seed)


def test_the_seeds_sign_zones_again_whose_lost_keys_are_not_forgotten() -> None:
    assert any(run(seed).returned for seed in range(SEEDS))


@pytest.mark.soak
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("first", range(0, SOAK_SEEDS, SOAK_BLOCK))
def test_zones_are_signed_again_without_their_lost_keys_for_long(first: int) -> None:
    for seed in range(first, first + SOAK_BLOCK):
        run(seed)
