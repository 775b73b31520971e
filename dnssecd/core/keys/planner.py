"""The rollover planner: one pure function.

There is no script per kind of rollover.  Policy and commands set goals (`rollover_goals`), evidence and time move
records as facts (`rollover_facts`), goals ask for steps and the safety rules (`rollover_rules`) say which may be
taken (`rollover_steps`), again and again until nothing changes.  All that was refused is in the plan.
"""

from functools import cache

from dnssecd.core.keys.evidence import Evidence
from dnssecd.core.keys.facts import World, contradicted, look
from dnssecd.core.keys.goals import Notes, in_use, set_goals
from dnssecd.core.keys.keyset import DS_DIGESTS, Key, Keyset, ds_rdata, signing_view, without_key
from dnssecd.core.keys.keystate import Event, Goal, Rec, State, advance
from dnssecd.core.keys.lost import shows, with_cds_judged, with_lost_algorithms
from dnssecd.core.keys.other_signers import advice, note_others
from dnssecd.core.keys.rules import broken
from dnssecd.core.keys.steps import TABLES, Tables, explain_refusals, take_steps
from dnssecd.core.keys.ttl_memory import remember_ttls
from dnssecd.core.keys.types import Blocker, Gate, Missing, Plan, RecordReached, RemoveKey, RolloverPolicy
from dnssecd.replacing import replace

Fading = tuple[str, Rec, tuple[str, ...]]  # entry, record, witnesses

__all__ = ["TABLES", "Tables", "plan_rollover"]


def plan_rollover(
    keyset: Keyset, policy: RolloverPolicy, evidence: Evidence, now: int, tables: Tables = TABLES
) -> Plan:
    """Return what to do now, when to ask again, and what waits and why.

    The shell stores the plan's keyset in the transaction that commits a version made from its signing view,
    (at once if nothing is to be published), and performs the effects afterwards.  Asking again with the same
    arguments gives the same plan; asking again with the new keyset adds nothing but open GenerateKey requests.
    """
    if not evidence.clock_sure:
        detail = "the clock jumped; nothing moves until a secondary's TSIG time or an operator confirms it"
        return Plan((), None, (Blocker(Gate.TIME, "clock", detail),), keyset)
    policy = replace(policy, specs=with_lost_algorithms(keyset, policy.specs))
    world = World(policy, evidence, now)
    notes, given = Notes(), keyset
    step = keyset.step + 1
    keyset = remember_ttls(keyset, evidence, now, policy.margin)
    keyset = note_others(keyset, world)
    keyset = _facts(keyset, tables, world, notes)
    keyset = set_goals(keyset, world, notes)
    while True:
        before = keyset
        keyset = take_steps(keyset, tables, step, world, notes)
        keyset = _facts(keyset, tables, world, notes)
        if keyset == before:
            break
    keyset = _remove(with_cds_judged(keyset), world, notes)
    explain_refusals(keyset, tables, world, notes)
    _explain_waits(keyset, tables, world, notes)
    notes.blockers.extend(_foreign_ds(keyset, world))
    notes.blockers.extend(advice(keyset, world))
    next_change = min((wake for wake in notes.wakes if wake > now), default=None)
    next_wake = min((wake for wake in (next_change, *notes.looks) if wake is not None), default=None)
    shown = shows(given, keyset) if _loses(given, keyset) else _changes_by_itself(given, keyset)
    return Plan(tuple(notes.effects), next_wake, tuple(notes.blockers), keyset, shown, next_change)


def _changes_by_itself(before: Keyset, after: Keyset) -> bool | None:
    """Return True where what is published changes, with or without a step; None: the steps say.

    No step changes who signs the CDS RRset when the keys of the last other signer are forgotten.
    """
    return signing_view(before).shown != signing_view(after).shown or None


def _loses(*keysets: Keyset) -> bool:
    return any(keyset.no_cds or any(key.lost for key in keyset.keys) for keyset in keysets)


def _facts(keyset: Keyset, tables: Tables, world: World, notes: Notes) -> Keyset:
    """Return the key set with what evidence and time say of every record."""
    forgotten: list[Fading] = []
    for ref, rec in [(key.ref, rec) for key in keyset.keys for rec in key.records]:
        key = keyset.find(ref)
        assert key is not None
        seen = look(tables.waits, keyset, key, rec, world)
        if seen is None:
            keyset = _doubt(keyset, key, rec, world, notes)
            continue
        if seen.record != key.record(rec):  # copies cost more than all else here
            key = key.with_record(rec, seen.record)
            keyset = keyset.with_key(key)
        if seen.until is None or seen.until > world.now:
            continue
        if seen.record.state is State.RUMOURED:
            keyset = _moved(keyset, key, rec, Event.SETTLE, seen.record.witnesses, world, notes)
        else:
            forgotten.append((ref, rec, seen.record.witnesses))
    return _forget(keyset, forgotten, tables, world, notes)


def _doubt(keyset: Keyset, key: Key, rec: Rec, world: World, notes: Notes) -> Keyset:
    """Take back a settled record if a server was seen to serve what was before it."""
    doubters = contradicted(keyset, key, rec, world)
    if not doubters:
        return keyset
    event = Event.UNSETTLE if key.record(rec).state is State.OMNIPRESENT else Event.REAPPEAR
    return _moved(keyset, key, rec, event, doubters, world, notes)


def _forget(keyset: Keyset, forgotten: list[Fading], tables: Tables, world: World, notes: Notes) -> Keyset:
    """Hide records that no validator holds any more: all together, or else each alone; not while a rule needs one.

    That an old record is gone does not confirm the new one that it leads to.
    """
    for group in (forgotten, *([fading] for fading in forgotten)):
        after, heard = keyset, Notes()
        for ref, rec, witnesses in group:
            key = after.find(ref)
            assert key is not None
            if key.record(rec).state is State.UNRETENTIVE:
                after = _moved(after, key, rec, Event.FADE, witnesses, world, heard)
        if broken(after, tables.rules) is None or broken(keyset, tables.rules) is not None:
            keyset = after
            notes.effects.extend(heard.effects)
    return keyset


def _moved(
    keyset: Keyset, key: Key, rec: Rec, event: Event, witnesses: tuple[str, ...], world: World, notes: Notes
) -> Keyset:
    record = advance(key.record(rec), event, keyset.step, world.now)
    notes.effects.append(RecordReached(key.ref, key.tag, rec, record.state, witnesses))
    return keyset.with_key(key.with_record(rec, record))


def _remove(keyset: Keyset, world: World, notes: Notes) -> Keyset:
    """Remove keys whose goal is absent some time after no validator can hold them."""
    for key in keyset.keys:
        if key.goal is not Goal.ABSENT or in_use(key):
            continue
        hidden = max(key.created, *(key.record(rec).changed for rec in key.records))
        if world.now < hidden + world.policy.purge:
            notes.wakes.append(hidden + world.policy.purge)
            continue
        keyset = without_key(keyset, key.ref)
        if not key.foreign and not any(other.key_id == key.key_id for other in keyset.keys):
            notes.effects.append(RemoveKey(key.ref, key.tag, key.key_id, key.keystore))
    return keyset


def _explain_waits(keyset: Keyset, tables: Tables, world: World, notes: Notes) -> None:
    leaving = not keyset.signed or any(key.goal is Goal.ABSENT and in_use(key) for key in keyset.keys)
    quiet = not world.policy.parent and not leaving
    for key in keyset.keys:
        for rec in key.records:
            seen = look(tables.waits, keyset, key, rec, world)
            if seen is None or (quiet and rec is Rec.DS):
                continue
            if seen.until is not None:
                notes.wakes.append(seen.until)
            notes.blockers.append(_wait_blocker(key, rec, tables, seen.until, seen.missing))


@cache
def _wait_rule(rec: Rec, event: Event) -> str:
    return f"{rec.value}-{event.value}s"


def _wait_blocker(
    key: Key, rec: Rec, tables: Tables, until: int | None, missing: tuple[Missing, ...]
) -> Blocker:
    record = key.record(rec)
    text = next((row.text for row in tables.waits if (row.rec, row.state) == (rec, record.state)), "")
    event = Event.SETTLE if record.state is State.RUMOURED else Event.FADE
    gate = Gate.TIME if until is not None else Gate.SAFETY
    return Blocker(
        gate, _wait_rule(rec, event), text, key.ref, key.tag, rec, event, missing, record.changed, until
    )


def _foreign_ds(keyset: Keyset, world: World) -> list[Blocker]:
    """Return a warning for each of the parent's servers with a DS that belongs to none of the zone's keys."""
    if not world.policy.parent:
        return []
    ours = {ds_rdata(keyset.apex, key.rdata, digest) for key in keyset.keys for digest in DS_DIGESTS}
    warnings = []
    for sight in world.evidence.parents:
        foreign = sorted({int.from_bytes(ds[:2]) for ds in sight.ds or () if ds not in ours})
        if foreign:
            seen = "DS with key tag " + ", ".join(map(str, foreign))
            missing = (Missing(sight.name, seen, "DS of this zone's keys only", sight.next_look),)
            detail = "the parent has a DS that is of none of this zone's keys"
            warnings.append(Blocker(Gate.SAFETY, "foreign-ds", detail, missing=missing))
    return warnings
