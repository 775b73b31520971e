"""What people and the key service say to a zone's keys.  Each gives a new keyset; the next plan acts on it."""

from dataclasses import replace

from dnssecd.core.keys.keyset import Key, Keyset, KeysetError, add_key, new_key
from dnssecd.core.keys.keystate import Goal, RecordState, Role, State
from dnssecd.core.keys.timing import REMOVE_HOLD_DOWN_S
from dnssecd.core.keys.types import GenerateKey


def generated(keyset: Keyset, request: GenerateKey, key_id: str, public_key: bytes, now: int) -> Keyset:
    """The keyset with the key that a GenerateKey effect asked for.

    KeysetError where its tag or public key is taken: make another.
    """
    key = new_key(key_id, request.role, request.algorithm, public_key, request.keystore, now, request.bits)
    return add_key(keyset, replace(key, goal=request.goal))


def roll_over(keyset: Keyset, role: Role) -> Keyset:
    """Ask for a successor of the key in use in a role; KeysetError where there is none."""
    keys = [key for key in keyset.keys if key.role is role and key.goal is Goal.PRESENT and not key.revoked]
    if not keys:
        raise KeysetError(f"no {role.value} is in use; see `dnssecd key list`")
    return _let_go(keyset.with_key(replace(keys[-1], roll=True)), keys[-1].ref)


def retire(keyset: Keyset, ref: str) -> Keyset:
    """Have a key leave as soon as it safely can (a key in use gets a successor first)."""
    key = _named(keyset, ref)
    if key.goal is Goal.PRESENT:
        return _let_go(keyset.with_key(replace(key, roll=True)), ref)
    return keyset.with_key(replace(key, roll=True, goal=Goal.ABSENT))


def revoke(keyset: Keyset, ref: str) -> Keyset:
    """Have a KSK or CSK revoked (RFC 5011 section 2.1) when it leaves, and leave; KeysetError for a ZSK."""
    key = _named(keyset, ref)
    if key.role is Role.ZSK:
        raise KeysetError(f"key tag {key.tag} is a ZSK; only a KSK or CSK can be revoked: use `key retire`")
    return keyset.with_key(replace(key, revoke=True))


def compromised(keyset: Keyset, ref: str) -> Keyset:
    """Have a key replaced by the fastest safe way: no approval, freeze window or gradual re-signing delays it."""
    return keyset.with_key(replace(_named(keyset, ref), compromised=True))


def approve(keyset: Keyset, token: str) -> Keyset:
    """Note the approval that a blocker's `token` asks for."""
    return keyset if token in keyset.approved else replace(keyset, approved=(*keyset.approved, token))


def used(keyset: Keyset, token: str) -> Keyset:
    """Drop an approval whose step was taken (the planner drops those of keys itself)."""
    return replace(
        keyset,
        approved=tuple(other for other in keyset.approved if other != token),
        held=tuple(other for other in keyset.held if other != token),
    )


def clock_stepped(keyset: Keyset, now: int) -> Keyset:
    """Begin every wait anew, from evidence seen from `now` on: to be called when a clock step was confirmed.

    Times from before may be off by the step, so no wait may be measured from them.
    """
    keys = tuple(_waits_anew(key, now) for key in keyset.keys)
    return replace(keyset, keys=keys, trust_after=now)


def _waits_anew(key: Key, now: int) -> Key:
    for rec in key.records:
        key = key.with_record(rec, _wait_anew(key.record(rec), now))
    hold_until = None if key.hold_until is None else max(key.hold_until, now + REMOVE_HOLD_DOWN_S)
    return replace(key, announced=now, hold_until=hold_until)


def _wait_anew(record: RecordState, now: int) -> RecordState:
    changed = min(record.changed, now)
    if record.state not in (State.RUMOURED, State.UNRETENTIVE):
        return replace(record, changed=changed)
    published = record.published if record.published is None else min(record.published, now)
    return replace(record, changed=changed, published=published, seen=None, witnesses=())


def _let_go(keyset: Keyset, ref: str) -> Keyset:
    """The keyset with no step of a key held any more: a person asks for it now."""
    return replace(keyset, held=tuple(token for token in keyset.held if not token.endswith(f":{ref}")))


def _named(keyset: Keyset, ref: str) -> Key:
    key = keyset.find(ref)
    if key is None:
        raise KeysetError(f"the zone has no key {ref}; see `dnssecd key list`")
    return key
