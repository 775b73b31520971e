"""Keys get lost in a cluster whose nodes have keys of their own: the node itself or another signs on, never bogus."""

import pytest

from dnssecd.core.keys.types import RolloverPolicy
from dnssecd.replacing import replace

from .scenario import Scenario, make, with_losses, with_second_node
from .world import World, run_shown

SEEDS = 40
SOAK_SEEDS, SOAK_BLOCK = 10_000, 500


def scenario_of(seed: int) -> Scenario:
    """A life without other signers, in which a second node joins and takes over, and keys get lost."""
    base = make(8 * seed)
    never = base.registry == "never"

    def changed(one: RolloverPolicy) -> RolloverPolicy:
        return replace(one, rfc5011=False, parent=one.parent or never)

    acts = [
        replace(act, value=changed(act.value)) if isinstance(act.value, RolloverPolicy) else act
        for act in base.acts
    ]
    policy = changed(base.policy)
    policy, acts = with_losses(seed, policy, acts, base.quiet_at)
    policy, acts = with_second_node(seed, policy, acts, base.quiet_at)
    registry = "cds" if never else base.registry
    ttl_ds = max(base.ttl_ds, 60) if policy.parent else base.ttl_ds
    return replace(base, policy=policy, acts=tuple(acts), registry=registry, ttl_ds=ttl_ds)


def run(seed: int) -> World:
    return run_shown(World(scenario_of(seed), seed), f"seed {seed}")


@pytest.mark.parametrize("seed", range(SEEDS))
def test_lost_keys_of_nodes(seed: int) -> None:
    run(seed)


@pytest.mark.parametrize(
    "seed",
    [
        40,  # a node's DS is withdrawn before it came, and a secondary has the CDS that ask for it
        250,  # a lost key of the other node signs nothing any more, and is no reason for its successor to leave sooner
        484,  # two nodes take over from each other while the DNSKEY RRset is signed by successors, too
        637,  # a node takes over while the successor of a lost key signs, but is not in all DNSKEY RRsets yet
        1691,  # a person confirms a DS, and no server was asked since its TTL was raised
        2051,  # a ZSK that has not signed everything is lost before there is a DS, and a standby ZSK can sign the SOA
        5646,  # a key signs beside the successor of a lost key, and a node takes over before all have their sets
        7585,  # likewise, with ZSKs
        8306,  # the registry deletes the DS by CDS of when the zone was to be insecure
        392,  # the successors of a lost key come alone, not with keys of another algorithm of the other node
    ],
)
def test_lost_keys_of_nodes_once_failed(seed: int) -> None:
    run(seed)


@pytest.mark.soak
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("first", range(0, SOAK_SEEDS, SOAK_BLOCK))
def test_lost_keys_of_nodes_for_long(first: int) -> None:
    for seed in range(first, first + SOAK_BLOCK):
        run(seed)
