"""Keysets at the moments at which the parent is asked for something; fixed keys, so that texts can be compared."""

from __future__ import annotations

import hashlib

from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.keys.keyset import Key, Keyset, initial_keyset, new_key
from dnssecd.core.keys.keystate import Goal, Rec, RecordState, Role, State
from dnssecd.replacing import replace

ZONE = "example.com."
APEX = text_to_wire(ZONE)
NOW = 1_700_000_000


def key(number: int, role: Role = Role.KSK, algorithm: int = 13) -> Key:
    """A key that is the same in every run; its public key is no curve point, which nothing here minds."""
    size = {13: 64, 14: 96, 15: 32, 16: 57}[algorithm]
    public = b"".join(hashlib.sha256(bytes((number, part))).digest() for part in range(3))[:size]
    return new_key(f"key-{number}", role, algorithm, public, "local", NOW - 1_000_000)


def with_ds(key: Key, state: State, *, seen: int | None = None, lost: bool = False, **more: object) -> Key:
    """The key with its DS in a state reached at NOW."""
    changed, published = (NOW, NOW - 500_000) if lost else (NOW, NOW + 5)
    record = RecordState(state, changed, 1, 1, serial=7, published=published, seen=seen)
    in_use = RecordState(State.OMNIPRESENT, NOW - 600_000, 1, 1)
    key = key.with_record(Rec.DNSKEY, in_use).with_record(Rec.KRRSIG, in_use)
    return replace(key.with_record(Rec.DS, record), **more)  # type: ignore[arg-type]


def keyset(*keys: Key, signed: bool = True) -> Keyset:
    return Keyset(APEX, keys, step=3, signed=signed)


def fresh() -> Keyset:
    """Never handed over."""
    return initial_keyset(APEX, (key(1), key(9, Role.ZSK)), NOW)


def submit() -> Keyset:
    return keyset(with_ds(key(1), State.RUMOURED), key(9, Role.ZSK))


def in_place() -> Keyset:
    return keyset(with_ds(key(1), State.OMNIPRESENT, seen=NOW), key(9, Role.ZSK))


def replaced(**old: object) -> Keyset:
    """A KSK rollover: the old DS out, the new one in, in one step."""
    return keyset(
        with_ds(key(1), State.UNRETENTIVE, goal=Goal.ABSENT, **old), with_ds(key(2), State.RUMOURED)
    )


def withdrawn() -> Keyset:
    """The DS of a standby key goes, that of the key in use stays."""
    return keyset(
        with_ds(key(1), State.OMNIPRESENT, seen=NOW), with_ds(key(2), State.UNRETENTIVE, goal=Goal.ABSENT)
    )


def insecure() -> Keyset:
    return keyset(with_ds(key(1), State.UNRETENTIVE, goal=Goal.ABSENT), signed=False)


def lost() -> Keyset:
    return keyset(with_ds(key(1), State.RUMOURED, lost=True))
