"""Steps: what the goals ask to publish or withdraw, and whether the gates let it happen."""

from collections.abc import Callable, Iterator

from msgspec import Struct

from dnssecd.core.keys import timing
from dnssecd.core.keys.backup_gate import backup_blocker, backup_refusal
from dnssecd.core.keys.ceremony_gate import RULE, ceremony_refusal
from dnssecd.core.keys.facts import WAITS, Wait, World, look, ttl_dnskey
from dnssecd.core.keys.goals import KSK_ROLES, Notes, frozen_until
from dnssecd.core.keys.holders_gate import holders_blocker, holders_refusal
from dnssecd.core.keys.keyset import DS_DIGESTS, REVOKE, Key, Keyset, ds_rdata, key_tag
from dnssecd.core.keys.keystate import HIDDEN, Event, Goal, Rec, Role, State, advance
from dnssecd.core.keys.lost import RULE as LOST
from dnssecd.core.keys.lost import half_signed, never_returns, signs_set, swaps, unsignable
from dnssecd.core.keys.other_signers import SIGNER_GATES, SignerGate, joins
from dnssecd.core.keys.rules import RULES, Rule, backed, broken, in_emergency, may_be_held, secured
from dnssecd.core.keys.types import STEP_EFFECTS, Blocker, Gate, RevokeKey
from dnssecd.replacing import replace

Atom = tuple[str, Rec, Event]  # (entry, record, PUBLISH or WITHDRAW)
Move = tuple[Atom, ...]  # taken together: in one zone version


class Hold(Struct, frozen=True):
    """A row: until when (epoch s; None: no matter) a step that is safe otherwise is put off."""

    name: str
    text: str
    until: Callable[[Keyset, Move, World], int | None]


def take_steps(keyset: Keyset, tables: "Tables", step: int, world: World, notes: Notes) -> Keyset:
    """All steps that goals ask for and gates allow, to the fixed point; every one changes what is published."""
    moved = True
    while moved:
        moved = False
        for move in list(_moves(keyset, world)):
            after = _apply(keyset, move, step, world)
            if _refusal(keyset, after, move, tables, world) is None:
                _note(keyset, after, move, notes)
                keyset = after
                moved = True
                break
    return keyset


def explain_refusals(keyset: Keyset, tables: "Tables", world: World, notes: Notes) -> None:
    """At the fixed point: a blocker for each single thing that is wanted and refused."""
    groups = [*_swaps(keyset, world), *_group_moves(keyset, world)]
    for single in _single_moves(keyset, world):
        move = next((single + group for group in groups if set(single) <= set(group)), single)
        move = tuple(dict.fromkeys(move))  # the single move first, then what would have to go with it
        after = _apply(keyset, move, keyset.step + 1, world)
        blocker = _refusal(keyset, after, move, tables, world)
        if blocker is not None:
            notes.blockers.append(blocker)
            if blocker.until is not None:
                notes.wakes.append(blocker.until)


# What is wanted


def wanted(keyset: Keyset, key: Key, rec: Rec, world: World) -> bool:
    """Whether the key's goal is to have this record published.

    A standby KSK is known to the parent only; RFC 5011 validators have to see its DNSKEY as well.  A standby ZSK is
    published and signs nothing.
    """
    if not keyset.signed or key.goal is Goal.ABSENT:
        return False
    if key.of_node and rec in (Rec.ZRRSIG, Rec.KRRSIG):
        return False  # that node signs when it owns the zone
    if key.goal is Goal.PRESENT:
        return True
    if key.role is Role.ZSK:
        return rec is Rec.DNSKEY
    return rec is Rec.DS or (rec is Rec.DNSKEY and world.policy.rfc5011)


def _event(keyset: Keyset, key: Key, rec: Rec, world: World) -> Event | None:
    want = wanted(keyset, key, rec, world)
    if rec not in key.records or want is key.record(rec).visible or (want and never_returns(key, rec)):
        return None
    return Event.PUBLISH if want else Event.WITHDRAW


def _single_moves(keyset: Keyset, world: World) -> Iterator[Move]:
    for key in keyset.keys:
        yield from _dnskey_moves(keyset, key, world)
    for key in keyset.keys:
        yield from _signature_moves(keyset, key, world)
    for event in (Event.PUBLISH, Event.WITHDRAW):
        for key in keyset.keys:
            if _event(keyset, key, Rec.DS, world) is event:
                yield ((key.ref, Rec.DS, event),)


def _dnskey_moves(keyset: Keyset, key: Key, world: World) -> Iterator[Move]:
    """Yield the moves of a key's DNSKEY: its signature over the DNSKEY RRset comes and goes with it.

    But a lost key's signature goes first, at the latest when its successor's comes (``_swaps``): the key stays for the
    CDS RRset that only it signed.  Not so where no validator has a DS any more and the zone is to be insecure: there
    nothing could sign a DNSKEY RRset.
    """
    atoms: list[Atom] = []
    for rec in (Rec.DNSKEY, Rec.KRRSIG):
        event = _event(keyset, key, rec, world)
        leaves = event is Event.WITHDRAW and rec is Rec.DNSKEY
        stays = keyset.signed or secured(keyset)
        if leaves and stays and key.lost and may_be_held(key.krrsig):
            continue
        if event is not None:
            atoms.append((key.ref, rec, event))
    if atoms:
        yield tuple(atoms)


def _signature_moves(keyset: Keyset, key: Key, world: World) -> Iterator[Move]:
    """One key signs per algorithm: its successor begins when it stops, and without one it stops last."""
    event = _event(keyset, key, Rec.ZRRSIG, world)
    others = [
        other
        for other in keyset.keys
        if other.algorithm == key.algorithm and other.ref != key.ref and Rec.ZRRSIG in other.records
    ]
    if event is Event.PUBLISH:
        signing = [other for other in others if other.zrrsig.visible]
        if not any(wanted(keyset, other, Rec.ZRRSIG, world) for other in signing):
            stops: Move = tuple((other.ref, Rec.ZRRSIG, Event.WITHDRAW) for other in signing)
            yield ((key.ref, Rec.ZRRSIG, event), *stops)
    elif event is Event.WITHDRAW and not any(wanted(keyset, other, Rec.ZRRSIG, world) for other in others):
        yield ((key.ref, Rec.ZRRSIG, event),)


def _moves(keyset: Keyset, world: World) -> Iterator[Move]:
    yield from _single_moves(keyset, world)
    yield from _group_moves(keyset, world)
    yield from _swaps(keyset, world)
    if world.evidence.ahead is not None:
        yield from _ceremony_moves(keyset, world)


def _swaps(keyset: Keyset, world: World) -> Iterator[Move]:
    ours = [key for key in keyset.keys if not key.foreign]
    comes = [move for key in ours for move in _dnskey_moves(keyset, key, world)]
    yield from swaps(keyset, comes)


def _group_moves(keyset: Keyset, world: World) -> Iterator[Move]:
    """Yield the moves of all DNSKEYs of an algorithm at once, as a new algorithm comes and an old one goes."""
    for algorithm in sorted({key.algorithm for key in keyset.keys}):
        for event in (Event.PUBLISH, Event.WITHDRAW):
            atoms: list[Atom] = []
            for key in keyset.keys:
                for move in _dnskey_moves(keyset, key, world) if key.algorithm == algorithm else ():
                    atoms.extend(atom for atom in move if atom[2] is event)
            if len({ref for ref, _, _ in atoms}) > 1:
                yield tuple(atoms)


def _ceremony_moves(keyset: Keyset, world: World) -> Iterator[Move]:
    """All DNSKEYs that come, and all that go, at once: an off-line KSK may have signed no RRset in between."""
    moves = [move for key in keyset.keys for move in _dnskey_moves(keyset, key, world)]
    for events in ((Event.PUBLISH,), (Event.WITHDRAW,), (Event.PUBLISH, Event.WITHDRAW)):
        chosen = [move for move in moves if all(event in events for _, _, event in move)]
        if len(chosen) > 1:
            yield tuple(atom for move in chosen for atom in move)


# Doing it


def _apply(keyset: Keyset, move: Move, step: int, world: World) -> Keyset:
    for ref, rec, event in move:
        key = keyset.find(ref)
        assert key is not None
        key = key.with_record(rec, advance(key.record(rec), event, step, world.now))
        starts = rec is Rec.ZRRSIG or (rec is Rec.KRRSIG and key.role is not Role.CSK)
        if starts and event is Event.PUBLISH and key.active is None:
            key = replace(key, active=world.now)
        if key.revoked and rec is Rec.DNSKEY and event is Event.PUBLISH:
            key = replace(key, hold_until=_held_until(ttl_dnskey(keyset, world), world))
        keyset = keyset.with_key(key)
    return _revoke(replace(keyset, step=step), move, step, world)


def _revoke(keyset: Keyset, move: Move, step: int, world: World) -> Keyset:
    """KSKs that validators may have come to trust, and that leave, come back revoked (RFC 5011 section 2.1).

    Not so the last of its algorithm: validators would want a signature of that algorithm by a key they may use.
    """
    for ref, rec, event in move:
        key = keyset.find(ref)
        assert key is not None
        if rec is not Rec.DNSKEY or event is not Event.WITHDRAW or key.role not in KSK_ROLES or key.revoked:
            continue
        if not key.dnskey.full or key.lost or key.foreign:
            continue
        stay = any(
            other.algorithm == key.algorithm and other.krrsig.visible and not other.revoked
            for other in keyset.keys
        )
        if (world.policy.rfc5011 or key.revoke) and stay and keyset.signed:
            keyset = replace(
                keyset, keys=(*keyset.keys, _revoked_entry(key, step, ttl_dnskey(keyset, world), world))
            )
    return keyset


def _revoked_entry(key: Key, step: int, ttl: int, world: World) -> Key:
    """Return the key with the REVOKE bit: in the DNSKEY RRset, and signing it, for the hold-down time."""
    flags = key.flags | REVOKE
    start = advance(HIDDEN, Event.PUBLISH, step, world.now)
    revoked = replace(
        key,
        flags=flags,
        goal=Goal.PRESENT,
        dnskey=start,
        krrsig=start,
        zrrsig=HIDDEN,
        ds=HIDDEN,
        roll=False,
        revoke=False,
        compromised=False,
        hold_until=_held_until(ttl, world),
    )
    return replace(revoked, tag=key_tag(revoked.rdata))


def _held_until(ttl: int, world: World) -> int:
    """Return until when (epoch s) a key stays that is published now with the REVOKE bit.

    One that was withdrawn before that, because the zone was to be insecure, is published again if the zone is signed:
    a validator that missed the revocation still trusts the key (RFC 5011 section 4.2, "Missing").
    """
    return world.now + timing.irev(world.policy.propagation_delay, ttl) + world.policy.margin


def _note(before: Keyset, after: Keyset, move: Move, notes: Notes) -> None:
    for ref, rec, event in move:
        key = after.find(ref)
        assert key is not None
        notes.effects.append(STEP_EFFECTS[rec, event](ref, key.tag))
    for key in after.keys[len(before.keys) :]:
        notes.effects.append(RevokeKey(key.ref, key.tag))


# Gates


def _refusal(before: Keyset, after: Keyset, move: Move, tables: "Tables", world: World) -> Blocker | None:
    ref, rec, event = move[0]
    key = before.find(ref)
    assert key is not None
    since = key.record(rec).changed

    def blocker(gate: Gate, rule: str, detail: str, until: int | None = None) -> Blocker:
        return Blocker(gate, rule, detail, ref, key.tag, rec, event, since=since, until=until)

    for signer_gate in tables.signer_gates:
        refused = signer_gate.judge(before, move, world)
        if refused is not None:
            gate = Gate.SAFETY if refused.until is None else Gate.TIME
            return replace(
                blocker(gate, signer_gate.name, refused.detail, refused.until), missing=refused.missing
            )
    reason = _one_ds_change(before, key, rec, event)
    if reason:
        return blocker(Gate.POLICY, "one-ds-change", reason)
    if _takes_the_last_hold(before, move, world):
        detail = "the parent has a DS of none of this zone's keys: no KSK leaves before the parent has a successor's"
        return blocker(Gate.SAFETY, "foreign-ds", detail)
    if _no_key_signs_the_set(after) and not _no_key_signs_the_set(before):
        return blocker(Gate.SAFETY, "signed-dnskey", "the DNSKEY RRset would have no signature")
    rule = broken(after, tables.rules, (rec, event), bound_before=secured(before))
    harmless = _harmless(before, event, rec, rule, tables.rules) or joins(before, move, world)
    if rule is not None and not harmless:
        return blocker(Gate.SAFETY, rule.name, rule.text)
    unsaved = None if in_emergency(before) else backup_refusal(before, move, world)
    if unsaved is not None:
        return backup_blocker(*unsaved, rec, event, world.now)
    unheld = None if in_emergency(before) else holders_refusal(before, move, world)
    if unheld is not None:
        return holders_blocker(*unheld, rec, event, world)
    unable = unsignable(before, after) or half_signed(before, after, world.evidence.signatures)
    if unable:
        return blocker(Gate.SAFETY, LOST, unable)
    unsigned = ceremony_refusal(before, after, world.evidence.ahead, world.now)
    if unsigned is not None:
        return blocker(Gate.CEREMONY, RULE, *unsigned)
    for hold in tables.holds:
        until = hold.until(before, move, world)
        if until is not None and until > world.now:
            return blocker(Gate.TIME, hold.name, hold.text, until)
    until = None if in_emergency(before) or not secured(before) else frozen_until(world)
    if until is not None:
        return blocker(Gate.FREEZE, "freeze", "inside a freeze window", until)
    return None


def _no_key_signs_the_set(keyset: Keyset) -> bool:
    """Return whether there is a DNSKEY RRset, but no signature of it: no version can be made so, not even without a DS.

    The first ZSK may be ready before the first KSK, if one of them waits for its backup.
    """
    return any(key.dnskey.visible for key in keyset.keys) and not any(
        key.krrsig.visible for key in keyset.keys
    )


def _one_ds_change(keyset: Keyset, key: Key, rec: Rec, event: Event) -> str:
    """Why a DS is not submitted yet ("": it is): a rollover asks the parent for one change, not for two."""
    if rec is not Rec.DS or event is not Event.PUBLISH or key.foreign:
        return ""
    if any(signs_set(other) for other in keyset.keys):
        return ""  # the DNSKEY RRset cannot change before the parent has the DS
    if key.goal is Goal.PRESENT and not backed(key):
        return "its DS is submitted once every DNSKEY set has the key and its signature"
    if key.goal is Goal.STANDBY and any(
        other.goal is Goal.ABSENT and other.ds.visible for other in keyset.keys
    ):
        return "the standby key's DS is submitted when the rollover withdraws the old one"
    return ""


def _takes_the_last_hold(keyset: Keyset, move: Move, world: World) -> bool:
    """Return whether a KSK would leave while the parent has the DS of none of the zone's keys, but a foreign one.

    The caches allow it, as the chain is broken already; but the old DS may be put back, and then needs this KSK.
    """
    leaving = {ref for ref, rec, event in move if rec in (Rec.DNSKEY, Rec.KRRSIG) and event is Event.WITHDRAW}
    ksks = [key for key in keyset.keys if key.role in KSK_ROLES and not key.revoked and not key.foreign]
    if not world.policy.parent or not any(key.ref in leaving for key in ksks):
        return False
    if any(key.ds.state is State.OMNIPRESENT for key in ksks if key.ref not in leaving):
        return False
    ours = {ds_rdata(keyset.apex, key.rdata, digest) for key in keyset.keys for digest in DS_DIGESTS}
    seen = {ds for sight in world.evidence.parents for ds in sight.ds or ()}
    return bool(seen - ours)


def _harmless(before: Keyset, event: Event, rec: Rec, rule: Rule | None, rules: tuple[Rule, ...]) -> bool:
    """Return whether a rule was broken before by others: then it does not forbid what can repair it."""
    return event is Event.PUBLISH and rec is not Rec.DS and broken(before, rules) is rule


def _add_hold_down(keyset: Keyset, move: Move, world: World) -> int | None:
    if not world.policy.rfc5011 or not keyset.signed:
        return None
    leaving = {ref for ref, rec, event in move if rec is Rec.DNSKEY and event is Event.WITHDRAW}
    anchors = [
        key
        for key in keyset.keys
        if key.ref in leaving and key.role in KSK_ROLES and not key.revoked and not key.foreign
    ]
    if not any(key.dnskey.state is State.OMNIPRESENT for key in anchors):
        return None
    wait = timing.itrp(ttl_dnskey(keyset, world)) + world.policy.margin
    heirs = [
        key for key in keyset.keys if key.goal is Goal.PRESENT and backed(key) and key.ref not in leaving
    ]
    return min((max(key.dnskey.changed, key.announced) + wait for key in heirs), default=world.now + wait)


#: A restored zone looks again after this time for what it waits for, if no server shows it before.
_LOOK_S = 3_600


def _signed_after_backup(keyset: Keyset, move: Move, world: World) -> int | None:
    """Return when signatures are gone that a key may have made after the backup that its zone was restored from."""
    times = []
    for ref, rec, event in move:
        key = keyset.find(ref)
        assert key is not None
        record = key.zrrsig
        if (
            rec is Rec.DNSKEY
            and event is Event.WITHDRAW
            and record.state is State.UNRETENTIVE
            and not record.step_in
        ):
            seen = look(WAITS, keyset, key, Rec.ZRRSIG, world)
            until = None if seen is None else seen.until
            times.append(world.now + _LOOK_S if until is None else until)
    return max(times, default=None)


HOLDS: tuple[Hold, ...] = (
    Hold(
        "signed-after-backup",
        "a DNSKEY stays until no cache can have signatures that the key may have made after the backup",
        _signed_after_backup,
    ),
    Hold(
        "rfc5011-add-hold-down",
        "a KSK leaves only when validators that follow RFC 5011 trust its successor",
        _add_hold_down,
    ),
)


class Tables(Struct, frozen=True):
    """The planner's tables (tests take rows away to see that each is needed)."""

    rules: tuple[Rule, ...] = RULES
    waits: tuple[Wait, ...] = WAITS
    holds: tuple[Hold, ...] = HOLDS
    signer_gates: tuple[SignerGate, ...] = SIGNER_GATES


TABLES = Tables()
