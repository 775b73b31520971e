"""The gate of key stores that the nodes of a cluster share: a key is used when enough nodes proved that they hold it.

So no key is lost with one node's disk, and another node can take the zone over as soon as the key is in use.
"""

from collections.abc import Iterator

from dnssecd.core.keys.facts import World
from dnssecd.core.keys.keyset import Key, Keyset
from dnssecd.core.keys.keystate import Event, Goal, Rec, State
from dnssecd.core.keys.rules import secured
from dnssecd.core.keys.types import Blocker, Gate, Missing

RULE = "held-by-nodes"
#: How often it is looked whether more nodes hold the key (s).
LOOK_S = 3


def holders_of(key: Key, world: World) -> tuple[str, ...]:
    """Return the nodes that proved that they hold a key."""
    return next((found.nodes for found in world.evidence.holders if found.key_id == key.key_id), ())


def holders_refusal(
    keyset: Keyset, move: tuple[tuple[str, Rec, Event], ...], world: World
) -> tuple[Key, str] | None:
    """Return the key of a step that waits for more nodes, and why; None: the step does not wait."""
    wanted = world.policy.holders_min
    if wanted <= 1:
        return None
    for key in waits_for(keyset, move):
        nodes = holders_of(key, world)
        if key.keystore in world.policy.shared and len(nodes) < wanted:
            return key, f"{key.role.value} {key.tag} is {held_text(nodes, wanted)}"
    return None


def waits_for(keyset: Keyset, move: tuple[tuple[str, Rec, Event], ...]) -> Iterator[Key]:
    """Yield the keys that a step uses: those that it publishes, and the hidden successors of those that it withdraws.

    The rules of a secure zone keep a key until its successor is in use. In an insecure zone they forbid nothing: a step
    that could not publish the successor would still withdraw the key, and leave signatures without a DNSKEY.
    """
    for ref, _, event in move:
        key = keyset.find(ref)
        if key is None or key.revoked or key.foreign:
            continue
        if event is Event.PUBLISH:
            yield key
        elif event is Event.WITHDRAW and not secured(keyset):
            yield from (other for other in keyset.keys if other.goal is Goal.PRESENT and _is_hidden(other))


def _is_hidden(key: Key) -> bool:
    return not key.foreign and all(key.record(rec).state is State.HIDDEN for rec in key.records)


def held_text(nodes: tuple[str, ...], wanted: int) -> str:
    """Return who holds a key, in words."""
    who = f"by {', '.join(nodes)} only" if nodes else "by no node for sure"
    return f"held {who}, and must be held by {wanted} nodes before it is used (held_by_min)"


def holders_blocker(key: Key, detail: str, rec: Rec, event: Event, world: World) -> Blocker:
    """Return the blocker of a step that waits for other nodes."""
    nodes = holders_of(key, world)
    missing = Missing(
        "the other nodes of the cluster",
        f"{len(nodes)} of {world.policy.holders_min}",
        "a proof that they hold the key",
        world.now + LOOK_S,
    )
    return Blocker(Gate.HOLDERS, RULE, detail, key.ref, key.tag, rec, event, (missing,))
