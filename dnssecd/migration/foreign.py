"""Keys of another signer in a common form, and the key set that dnssecd makes of them.

This module has no private keys: ``Private`` has only their location. A reader of a signer's files or lists (bind, knot,
opendnssec, powerdns) is a pure function from text to ``ForeignKey`` objects that raises ForeignError.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dnssecd.core.keys.keyset import Key, Keyset, KeysetError, add_key, dnskey_rdata, key_tag
from dnssecd.core.keys.keystate import RECORDS, Goal, Rec, RecordState, Role, State
from dnssecd.replacing import replace


class ForeignError(ValueError):
    """A key of another signer cannot be imported; the message has the fault, the position and the remedy."""


@dataclass(frozen=True, slots=True)
class Stated:
    """The state of one record according to the other signer, and since when (epoch s; None: unknown)."""

    state: State
    since: int | None = None


@dataclass(frozen=True, slots=True)
class Private:
    """The location of a private key: a file (``path``), or an object in a token (``cka_id`` in hex, or ``label``)."""

    path: str = ""
    cka_id: str = ""
    label: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """One key of another signer.

    ``zone``: the zone's name in lower-case wire form; ``public_key``: the public key field of the DNSKEY RDATA. Times
    are epoch seconds, None if unknown: ``created``; ``publish`` (DNSKEY published), ``active`` (first signature),
    ``inactive`` (last signature, also in the future), ``delete`` (DNSKEY withdrawn, also in the future), ``revoke``,
    ``ds_publish`` and ``ds_delete`` (the parent got the DS, removed it). ``states`` has only the listed states.
    ``source``: signer and file or list, for messages.
    """

    zone: bytes
    role: Role
    flags: int
    algorithm: int
    public_key: bytes
    source: str = ""
    bits: int = 0
    created: int | None = None
    publish: int | None = None
    active: int | None = None
    inactive: int | None = None
    delete: int | None = None
    revoke: int | None = None
    ds_publish: int | None = None
    ds_delete: int | None = None
    states: Mapping[Rec, Stated] = field(default_factory=dict)
    goal: Goal | None = None
    private: Private | None = None

    @property
    def rdata(self) -> bytes:
        """DNSKEY RDATA (RFC 4034 §2.1)."""
        return dnskey_rdata(self.flags, self.algorithm, self.public_key)

    @property
    def tag(self) -> int:
        """The key tag."""
        return key_tag(self.rdata)


@dataclass(frozen=True, slots=True)
class Held:
    """The same key in dnssecd: the key service's handle, key store and RSA size (0 for other algorithms)."""

    key_id: str
    keystore: str
    bits: int = 0


def stated_by_times(key: ForeignKey, now: int) -> Mapping[Rec, Stated]:
    """Return states derived from times, for signers without states: published and withdrawn records, and since when.

    No record is omnipresent, or hidden after use: that needs TTLs and evidence. The DS has a state only if its times
    are known.
    """
    spans = {
        Rec.DNSKEY: (key.publish if key.publish is not None else key.active, key.delete),
        Rec.ZRRSIG: (key.active, key.inactive if key.inactive is not None else key.delete),
        Rec.KRRSIG: (key.publish if key.publish is not None else key.active, key.delete),
        Rec.DS: (key.ds_publish, key.ds_delete),
    }
    found = {}
    for rec in RECORDS[key.role]:
        start, stop = spans[rec]
        if stop is not None and stop <= now:
            found[rec] = Stated(State.UNRETENTIVE, stop)
        elif start is not None:
            found[rec] = Stated(State.RUMOURED, start) if start <= now else Stated(State.HIDDEN)
    return found


def is_gone(key: ForeignKey, now: int) -> bool:
    """Return whether the other signer has finished with a key: it is removed, and no cache has its records."""
    states = {**stated_by_times(key, now), **key.states}
    leaving = key.goal is Goal.ABSENT if key.goal is not None else _leaving(key, now)
    return leaving and bool(key.states) and all(stated.state is State.HIDDEN for stated in states.values())


def adopted_keyset(
    apex: bytes,
    keys: Sequence[ForeignKey],
    held: Mapping[bytes, Held],
    served: frozenset[bytes],
    at_parent: frozenset[bytes] | None,
    now: int,
) -> Keyset:
    """Return the key set of a zone that another signer signed. Raise ForeignError.

    ``held`` maps DNSKEY RDATA to the key in dnssecd; ``served`` is the served DNSKEY RRset (RDATA); ``at_parent`` the
    DNSKEY RDATA that the parent has a DS of, None if the parent cannot be queried.

    No state claims more than the evidence shows. A record without a stated state gets one by its times, else it is
    rumoured from now on, if it is served. A DS is rumoured at most, until the parent's servers have been seen to have
    it for its TTL.
    """
    keys = [replace(key, states={**stated_by_times(key, now), **key.states}) for key in keys]
    now_steps = _steps(keys, now)
    keyset = Keyset(apex, step=max(now_steps.values(), default=1))
    for key in sorted(keys, key=lambda key: (key.created or 0, key.active or 0, key.tag)):
        _check(apex, key, served)
        try:
            keyset = add_key(
                keyset, _adopted(key, held[key.rdata], served, at_parent, now_steps, keyset.step, now)
            )
        except KeysetError as error:
            raise ForeignError(f"{key.source}: {error}") from error
    return keyset


def _check(apex: bytes, key: ForeignKey, served: frozenset[bytes]) -> None:
    if key.zone != apex:
        raise ForeignError(f"{key.source}: the key belongs to another zone")
    dnskey = key.states.get(Rec.DNSKEY)
    if dnskey is not None and dnskey.state is State.OMNIPRESENT and key.rdata not in served:
        raise ForeignError(
            f"{key.source}: key {key.tag} is listed as published, but the served zone has no such DNSKEY; "
            "check that these are the keys of this zone, and that --against has the served zone"
        )


def _steps(keys: Sequence[ForeignKey], now: int) -> Mapping[int, int]:
    """Return a step number for each time of a change, so that the order of changes is kept."""
    times = {stated.since for key in keys for stated in key.states.values() if stated.since is not None}
    ordered = sorted({time for time in times if time <= now} | {now})
    return {time: number for number, time in enumerate(ordered, start=1)}


def _adopted(
    key: ForeignKey,
    held: Held,
    served: frozenset[bytes],
    at_parent: frozenset[bytes] | None,
    steps: Mapping[int, int],
    last: int,
    now: int,
) -> Key:
    goal = key.goal or (Goal.ABSENT if _leaving(key, now) else Goal.PRESENT)
    created = key.created if key.created is not None else now
    announced = key.publish if key.publish is not None else created
    made = Key(
        held.key_id,
        key.role,
        key.algorithm,
        key.flags,
        key.public_key,
        key.tag,
        held.keystore,
        min(created, now),
        held.bits or key.bits,
        goal=goal,
        announced=min(announced, now),
    )
    for rec in RECORDS[key.role]:
        stated = key.states.get(rec)
        if rec is Rec.DS:
            record = _ds(stated, goal, None if at_parent is None else key.rdata in at_parent, last, now)
        else:
            record = _record(stated, key.rdata in served, steps, last, now)
        made = made.with_record(rec, record)
    return replace(made, active=_active(key, made, now))


def _leaving(key: ForeignKey, now: int) -> bool:
    return any(time is not None and time <= now for time in (key.inactive, key.delete))


def _active(key: ForeignKey, made: Key, now: int) -> int | None:
    """Return since when the key signs, the start of its lifetime; now for a key in use without a time."""
    if key.active is not None and key.active <= now:
        return key.active
    signs = Rec.KRRSIG if made.role is Role.KSK else Rec.ZRRSIG
    return now if made.record(signs).state is not State.HIDDEN else None


def _record(
    stated: Stated | None, served: bool, steps: Mapping[int, int], last: int, now: int
) -> RecordState:
    """Return the state of one record of the zone; ``served``: whether the served zone has the DNSKEY."""
    if stated is None:
        return RecordState(State.RUMOURED, now, last, last) if served else RecordState()
    if stated.state is State.HIDDEN:
        return RecordState()
    since = stated.since if stated.since is not None and stated.since <= now else now
    step = steps.get(since, last)
    if stated.state is State.UNRETENTIVE:
        return RecordState(State.UNRETENTIVE, since, 1, 1, step)
    return RecordState(stated.state, since, step, step)


def _ds(stated: Stated | None, goal: Goal, seen: bool | None, last: int, now: int) -> RecordState:
    """Return the state of the DS: never omnipresent; hidden only if signer and parent agree."""
    state = None if stated is None else stated.state
    if state in (State.RUMOURED, State.OMNIPRESENT):
        return RecordState(State.RUMOURED, now, last, last)
    if seen and goal is Goal.PRESENT:
        return RecordState(State.RUMOURED, now, last, last)
    if state is State.HIDDEN and seen is False:
        return RecordState()
    return RecordState(State.UNRETENTIVE, now, 1, 1, last)
