"""No validator ever fails, whatever the planner is put through; and every row of its tables is needed."""

import pytest

from dnssecd.core.keys import requests as rollover_commands
from dnssecd.core.keys.planner import Tables

from .mutants import mutants
from .oracle import Bogus
from .scenario import make
from .world import Stuck, World, run_shown

SEEDS = 300
SOAK_SEEDS, SOAK_BLOCK = 20_000, 500  # in blocks: one failing seed hides few others
MUTANTS = dict(mutants())
LIKELY = (
    2,
    6,
    3,
    15,
    1,
    13,
    18,
    34,
    39,
    53,
    97,
    103,
    133,
    155,
    429,
)  # seeds that tell most mutants; any will do


def run(seed: int, tables: Tables | None = None) -> World:
    world = World(make(seed), seed) if tables is None else World(make(seed), seed, tables)
    return run_shown(world, f"seed {seed}")


@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_validator_ever_fails(seed: int) -> None:
    run(seed)


@pytest.mark.parametrize(
    "seed",
    [
        1663,  # the only keys of two algorithms are lost, in the middle of an algorithm rollover
        2367,  # a ZSK is lost that has not signed all of the zone yet, before there is a DS
        4335,  # the ZSKs of both algorithms are lost, in the middle of an algorithm rollover
        7243,  # a CSK is lost while its zone becomes insecure, and the zone is signed again
        21179,  # the ZSK of a zone that becomes insecure is lost: a person has the DS removed
        20539,  # a KSK is lost, and its zone becomes insecure while validators may hold the CDS that it signed
    ],
)
def test_lost_keys_are_replaced(seed: int) -> None:
    run(seed)


@pytest.mark.parametrize(
    "seed",
    [
        8628,  # two nodes sign by turns, and the DS comes while unsigned data may still be held
        13156,  # the same after one take-over
    ],
)
def test_the_first_ds_waits_for_signatures_of_nodes(seed: int) -> None:
    run(seed)


def test_a_revocation_continues_when_its_zone_is_signed_again() -> None:
    run(14391)


@pytest.mark.soak
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("first", range(0, SOAK_SEEDS, SOAK_BLOCK))
def test_no_validator_ever_fails_for_long(first: int) -> None:
    for seed in range(first, first + SOAK_BLOCK):
        run(seed)


@pytest.mark.parametrize("seed", [7, 34, 155])
def test_same_seed_same_trace(seed: int) -> None:
    first, second = run(seed), run(seed)
    assert first.trace == second.trace
    assert first.keyset == second.keyset


def test_seeds_reach_what_they_are_for() -> None:
    """Every kind of step happens somewhere in a few dozen seeds, so that silence means safety."""
    seen = {line.split()[1] for seed in range(60) for line in run(seed).trace}
    assert {
        "PublishDnskey",
        "WithdrawDnskey",
        "SignWith",
        "RetireSignatures",
        "SubmitDs",
        "WithdrawDs",
        "RevokeKey",
        "RemoveKey",
        "crash",
        "clock",
        "compromised",
        "otherjoins",
        "otherserves",
        "otherleaves",
        "nodejoins",
        "nodeleaves",
        "takeover",
    } <= seen


def fails(seed: int, tables: Tables | None = None) -> bool:
    try:
        World(make(seed), seed, *(() if tables is None else (tables,))).run()
    except (Bogus, Stuck):
        return True
    return False


def first_failure(tables: Tables | None = None) -> int | None:
    seeds = (*LIKELY, *(seed for seed in range(SEEDS) if seed not in LIKELY))
    return next((seed for seed in seeds if fails(seed, tables)), None)


@pytest.mark.parametrize("name", MUTANTS)
def test_every_row_is_needed(name: str) -> None:
    seed = first_failure(MUTANTS[name])
    assert seed is not None, f"no seed notices that {name} is gone"
    print(f"{name}: seed {seed}")


def test_what_a_take_over_waits_for_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dnssecd.core.keys.node_keys._unready", lambda keyset, key, held: "")
    assert first_failure() is not None


def test_starting_waits_again_after_a_clock_step_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollover_commands, "clock_stepped", lambda keyset, now: keyset)
    assert first_failure() is not None


def test_remembering_a_lowered_ttl_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dnssecd.core.keys.facts.remembered", lambda memory, observed, now, margin: observed)
    assert first_failure() is not None


@pytest.mark.parametrize("gate", ["unsignable", "backup_refusal"])
def test_the_gates_of_lost_and_unsaved_keys_are_needed(gate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        f"dnssecd.core.keys.steps.{gate}", lambda *_: None if gate == "backup_refusal" else ""
    )
    assert first_failure() is not None


@pytest.mark.parametrize(
    ("name", "without", "seed"),
    [
        ("with_lost_algorithms", lambda _keyset, specs: specs, 147),
        ("with_cds_judged", lambda keyset: keyset, 19),
    ],
)
def test_what_is_planned_for_lost_keys_is_needed(
    name: str, without: object, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"dnssecd.core.keys.planner.{name}", without)
    assert fails(seed) or first_failure() is not None
