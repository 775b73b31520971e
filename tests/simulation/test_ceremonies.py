"""With an off-line KSK no validator ever fails, whether ceremonies are held in time, late or not, or go wrong."""

from functools import cache

import pytest

from dnssecd.core.keys import steps
from dnssecd.core.keys.keystate import Role

from .ceremony_world import CeremonyWorld
from .oracle import Bogus
from .world import run_shown

SEEDS = 40
SOAK_SEEDS, SOAK_BLOCK = 20_000, 200


@cache
def run(seed: int) -> CeremonyWorld:
    """Run a seed; print its trace where it fails."""
    world = CeremonyWorld(seed)
    return run_shown(world, f"seed {seed} {sorted(world.troubles)}")


@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_validator_ever_fails(seed: int) -> None:
    run(seed)


@pytest.mark.soak
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("first", range(0, SOAK_SEEDS, SOAK_BLOCK))
def test_no_validator_ever_fails_for_long(first: int) -> None:
    for seed in range(first, first + SOAK_BLOCK):
        run(seed)


def test_seeds_reach_what_they_are_for() -> None:
    worlds = [run(seed) for seed in range(SEEDS)]
    lines = {line.split(None, 1)[1].split()[0] for world in worlds for line in world.trace}
    assert {"PublishDnskey", "WithdrawDnskey", "SubmitDs", "WithdrawDs", "response", "expired"} <= lines
    assert "UseSpare" in lines, "a ZSK that a request foresaw is used"
    assert {trouble for world in worlds for trouble in world.troubles} == {
        "missed", "late", "wrong", "moves", "csk"
    }  # fmt: skip
    assert any("the KSK rolls over" in line for world in worlds for line in world.trace)


@pytest.mark.parametrize("seed", [17, 59])
def test_a_csk_moves_off_line(seed: int) -> None:
    world = run(seed)
    assert "csk" in world.troubles
    assert {(key.role, key.keystore) for key in world.keyset.keys if key.krrsig.visible} == {
        (Role.KSK, "vault")
    }


def test_a_request_has_the_zsks_of_the_rollovers_to_come() -> None:
    """The ceremony signs for them in advance: a ZSK rolls over without waiting for the next one."""
    world = CeremonyWorld(0)
    assert world.previous is not None
    assert len(world.previous.zsks) > 1
    run(0)


def test_the_gate_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "ceremony_refusal", lambda *args: None)
    for seed in range(SEEDS):
        try:
            CeremonyWorld(seed).run()
        except Bogus:
            return
    raise AssertionError("no seed notices that the gate is gone")
