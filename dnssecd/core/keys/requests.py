"""What people and the key service say to a zone's keys.  Each gives a new keyset; the next plan acts on it."""

from collections.abc import Iterable

from dnssecd.core.keys.keyset import Key, Keyset, KeysetError, add_key, new_key
from dnssecd.core.keys.keystate import Event, Goal, Rec, RecordState, Role, State, advance
from dnssecd.core.keys.lost import can_sign_data, without_idle_signatures
from dnssecd.core.keys.timing import REMOVE_HOLD_DOWN_S
from dnssecd.core.keys.types import GenerateKey
from dnssecd.replacing import replace


def generated(keyset: Keyset, request: GenerateKey, key_id: str, public_key: bytes, now: int) -> Keyset:
    """Return the key set with the key that a GenerateKey effect asked for.

    KeysetError where its tag or public key is taken: make another.
    """
    key = new_key(key_id, request.role, request.algorithm, public_key, request.keystore, now, request.bits)
    return add_key(keyset, replace(key, goal=request.goal))


def roll_over(keyset: Keyset, role: Role) -> Keyset:
    """Ask for a successor of the key in use in a role; KeysetError where there is none."""
    keys = [
        key
        for key in keyset.keys
        if key.role is role and key.goal is Goal.PRESENT and not key.revoked and not key.foreign
    ]
    if not keys:
        raise KeysetError(f"no {role.value} is in use; see `dnssecd key list`")
    return _let_go(keyset.with_key(replace(keys[-1], roll=True)), keys[-1].ref)


def retire(keyset: Keyset, ref: str) -> Keyset:
    """Retire a key as soon as it is safe (a key in use gets a successor first)."""
    node = keyset.find(ref)
    if node is not None and node.of_node:
        return keyset.with_key(replace(node, roll=True))  # that node makes a successor, and lets it go then
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
    node = keyset.find(ref)
    if (
        node is not None and node.of_node
    ):  # it signs nothing now: it leaves at once, and that node makes another
        return keyset.with_key(replace(node, compromised=True, goal=Goal.ABSENT))
    return keyset.with_key(replace(_named(keyset, ref), compromised=True))


def lost(keyset: Keyset, ref: str) -> Keyset:
    """Return the key set with a key replaced by the fastest safe way: it can sign nothing more.

    What it signed is kept until its successor signs, if validators ask for it.  An entry of the same key with the
    REVOKE bit is lost with it.
    """
    key = _named(keyset, ref)
    keys = tuple(replace(other, lost=True) if other.key_id == key.key_id else other for other in keyset.keys)
    after = without_idle_signatures(replace(keyset, keys=keys))
    signs = any(key.lost and key.krrsig.visible for key in after.keys)
    return replace(after, no_cds=after.no_cds or (signs and can_sign_data(after)))


def found(keyset: Keyset, ref: str) -> Keyset:
    """Return the key set with a key lost no longer: its private key was restored before it was replaced."""
    key = _named(keyset, ref)
    keys = tuple(replace(other, lost=False) if other.key_id == key.key_id else other for other in keyset.keys)
    return replace(keyset, keys=keys)


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
    """Restart every wait, from evidence seen from ``now`` on: to be called when a clock step was confirmed.

    Times from before may be off by the step, so no wait may be measured from them.
    """
    keys = tuple(_restart_waits(key, now) for key in keyset.keys)
    return replace(keyset, keys=keys, trust_after=now)


def ds_found(keyset: Keyset, dnskeys: Iterable[bytes], now: int) -> Keyset:
    """Return the key set of a restored zone, after its parent was looked at: it has the DS of these DNSKEYs (RDATA).

    A DS may have been handed over after the backup was made. One that the parent has is rumoured; one that it does not
    show may have been submitted if the key was ready for it, so validators may follow it until the parent was seen
    without it for its TTL.
    """
    found, step = frozenset(dnskeys), keyset.step + 1
    for key in keyset.keys:
        if Rec.DS not in key.records or key.ds.state is not State.HIDDEN or key.foreign:
            continue
        if key.rdata in found or is_ready_for_ds(key):
            comes = key.rdata in found and key.goal is not Goal.ABSENT
            record = advance(key.ds, Event.PUBLISH if comes else Event.REAPPEAR, step, now)
            keyset = replace(keyset.with_key(key.with_record(Rec.DS, record)), step=step)
    return keyset


def signatures_found(keyset: Keyset, now: int) -> Keyset:
    """Return the key set of a zone restored from a backup that is older than the public zone.

    A key whose DNSKEY was published may have begun to sign the zone after the backup. Its signatures may be in caches
    until the version made now has replaced them, and until then its DNSKEY stays (`steps.HOLDS`).
    """
    for key in keyset.keys:
        if Rec.ZRRSIG not in key.records or key.foreign or not key.dnskey.visible:
            continue
        if key.zrrsig.state is State.HIDDEN:
            record = advance(key.zrrsig, Event.REAPPEAR, keyset.step, now)
            keyset = keyset.with_key(key.with_record(Rec.ZRRSIG, replace(record, step_in=0)))
    return keyset


def is_ready_for_ds(key: Key) -> bool:
    """Return whether all validators can have a key's DNSKEY with its signature."""
    return all(record.state is State.OMNIPRESENT for record in (key.dnskey, key.krrsig))


def _restart_waits(key: Key, now: int) -> Key:
    for rec in key.records:
        key = key.with_record(rec, _restart_wait(key.record(rec), now))
    hold_until = None if key.hold_until is None else max(key.hold_until, now + REMOVE_HOLD_DOWN_S)
    return replace(key, announced=now, hold_until=hold_until, left=None if key.left is None else now)


def _restart_wait(record: RecordState, now: int) -> RecordState:
    changed = min(record.changed, now)
    if record.state not in (State.RUMOURED, State.UNRETENTIVE):
        return replace(record, changed=changed)
    published = record.published if record.published is None else min(record.published, now)
    return replace(record, changed=changed, published=published, seen=None, witnesses=())


def _let_go(keyset: Keyset, ref: str) -> Keyset:
    """Return the key set with no step of a key held any more: an operator asks for it now."""
    return replace(keyset, held=tuple(token for token in keyset.held if not token.endswith(f":{ref}")))


def _named(keyset: Keyset, ref: str) -> Key:
    key = keyset.find(ref)
    if key is None:
        raise KeysetError(f"the zone has no key {ref}; see `dnssecd key list`")
    if key.foreign:
        raise KeysetError(f"key tag {key.tag} is of signer {key.signer}; use `dnssecd key remove-foreign`")
    return key
