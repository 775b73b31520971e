"""From evidence to facts: when a record counts as known everywhere, or as forgotten everywhere.

A wait starts only once every server was seen to have what was published (`RecordState.seen`), and lasts for the
largest TTL that a copy from before can have.  `WAITS` is the table; without its row a state is never left.
"""

from collections.abc import Callable

from msgspec import Struct

from dnssecd.core.dns.serial import is_after
from dnssecd.core.keys import timing
from dnssecd.core.keys.evidence import Confirmation, Evidence, ParentSight
from dnssecd.core.keys.keyset import DS_DIGESTS, Key, Keyset, ds_rdata
from dnssecd.core.keys.keystate import Rec, RecordState, State
from dnssecd.core.keys.ttl_memory import remembered
from dnssecd.core.keys.types import Missing, RolloverPolicy
from dnssecd.core.utc import moment
from dnssecd.replacing import replace

#: The TTL of a DS (s) where an operator's word stands for servers that did not show it since the step: few parents have
#: more.
DS_TTL_UNSEEN = 172_800


class World(Struct, frozen=True):
    """What one plan goes by."""

    policy: RolloverPolicy
    evidence: Evidence
    now: int


class Look(Struct, frozen=True):
    """One record judged by the evidence.

    `record` has the evidence written into it; `until` is when its wait is over (None: not begun, see
    `missing`).
    """

    record: RecordState
    missing: tuple[Missing, ...] = ()
    until: int | None = None


Judge = Callable[[Keyset, Key, Rec, World], Look]


class Wait(Struct, frozen=True):
    """A row: how a record leaves a state that it must not be hurried out of."""

    rec: Rec
    state: State
    text: str
    judge: Judge


def look(waits: tuple[Wait, ...], keyset: Keyset, key: Key, rec: Rec, world: World) -> Look | None:
    """Return what the evidence says of a record that waits; None for a record that waits for nothing.  Pure."""
    state = key.record(rec).state
    if state not in (State.RUMOURED, State.UNRETENTIVE):
        return None
    for wait in waits:
        if wait.rec is rec and wait.state is state:
            return wait.judge(keyset, key, rec, world)
    return Look(key.record(rec), until=world.now)  # no row: nothing to wait for


def contradicted(keyset: Keyset, key: Key, rec: Rec, world: World) -> tuple[str, ...]:
    """Who was seen, since it settled, to serve what it must not: an old zone version or an old DS set.  Pure."""
    record = key.record(rec)
    if rec is Rec.DS:
        present = record.state is State.OMNIPRESENT
        since = record.changed if record.seen is None else record.seen
        return tuple(
            sight.name
            for sight in world.evidence.parents
            if sight.ds is not None
            and sight.at > max(since, keyset.trust_after - 1)
            and _serves(keyset, key, sight) is not present
        )
    if record.serial is None or record.seen is None:
        return ()
    return _gone_back(record.serial, max(record.seen, keyset.trust_after), world)


def _gone_back(serial: int, since: int, world: World) -> tuple[str, ...]:
    """Return the secondaries that served, after ``since``, a zone version older than ``serial``."""
    return tuple(
        sight.name
        for sight in world.evidence.secondaries
        if sight.serial is not None and sight.at > since and is_after(serial, sight.serial)
    )


# DNSKEY and its signature: one RRset, one zone version


def _dnskey_settles(keyset: Keyset, key: Key, rec: Rec, world: World) -> Look:
    ttl = ttl_dnskey(keyset, world)
    first = not any(other.dnskey.state is State.OMNIPRESENT for other in keyset.keys)
    wait = timing.ipub_first(0, ttl, world.evidence.ttl_negative) if first else timing.ipub(0, ttl)
    return _zone_look(keyset, key.record(rec), wait, world)


def _dnskey_fades(keyset: Keyset, key: Key, rec: Rec, world: World) -> Look:
    return _zone_look(keyset, key.record(rec), timing.ipub(0, ttl_dnskey(keyset, world)), world)


def _zone_look(keyset: Keyset, record: RecordState, ttl: int, world: World) -> Look:
    """Wait until all secondaries serve the record's serial, then for `ttl` more."""
    serial, published = record.serial, record.published
    if serial is None or published is None:
        return Look(record, (Missing("this server", "not committed yet", "a zone version with this step"),))
    seen = record.seen
    if seen is not None and _gone_back(serial, max(seen, keyset.trust_after), world):
        seen = None
    if seen is None:
        record = replace(record, seen=None, ttl=max(record.ttl, ttl))
        times, witnesses, missing = _secondaries_at(serial, keyset.trust_after, world)
        if missing:
            return Look(record, missing)
        seen = max(published, keyset.trust_after, *times)
        record = replace(record, seen=seen, witnesses=witnesses)
    dprp = timing.observed_dprp(published, seen, world.policy.propagation_delay)
    return Look(record, until=published + timing.ipub(dprp, record.ttl) + world.policy.margin)


def _secondaries_at(
    serial: int, trust_after: int, world: World
) -> tuple[list[int], tuple[str, ...], tuple[Missing, ...]]:
    times = [0]
    witnesses = []
    missing = []
    for sight in world.evidence.secondaries:
        if sight.serial is None or sight.at < trust_after:
            seen = sight.answer or "no answer"
        elif is_after(serial, sight.serial):
            seen = f"serial {sight.serial}" + (f", then {sight.answer}" if sight.answer else "")
        else:
            times.append(sight.at)
            witnesses.append(f"{sight.name}: serial {sight.serial} at {moment(sight.at)}")
            continue
        missing.append(Missing(sight.name, seen, f"serial {serial} or later", sight.next_look))
    return times, tuple(witnesses), tuple(missing)


# Zone signatures: replaced bit by bit, the store counts


def _signatures_settle(keyset: Keyset, key: Key, rec: Rec, world: World) -> Look:
    count = next((count for count in world.evidence.signatures if count.ref == key.ref), None)
    left = None if count is None else count.missing
    return _signature_look(keyset, key.record(rec), left, "RRsets without its signature", world)


def _signatures_fade(keyset: Keyset, key: Key, rec: Rec, world: World) -> Look:
    count = next((count for count in world.evidence.signatures if count.ref == key.ref), None)
    left = None if count is None else count.made
    return _signature_look(keyset, key.record(rec), left, "RRsets with its signature", world)


def _signature_look(keyset: Keyset, record: RecordState, left: int | None, what: str, world: World) -> Look:
    evidence = world.evidence
    if record.seen is None and left != 0:
        seen = "no count" if left is None else f"{left} {what}"
        cleared = replace(record, serial=None, published=None)
        return Look(cleared, (Missing("the zone's store", seen, f"no {what}"),))
    if record.serial is None:
        if evidence.serial is None or evidence.committed is None:
            return Look(record, (Missing("this server", "nothing committed", "a zone version"),))
        # A version that was committed while the clock was ahead has a time to come: the wait would last until then.
        record = replace(record, serial=evidence.serial, published=min(evidence.committed, world.now))
    ttl = max(
        remembered(keyset.ttl_zone, evidence.ttl_zone, world.now, world.policy.margin),
        ttl_dnskey(keyset, world),  # CDS and CDNSKEY have it too
        evidence.ttl_negative,
    )
    return _zone_look(keyset, record, timing.iret_zsk(0, 0, ttl), world)


# DS: the parent's servers


def _ds_settles(keyset: Keyset, key: Key, _rec: Rec, world: World) -> Look:
    if not world.policy.parent:
        return _anchor_settles(keyset, key, world)
    return _ds_look(keyset, key, True, world)


def _ds_fades(keyset: Keyset, key: Key, _rec: Rec, world: World) -> Look:
    if not world.policy.parent:
        return _anchor_fades(keyset, key, world)
    return _ds_look(keyset, key, False, world)


def _ds_look(keyset: Keyset, key: Key, present: bool, world: World) -> Look:
    """Wait until all parent servers have (or no longer have) the DS, then DprpP + TTLds."""
    record = key.ds
    sights = world.evidence.parents
    good = [_agrees(keyset, key, sight, present) for sight in sights]
    if record.seen is not None and any(
        agrees is False and sight.at > record.seen for agrees, sight in zip(good, sights, strict=True)
    ):
        record = replace(record, seen=None, witnesses=())
    if record.seen is None:
        record = replace(record, ttl=max(record.ttl, _ttl_ds(keyset, world)))
        word = _confirmation(keyset, key, present, world)
        if word is not None and sights and not _ttl_ds_was_seen(keyset, world):
            record = replace(record, ttl=max(record.ttl, DS_TTL_UNSEEN))
        missing = _ds_missing(key, good, present, word, world) + _cds_missing(keyset, record, world)
        if missing:
            return Look(record, missing)
        times = [sight.at for sight, agrees in zip(sights, good, strict=True) if agrees]
        witnesses = tuple(
            f"{sight.name}: DS {'seen' if present else 'gone'} at {moment(sight.at)}"
            for sight, agrees in zip(sights, good, strict=True)
            if agrees
        )
        if word is not None:
            witnesses += (f"{word.who}: confirmed at {moment(word.at)}",)
            times.append(word.at)
        if not present and not record.full and record.serial is not None:
            times += _secondaries_at(record.serial, keyset.trust_after, world)[0]
        record = replace(record, seen=max(times), witnesses=witnesses)
    assert record.seen is not None
    again = () if present or record.full else _looks_again(key, good, record.seen, world)
    if again:
        return Look(record, again)
    ttl = max(record.ttl, _ttl_ds(keyset, world))
    if good and set(good) == {None}:  # its TTL may have been raised since a server last showed it
        ttl = max(ttl, DS_TTL_UNSEEN)
    end = record.seen + timing.iret_ksk(world.policy.parent_propagation_delay, ttl)
    return Look(record, until=end + world.policy.margin)


def _looks_again(key: Key, good: list[bool | None], since: int, world: World) -> tuple[Missing, ...]:
    """Return the servers to look at again before a DS counts as gone that they may never have had.

    Until the last secondary served CDS without it, a parent could still take it from there.
    """
    wanted = f"no DS with key tag {key.tag}, seen once more"
    return tuple(
        Missing(sight.name, "looked at before all secondaries served CDS without it", wanted, sight.next_look)
        for agrees, sight in zip(good, world.evidence.parents, strict=True)
        if agrees and sight.at < since
    )


def _ttl_ds_was_seen(keyset: Keyset, world: World) -> bool:
    return keyset.ttl_ds.largest > 0 or any(sight.ttl for sight in world.evidence.parents)


def _agrees(keyset: Keyset, key: Key, sight: ParentSight, present: bool) -> bool | None:
    """Whether a server's answer is the one wanted; None where it has not answered since the step."""
    if sight.ds is None or sight.at < max(key.ds.changed, keyset.trust_after):
        return None
    return _serves(keyset, key, sight) is present


def _serves(keyset: Keyset, key: Key, sight: ParentSight) -> bool:
    """Whether the server has a DS of this very key (whole digests are compared, never tags)."""
    ours = {ds_rdata(keyset.apex, key.rdata, digest) for digest in DS_DIGESTS}
    return any(ds in ours for ds in sight.ds or ())


def _ds_missing(
    key: Key, good: list[bool | None], present: bool, word: Confirmation | None, world: World
) -> tuple[Missing, ...]:
    wanted = f"DS with key tag {key.tag}" if present else f"no DS with key tag {key.tag}"
    if not good and word is None:
        return (Missing("the parent", "no server known", wanted),)
    missing = []
    for agrees, sight in zip(good, world.evidence.parents, strict=True):
        if agrees or (agrees is None and word is not None):
            continue
        missing.append(Missing(sight.name, _ds_seen(sight, agrees), wanted, sight.next_look))
    return tuple(missing)


def _cds_missing(keyset: Keyset, record: RecordState, world: World) -> tuple[Missing, ...]:
    """Return the secondaries with an older version: it has older CDS, and a parent that reads them would go back."""
    if record.serial is None:
        return ()
    return _secondaries_at(record.serial, keyset.trust_after, world)[2]


def _ds_seen(sight: ParentSight, agrees: bool | None) -> str:
    if agrees is None:
        return sight.answer or "no answer since"
    tags = sorted(int.from_bytes(ds[:2]) for ds in sight.ds or ())
    return "DS with key tags " + ", ".join(map(str, tags)) if tags else "no DS"


def _confirmation(keyset: Keyset, key: Key, present: bool, world: World) -> Confirmation | None:
    since = max(key.ds.changed, keyset.trust_after)
    words = [word for word in world.evidence.confirmations if word.ref == key.ref and word.at >= since]
    last = max(words, key=lambda word: word.at, default=None)
    return last if last is not None and last.present is present else None


# Islands of trust: the validators' own trust anchors stand for the DS


def _anchor_settles(keyset: Keyset, key: Key, world: World) -> Look:
    word = _confirmation(keyset, key, True, world)
    if word is not None:
        return Look(
            replace(key.ds, seen=word.at, witnesses=(f"{word.who}: confirmed at {moment(word.at)}",)),
            until=word.at,
        )
    if world.policy.rfc5011:
        if key.dnskey.state is not State.OMNIPRESENT:
            return Look(key.ds, (Missing("this zone", "DNSKEY not omnipresent", "DNSKEY omnipresent"),))
        wait = timing.itrp(ttl_dnskey(keyset, world))
        return Look(key.ds, until=max(key.dnskey.changed, keyset.trust_after) + wait + world.policy.margin)
    wanted = f"an operator confirms that validators have trust anchor {key.tag} (ds confirm)"
    return Look(key.ds, (Missing("an operator", "nothing", wanted),))


def _anchor_fades(keyset: Keyset, key: Key, world: World) -> Look:
    """Return the wait for an anchor to go: no server knows; RFC 5011 validators remove a revoked key automatically.

    Not so the last key of an algorithm, which cannot be revoked without leaving the algorithm half signed.
    """
    word = _confirmation(keyset, key, False, world)
    if word is not None:
        return Look(
            replace(key.ds, seen=word.at, witnesses=(f"{word.who}: confirmed at {moment(word.at)}",)),
            until=word.at,
        )
    heirs = [other for other in keyset.keys if other.ref != key.ref and other.algorithm == key.algorithm]
    if world.policy.rfc5011 and any(heir.ds.state is State.OMNIPRESENT for heir in heirs):
        return Look(key.ds, until=world.now)
    wanted = f"an operator confirms that no validator has trust anchor {key.tag} (ds confirm)"
    return Look(key.ds, (Missing("an operator", "nothing", wanted),))


def ttl_dnskey(keyset: Keyset, world: World) -> int:
    """Return the largest TTL (s) of a DNSKEY set that may be held, at least the policy's value."""
    policy, evidence = world.policy, world.evidence
    return max(
        policy.dnskey_ttl, remembered(keyset.ttl_dnskey, evidence.ttl_dnskey, world.now, policy.margin)
    )


def _ttl_ds(keyset: Keyset, world: World) -> int:
    observed = max((sight.ttl for sight in world.evidence.parents), default=0)
    return max(
        world.policy.parent_ds_ttl, remembered(keyset.ttl_ds, observed, world.now, world.policy.margin)
    )


WAITS: tuple[Wait, ...] = (
    Wait(
        Rec.DNSKEY,
        State.RUMOURED,
        "all secondaries serve it, then TTLkey (for the zone's first key also the negative TTL)",
        _dnskey_settles,
    ),
    Wait(Rec.DNSKEY, State.UNRETENTIVE, "all secondaries serve a set without it, then TTLkey", _dnskey_fades),
    Wait(Rec.KRRSIG, State.RUMOURED, "as its DNSKEY: they are one RRset", _dnskey_settles),
    Wait(Rec.KRRSIG, State.UNRETENTIVE, "as its DNSKEY: they are one RRset", _dnskey_fades),
    Wait(
        Rec.ZRRSIG,
        State.RUMOURED,
        "every RRset has its signature, all secondaries serve that, then the largest TTL of the zone",
        _signatures_settle,
    ),
    Wait(
        Rec.ZRRSIG,
        State.UNRETENTIVE,
        "no RRset has its signature, all secondaries serve that, then the largest TTL of the zone",
        _signatures_fade,
    ),
    Wait(
        Rec.DS,
        State.RUMOURED,
        "all the parent's servers have it, or a person says so where they cannot be asked; then DprpP + TTLds",
        _ds_settles,
    ),
    Wait(
        Rec.DS,
        State.UNRETENTIVE,
        "none of the parent's servers has it, or a person says so where they cannot be asked; then DprpP + TTLds",
        _ds_fades,
    ),
)
