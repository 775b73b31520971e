"""What befalls the zone: commands, changes of policy, mishaps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.keyset import Keyset, KeysetError
from dnssecd.core.keys.keystate import Role
from dnssecd.core.keys.lost import in_distress, shows, unsignable
from dnssecd.core.keys.types import RolloverPolicy
from dnssecd.replacing import replace

from .scenario import DAY, HOUR, MARGIN, Act

if TYPE_CHECKING:
    from .world import World


def perform(world: World, act: Act) -> None:
    """Have it happen now; the daemon plans afterwards.

    While zone data cannot be signed nothing that needs new signatures happens: the program refuses it.
    """
    if act.kind == "policy":
        world.last_policy = act
    if act.kind in ("ttl", "policy") and in_distress(world.keyset):
        if act.kind == "policy":
            world.after(DAY, lambda: act is world.last_policy and perform(world, act))
        return
    world.log(f"act {act.kind}")
    share = act.value if isinstance(act.value, float) else 0.0
    match act.kind:
        case "policy":
            assert isinstance(act.value, RolloverPolicy)
            old = world.policy
            world.policy = act.value
            world.gave_up = world.gave_up or not act.value.signed
            if old.dnskey_ttl != act.value.dnskey_ttl:
                world.commit()
        case "roll ksk":
            command(world, lambda keyset: commands.roll_over(keyset, ksk_role(world)))
        case "roll zsk":
            command(world, lambda keyset: commands.roll_over(keyset, Role.ZSK))
        case "compromised" | "retire" | "revoke":
            on_a_key(world, act.kind, share)
        case "lost":
            lose(world, share)
        case "other joins":
            world.other.join()
        case "other rolls":
            world.other.roll()
        case "other leaves":
            world.other.leave()
        case "node joins":
            world.node.join()
        case "node takes over":
            world.node.take_over()
        case "node leaves":
            world.node.leave()
        case "restart":
            world.restart()
        case "lose evidence":
            world.forget_sights()
        case "clock":
            step_clock(world, share)
        case "drift":
            world.offset = world.base + (share - 0.5) * 0.4 * MARGIN
        case "secondary out":
            for secondary in world.secondaries[:1]:
                secondary.out_until = world.now + share * 5 * DAY
        case "parent out":
            world.parents[0].out_until = world.now + share * 5 * DAY
        case "ttl":
            world.ttl_zone = max(60, int(share * 2 * world.scenario.ttl_zone))
            world.commit()
        case "ds ttl":
            world.ttl_ds = max(60, int(share * 2 * world.scenario.ttl_ds))
            for parent in world.parents:
                world.oracle.serve_ds(parent.name, parent.ds, world.ttl_ds, world.now)
        case "freeze":
            until = world.clock + int(share * 5 * DAY)
            world.policy = replace(world.policy, freeze=((world.clock, until),))
    world.daemon()


def ksk_role(world: World) -> Role:
    return next((spec.role for spec in world.policy.specs if spec.role is not Role.ZSK), Role.KSK)


def command(world: World, what: Callable[[Keyset], Keyset]) -> None:
    try:
        world.keyset = what(world.keyset)
    except KeysetError as error:
        world.log(f"refused: {error}")


def on_a_key(world: World, kind: str, share: float) -> None:
    keys = [key for key in world.keyset.keys if not key.revoked]
    if keys:
        key = keys[int(share * len(keys))]
        world.log(f"{kind} {key.tag}")
        command(world, lambda keyset: getattr(commands, kind)(keyset, key.ref))


def lose(world: World, share: float) -> None:
    """Lose a key that is in use; where a version can be signed still, one without CDS goes out."""
    keys = [
        key for key in world.keyset.keys if not key.revoked and (key.krrsig.visible or key.zrrsig.visible)
    ]
    if not keys:
        return
    key = keys[int(share * len(keys))]
    world.log(f"lost {key.tag}")
    before = world.keyset
    world.keyset = commands.lost(world.keyset, key.ref)
    if not unsignable(before, world.keyset) and shows(before, world.keyset):
        world.commit()


def step_clock(world: World, share: float) -> None:
    """The clock jumps; the daemon notices and waits until the time is confirmed, then measures again.

    Either the jump is undone, or it was the time before that was wrong.
    """
    world.offset += (share - 0.5) * 60 * DAY
    world.clock_sure = False
    world.after(share * 2 * DAY, lambda: clock_confirmed(world))


def clock_confirmed(world: World) -> None:
    world.log("clock confirmed")
    if world.rng.random() < 0.5:
        world.offset = 0.0
    world.base = world.offset
    world.clock_sure = True
    world.forget_sights()
    world.confirmations = []
    world.keyset = commands.clock_stepped(world.keyset, world.clock)
    if not world.scenario.parents_known:
        world.after(HOUR, world.confirm)
    world.daemon()
