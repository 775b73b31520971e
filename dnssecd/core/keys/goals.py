"""From policy to goals: which keys are to be in use, which retire, which have to be made.

Nothing here is published or withdrawn: a goal says which state a key is to reach, the rules say when it may.
"""

from dataclasses import dataclass, field

from dnssecd.core.keys import timing
from dnssecd.core.keys.evidence import SpareKey
from dnssecd.core.keys.facts import World
from dnssecd.core.keys.keyset import (
    ZONE,
    Key,
    Keyset,
    KeysetError,
    add_key,
    dnskey_rdata,
    mark_of,
    new_key,
)
from dnssecd.core.keys.keystate import Goal, Rec, Role, State
from dnssecd.core.keys.rules import secured
from dnssecd.core.keys.types import (
    Blocker,
    Effect,
    Gate,
    GenerateKey,
    GoalChanged,
    KeySpec,
    Missing,
    RolloverPolicy,
    UseSpare,
)
from dnssecd.replacing import replace

DENIAL = "denial:"
KEYS_GIVEN = "keys-given"
#: How often the spare keys are looked at while one is wanted (s): an import does not pass through the daemon.
SPARE_LOOK_S = 60
KSK_ROLES = (Role.KSK, Role.CSK)


@dataclass
class Notes:
    """Results that one plan collects; they never leave ``plan_rollover``."""

    effects: list[Effect] = field(default_factory=list)
    blockers: list[Blocker] = field(default_factory=list)
    wakes: list[int] = field(default_factory=list)  # when time alone allows something
    looks: list[int] = field(default_factory=list)  # when to look again for what does not report itself
    asked: set[str] = field(default_factory=set)  # approvals that are waited for or in use


def in_use(key: Key) -> bool:
    """Whether any of its records may still be held by someone."""
    return any(key.record(rec).state is not State.HIDDEN for rec in key.records)


def frozen_until(world: World) -> int | None:
    """When the freeze window around now ends; None outside of all windows."""
    ends = [until for start, until in world.policy.freeze if start <= world.now < until]
    return max(ends, default=None)


def set_goals(keyset: Keyset, world: World, notes: Notes) -> Keyset:
    """Return the key set with goals as the policy wants them; keys that are wanted become GenerateKey effects."""
    policy = world.policy
    if keyset.signed is not policy.signed:
        keyset = replace(keyset, signed=policy.signed)
    if not policy.signed:
        return _give_up_hidden(keyset, notes)
    chosen = []
    for spec in policy.specs:
        keyset, key = _choose(keyset, spec, world, notes)
        chosen.append(key)
    if all(chosen):
        keyset = _retire_other_roles(keyset, world, notes)
    keyset = _standby(keyset, all(chosen), world, notes)
    keyset = _end_revocations(keyset, world, notes)
    kept = (token for token in keyset.approved if token in notes.asked or token.startswith(DENIAL))
    return replace(keyset, approved=tuple(kept))


def denial_blocker(keyset: Keyset, policy: RolloverPolicy, now: int, change: str) -> Blocker | None:
    """Why a change of denial ("nsec to nsec3") waits; None: do it, and drop its approval with `commands.used`.

    The change is one atomic zone version, so only the gates that people set apply.
    """
    until = max((stop for start, stop in policy.freeze if start <= now < stop), default=None)
    if until is not None:
        return Blocker(Gate.FREEZE, "freeze", f"denial: {change}", until=until)
    token = f"{DENIAL}{change}"
    if ("denial" in policy.manual or token in keyset.held) and token not in keyset.approved:
        return Blocker(Gate.APPROVAL, "denial", f"{change}; waits for approval", token=token)
    return None


def due_at(key: Key, spec: KeySpec, world: World) -> int | None:
    """When its rollover is to begin: Ipub before the end of its lifetime.  None: never, or not in use yet."""
    if spec.lifetime is None or key.active is None:
        return None
    lead = timing.ipub(world.policy.propagation_delay, world.policy.dnskey_ttl) + world.policy.margin
    return key.active + max(spec.lifetime - lead, 0)


def with_goal(keyset: Keyset, key: Key, goal: Goal, reason: str, notes: Notes) -> Keyset:
    """Return the key set with one goal changed, and add a note for the history."""
    if key.goal is goal:
        return keyset
    notes.effects.append(GoalChanged(key.ref, key.tag, goal, reason))
    return keyset.with_key(replace(key, goal=goal))


def _give_up_hidden(keyset: Keyset, notes: Notes) -> Keyset:
    """Retire the keys of an insecure zone once no validator can hold a record of any of them."""
    if not any(in_use(key) for key in keyset.keys):
        for key in keyset.keys:
            keyset = with_goal(keyset, key, Goal.ABSENT, "the zone is insecure", notes)
    return keyset


def _unfit(key: Key, spec: KeySpec, world: World) -> str:
    """Return why a key cannot stay the one in use ("" if it can)."""
    return _unwanted(key, spec) or ("its lifetime ends" if _lifetime_is_over(key, spec, world) else "")


def _lifetime_is_over(key: Key, spec: KeySpec, world: World) -> bool:
    due = due_at(key, spec, world)
    return due is not None and world.now >= due


def _unwanted(key: Key, spec: KeySpec) -> str:
    """Return why a key cannot stay the one in use, its lifetime aside."""
    if key.compromised:
        return "it is compromised"
    if key.lost:
        return "its private key is lost"
    if key.revoke:
        return "it is to be revoked"
    if key.roll:
        return "a rollover was asked for"
    if key.algorithm != spec.algorithm:
        return f"the policy wants algorithm {spec.algorithm}"
    if not spec.fits(key):
        return "the policy wants another key store or size"
    return ""


def _choose(keyset: Keyset, spec: KeySpec, world: World, notes: Notes) -> tuple[Keyset, Key | None]:
    """Return the key in use, or the next one, for one role; set the goal of its predecessors to absent."""
    others = {
        other.algorithm for other in world.policy.specs if other.role is spec.role and other is not spec
    }
    mine = [
        key
        for key in keyset.keys
        if key.role is spec.role and key.goal is Goal.PRESENT and not key.revoked and not key.foreign
        if key.algorithm not in others
    ]
    fit = [key for key in mine if not _unfit(key, spec, world)]
    if not fit:
        keyset, heir = _heir(keyset, spec, mine, world, notes)
        if heir is None:
            return keyset, None
        fit = [heir]
    chosen = fit[-1]
    for key in mine:
        if key.ref != chosen.ref:
            reason = _unfit(key, spec, world) or "it has a successor"
            keyset = with_goal(keyset, key, Goal.ABSENT, reason, notes)
    due = due_at(chosen, spec, world)
    if due is not None:
        notes.wakes.append(due)
    return keyset, keyset.find(chosen.ref)


def _heir(
    keyset: Keyset, spec: KeySpec, mine: list[Key], world: World, notes: Notes
) -> tuple[Keyset, Key | None]:
    """Return a successor: a key that retires for policy reasons only, the standby key, or a new one."""
    reason = _unfit(mine[-1], spec, world) if mine else "there is none"
    urgent = any(key.compromised or key.lost for key in mine)
    if not _may_begin(keyset, spec, mine, reason, urgent, world, notes):
        return keyset, None
    for key in reversed(keyset.keys):
        if key.zrrsig.state is State.UNRETENTIVE and any(old.lost for old in mine):
            continue  # a lost key replaced a part of its signatures: no rule sees that the two together leave no gap
        leaving = key.goal is Goal.ABSENT and key.dnskey.visible
        ready = key.goal is Goal.STANDBY and (_ready(key) or (urgent and not secured(keyset)))
        if (leaving or ready) and spec.fits(key) and not _unfit(key, spec, world):
            if leaving:
                key = replace(key, announced=world.now)
            reason = "it takes over" if ready else "it is wanted again"
            keyset = with_goal(keyset.with_key(key), key, Goal.PRESENT, reason, notes)
            return keyset, keyset.find(key.ref)
    return _added(keyset, spec, Goal.PRESENT, reason, urgent, world, notes)


def _added(
    keyset: Keyset, spec: KeySpec, goal: Goal, reason: str, urgent: bool, world: World, notes: Notes
) -> tuple[Keyset, Key | None]:
    """Return the key set with a key more: the oldest spare key that fits. Without one a key is asked for.

    Keys are also made outside of dnssecd: in ceremonies, on cards, and in tokens where dnssecd has no right to make
    keys.
    """
    for spare in _spares_in_order(world):
        key = _joining(keyset, spare, goal, world.now)
        if key is None or not spec.fits(key):
            continue
        keyset = add_key(keyset, key)
        notes.effects.append(UseSpare(key.ref, key.tag))
        notes.effects.append(GoalChanged(key.ref, key.tag, goal, reason))
        return keyset, key
    if _is_offline(spec, world):
        old = [
            key
            for key in keyset.keys
            if key.role is spec.role and key.goal is Goal.PRESENT and not key.foreign
        ]
        detail = f"{reason}: the new {spec.role.value} is made at a ceremony (dnssecd ksr keygen)"
        notes.blockers.append(_ceremony_blocker(detail, old[-1] if old else None))
    elif world.policy.given:
        _wait_for_key(spec, reason, world, notes)
    else:
        notes.effects.append(_request(keyset, spec, goal, reason, urgent))
    return keyset, None


def _is_offline(spec: KeySpec, world: World) -> bool:
    """Whether the keys of a spec are made where the key service is not."""
    return world.evidence.ahead is not None and spec.keystore in world.evidence.ahead.stores


def _ceremony_blocker(detail: str, old: Key | None) -> Blocker:
    ref, tag = ("", 0) if old is None else (old.ref, old.tag)
    return Blocker(Gate.CEREMONY, "key-ceremony", detail, ref, tag)


def _spares_in_order(world: World) -> list[SpareKey]:
    """Return the spare keys, the oldest first; keys that an off-line KSK signed for come before all others."""
    ahead = world.evidence.ahead
    signed = {
        spare.key_id
        for spare in world.evidence.spares
        if ahead is not None and ahead.has(dnskey_rdata(ZONE, spare.algorithm, spare.public_key))
    }
    return sorted(
        world.evidence.spares, key=lambda spare: (spare.key_id not in signed, spare.created, spare.key_id)
    )


def _joining(keyset: Keyset, spare: SpareKey, goal: Goal, now: int) -> Key | None:
    """Return a spare key as it would join the key set; None where it was there before, or goes with none of it."""
    if mark_of(spare.algorithm, spare.public_key) in keyset.past:
        return None
    key = new_key(
        spare.key_id, spare.role, spare.algorithm, spare.public_key, spare.keystore, now, spare.bits
    )
    key = replace(key, goal=goal)
    try:
        add_key(keyset, key)
    except KeysetError:
        return None
    return key


def _wait_for_key(spec: KeySpec, reason: str, world: World, notes: Notes) -> None:
    wanted = f"a {spec.role.value} of algorithm {spec.algorithm} in key store {spec.keystore}"
    look = world.now + SPARE_LOOK_S
    missing = (Missing("an operator", "no spare key", wanted, look),)
    detail = f"{reason}; the policy has no key made (keys = given): add {wanted} (key import, key generate)"
    notes.blockers.append(Blocker(Gate.POLICY, KEYS_GIVEN, detail, missing=missing))
    notes.looks.append(look)


def _ready(key: Key) -> bool:
    """Return whether a standby key is ahead of a new one: its DS is everywhere, or a ZSK's DNSKEY is published."""
    return key.dnskey.visible if key.role is Role.ZSK else key.ds.state is State.OMNIPRESENT


def _request(keyset: Keyset, spec: KeySpec, goal: Goal, reason: str, urgent: bool) -> GenerateKey:
    number = dict(keyset.born).get(spec.role.value, 0) + 1
    name = f"{spec.role.value}-{spec.algorithm}-{spec.keystore}-{number}"
    return GenerateKey(name, spec.role, spec.algorithm, spec.bits, spec.keystore, goal, reason, urgent)


def _may_begin(
    keyset: Keyset, spec: KeySpec, mine: list[Key], reason: str, urgent: bool, world: World, notes: Notes
) -> bool:
    """Return whether the gates before a rollover let it begin: one at a time, freeze, approval; not in an emergency."""
    users = [key for key in keyset.keys if in_use(key) and not key.foreign]
    if not users or urgent:
        return True
    old = mine[-1] if mine else users[-1]
    if mine and not secured(keyset) and _settling(old):
        detail = f"{reason}, but the zone's first keys are not everywhere yet"
        notes.blockers.append(Blocker(Gate.POLICY, "one-at-a-time", detail, old.ref, old.tag))
        return False
    leaving = [key for key in users if key.role is spec.role and key.goal is Goal.ABSENT and not key.revoked]
    if leaving and mine and not _unwanted(mine[-1], spec) and _lifetime_is_over(mine[-1], spec, world):
        detail = f"{reason}, but the rollover before, from key tag {leaving[0].tag}, is not over"
        notes.blockers.append(Blocker(Gate.POLICY, "one-at-a-time", detail, old.ref, old.tag))
        return False
    until = frozen_until(world)
    if until is not None:
        notes.wakes.append(until)
        notes.blockers.append(Blocker(Gate.FREEZE, "freeze", reason, old.ref, old.tag, until=until))
        return False
    return approved(keyset, _kind(users, spec), old, reason, world, notes)


def _settling(key: Key) -> bool:
    """Whether some validator may not have it yet (no rule holds it before there is a DS or a trust anchor)."""
    return any(key.record(rec).state is State.RUMOURED for rec in key.records if rec is not Rec.DS)


def _kind(users: list[Key], spec: KeySpec) -> str:
    if all(key.algorithm != spec.algorithm for key in users):
        return "algorithm"
    return "zsk" if spec.role is Role.ZSK else "ksk"


def approved(keyset: Keyset, kind: str, old: Key, reason: str, world: World, notes: Notes) -> bool:
    """Whether a step of this kind needs no approval or has it."""
    token = f"{kind}:{old.ref}"
    if kind not in world.policy.manual and token not in keyset.held:
        return True
    notes.asked.add(token)
    if token in keyset.approved:
        return True
    detail = f"{reason}; waits for approval"
    notes.blockers.append(Blocker(Gate.APPROVAL, kind, detail, old.ref, old.tag, token=token))
    return False


def _retire_other_roles(keyset: Keyset, world: World, notes: Notes) -> Keyset:
    """After a change between KSK + ZSK and CSK: the other roles' keys go."""
    roles = {spec.role for spec in world.policy.specs}
    for key in keyset.keys:
        if key.goal is Goal.PRESENT and key.role not in roles and not key.revoked and not key.foreign:
            keyset = with_goal(keyset, key, Goal.ABSENT, "the policy has no such role", notes)
    return keyset


def _standby(keyset: Keyset, settled: bool, world: World, notes: Notes) -> Keyset:
    """Return the key set with one standby key of each kind that the policy wants, made once there are keys in use."""
    policy = world.policy
    for roles, wanted in ((KSK_ROLES, policy.standby_ksk), ((Role.ZSK,), policy.standby_zsk)):
        spec = next((spec for spec in policy.specs if spec.role in roles), None)
        keyset = _standby_of(keyset, roles, spec if wanted else None, settled, world, notes)
    return keyset


def _standby_of(
    keyset: Keyset, roles: tuple[Role, ...], spec: KeySpec | None, settled: bool, world: World, notes: Notes
) -> Keyset:
    """Return the key set with one standby key of these roles; ``spec`` None: with none."""
    spares = [
        key for key in keyset.keys if key.goal is Goal.STANDBY and key.role in roles and not key.foreign
    ]
    fit = [key for key in spares if spec is not None and not _unfit(key, spec, world)]
    for key in spares:
        if key not in fit[-1:]:
            keyset = with_goal(keyset, key, Goal.ABSENT, "it is not wanted as standby key", notes)
    if spec is not None and settled and not fit:
        keyset, _ = _added(keyset, spec, Goal.STANDBY, "there is no standby key", False, world, notes)
    return keyset


def _end_revocations(keyset: Keyset, world: World, notes: Notes) -> Keyset:
    """Retire revoked keys whose hold-down is over (RFC 5011 section 2.4.2)."""
    for key in keyset.keys:
        if key.hold_until is None or key.goal is Goal.ABSENT:
            continue
        if key.lost:
            keyset = with_goal(keyset, key, Goal.ABSENT, "its private key is lost", notes)
            continue
        if world.now >= key.hold_until and key.record(Rec.DNSKEY).state is State.OMNIPRESENT:
            keyset = with_goal(keyset, key, Goal.ABSENT, "revoked and held down long enough", notes)
        else:
            notes.wakes.append(key.hold_until)
    return keyset
