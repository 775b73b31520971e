"""From policy to goals: which keys are to be in use, which are on their way out, which have to be made.

Nothing here is published or withdrawn: goals say where each key is to get to, and the rules when it may.
"""

from dataclasses import dataclass, field, replace

from dnssecd.core.keys import timing
from dnssecd.core.keys.facts import World
from dnssecd.core.keys.keyset import Key, Keyset, used_tags
from dnssecd.core.keys.keystate import Goal, Rec, Role, State
from dnssecd.core.keys.rules import secured
from dnssecd.core.keys.types import Blocker, Effect, Gate, GenerateKey, GoalChanged, KeySpec, RolloverPolicy

DENIAL = "denial:"
KSK_ROLES = (Role.KSK, Role.CSK)


@dataclass
class Notes:
    """What one plan collects on its way; never leaves `plan_rollover`."""

    effects: list[Effect] = field(default_factory=list)
    blockers: list[Blocker] = field(default_factory=list)
    wakes: list[int] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)  # approvals that are waited for or in use


def in_use(key: Key) -> bool:
    """Whether any of its records may still be held by someone."""
    return any(key.record(rec).state is not State.HIDDEN for rec in key.records)


def frozen_until(world: World) -> int | None:
    """When the freeze window around now ends; None outside of all windows."""
    ends = [until for start, until in world.policy.freeze if start <= world.now < until]
    return max(ends, default=None)


def set_goals(keyset: Keyset, world: World, notes: Notes) -> Keyset:
    """The keyset with goals as the policy wants them; keys that are wanted become GenerateKey effects."""
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
    """When its roll-over is to begin: Ipub before the end of its lifetime.  None: never, or not in use yet."""
    if spec.lifetime is None or key.active is None:
        return None
    lead = timing.ipub(world.policy.propagation_delay, world.policy.dnskey_ttl) + world.policy.margin
    return key.active + max(spec.lifetime - lead, 0)


def with_goal(keyset: Keyset, key: Key, goal: Goal, reason: str, notes: Notes) -> Keyset:
    """The keyset with one goal changed, and a note for the history."""
    if key.goal is goal:
        return keyset
    notes.effects.append(GoalChanged(key.ref, key.tag, goal, reason))
    return keyset.with_key(replace(key, goal=goal))


def _give_up_hidden(keyset: Keyset, notes: Notes) -> Keyset:
    """An insecure zone needs no keys once nobody can hold a record of any of them."""
    if not any(in_use(key) for key in keyset.keys):
        for key in keyset.keys:
            keyset = with_goal(keyset, key, Goal.ABSENT, "the zone is insecure", notes)
    return keyset


def _unfit(key: Key, spec: KeySpec, world: World) -> str:
    """Why a key cannot stay the one in use ("" if it can)."""
    if key.compromised:
        return "it is compromised"
    if key.revoke:
        return "it is to be revoked"
    if key.roll:
        return "a roll-over was asked for"
    if key.algorithm != spec.algorithm:
        return f"the policy wants algorithm {spec.algorithm}"
    if not spec.fits(key):
        return "the policy wants another key store or size"
    due = due_at(key, spec, world)
    return "its lifetime ends" if due is not None and world.now >= due else ""


def _choose(keyset: Keyset, spec: KeySpec, world: World, notes: Notes) -> tuple[Keyset, Key | None]:
    """The key in use, or to come into use, for one role; its predecessors' goal becomes absent."""
    mine = [
        key for key in keyset.keys if key.role is spec.role and key.goal is Goal.PRESENT and not key.revoked
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
    """A successor: one that was on its way out for policy reasons only, the stand-by key, or a new one."""
    reason = _unfit(mine[-1], spec, world) if mine else "there is none"
    urgent = any(key.compromised for key in mine)
    if not _may_begin(keyset, spec, mine, reason, urgent, world, notes):
        return keyset, None
    for key in reversed(keyset.keys):
        leaving = key.goal is Goal.ABSENT and key.dnskey.visible
        ready = key.goal is Goal.STANDBY and key.ds.state is State.OMNIPRESENT
        if (leaving or ready) and spec.fits(key) and not _unfit(key, spec, world):
            if leaving:
                key = replace(key, announced=world.now)
            reason = "it takes over" if ready else "it is wanted again"
            keyset = with_goal(keyset.with_key(key), key, Goal.PRESENT, reason, notes)
            return keyset, keyset.find(key.ref)
    notes.effects.append(_request(keyset, spec, Goal.PRESENT, reason, urgent))
    return keyset, None


def _request(keyset: Keyset, spec: KeySpec, goal: Goal, reason: str, urgent: bool) -> GenerateKey:
    number = dict(keyset.born).get(spec.role.value, 0) + 1
    name = f"{spec.role.value}-{spec.algorithm}-{spec.keystore}-{number}"
    tags = tuple(sorted(used_tags(keyset)))
    return GenerateKey(name, spec.role, spec.algorithm, spec.bits, spec.keystore, goal, reason, tags, urgent)


def _may_begin(
    keyset: Keyset, spec: KeySpec, mine: list[Key], reason: str, urgent: bool, world: World, notes: Notes
) -> bool:
    """The gates before a roll-over: one at a time, freeze, approval.  None of them holds up an emergency."""
    users = [key for key in keyset.keys if in_use(key)]
    if not users or urgent:
        return True
    old = mine[-1] if mine else users[-1]
    if mine and not secured(keyset) and _settling(old):
        detail = f"{reason}, but the zone's first keys are not everywhere yet"
        notes.blockers.append(Blocker(Gate.POLICY, "one-at-a-time", detail, old.ref, old.tag))
        return False
    leaving = [key for key in users if key.role is spec.role and key.goal is Goal.ABSENT and not key.revoked]
    if reason == "its lifetime ends" and leaving:
        detail = f"{reason}, but the roll-over before, from key tag {leaving[0].tag}, is not over"
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
        if key.goal is Goal.PRESENT and key.role not in roles and not key.revoked:
            keyset = with_goal(keyset, key, Goal.ABSENT, "the policy has no such role", notes)
    return keyset


def _standby(keyset: Keyset, settled: bool, world: World, notes: Notes) -> Keyset:
    """One stand-by KSK if the policy wants one; made only when there is a key in use."""
    spec = next((spec for spec in world.policy.specs if spec.role in KSK_ROLES), None)
    spares = [key for key in keyset.keys if key.goal is Goal.STANDBY]
    fit = [
        key
        for key in spares
        if world.policy.standby_ksk and spec is not None and not _unfit(key, spec, world)
    ]
    for key in spares:
        if key not in fit[-1:]:
            keyset = with_goal(keyset, key, Goal.ABSENT, "it is not wanted as stand-by key", notes)
    if world.policy.standby_ksk and spec is not None and settled and not fit:
        notes.effects.append(_request(keyset, spec, Goal.STANDBY, "there is no stand-by key", False))
    return keyset


def _end_revocations(keyset: Keyset, world: World, notes: Notes) -> Keyset:
    """A revoked key goes when its hold-down is over (RFC 5011 section 2.4.2)."""
    for key in keyset.keys:
        if key.hold_until is None or key.goal is Goal.ABSENT:
            continue
        if world.now >= key.hold_until and key.record(Rec.DNSKEY).state is State.OMNIPRESENT:
            keyset = with_goal(keyset, key, Goal.ABSENT, "revoked and held down long enough", notes)
        else:
            notes.wakes.append(key.hold_until)
    return keyset
