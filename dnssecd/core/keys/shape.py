"""Zones whose keys are alike take the same steps at other times: what makes them alike, and one's steps as another's.

Two key sets have the same shape if they differ in names, keys, serials and witnesses only, and all their times are the
same seen from the newest key, but for PRECISION_S. A forecast of one is then one of the other, shifted. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator

from msgspec import Struct

from dnssecd.core.keys.keyset import DS_DIGESTS, Key, Keyset, TtlMemory, ds_rdata
from dnssecd.core.keys.keystate import Rec, RecordState, State
from dnssecd.core.keys.simulate import Assumptions, SimEvent
from dnssecd.core.keys.types import RolloverPolicy
from dnssecd.replacing import replace

#: Times that are nearer than this count as the same, so a shifted forecast is this much off.
PRECISION_S = 3_600

_SETTLED = (State.HIDDEN, State.OMNIPRESENT)


class Shape(Struct, frozen=True):
    """kind: equal for zones that take the same steps; origin: the time from which theirs count (epoch s)."""

    kind: Hashable
    origin: int
    tags: tuple[int, ...]


def shape_of(keyset: Keyset, policy: RolloverPolicy, assume: Assumptions, now: int) -> Shape:
    """Return the shape of a zone's keys, under a policy and assumptions, for a forecast that begins now."""
    origin = max((key.created for key in keyset.keys if not key.foreign), default=now)

    def at(when: int | None) -> int | None:
        return when if not when else round((when - origin) / PRECISION_S)

    order = _ranks(keyset)
    settled = all(key.record(rec).state in _SETTLED for key in keyset.keys for rec in key.records)
    # What is under way, and freezes, depend on the time of day; a zone at rest takes its next step by its keys' ages.
    begins = None if settled and not policy.freeze and assume.ds_delay is not None else at(now)
    kind = (
        tuple(_key(key, at, order) for key in keyset.keys),
        *(_memory(memory, at) for memory in (keyset.ttl_dnskey, keyset.ttl_zone, keyset.ttl_ds)),
        (keyset.signed, at(keyset.trust_after), keyset.approved, keyset.no_cds, keyset.ttl_others),
        policy,
        round(origin / PRECISION_S) if policy.freeze else None,
        replace(assume, ds=None, outages=(), backups=()),
        _backed_up(keyset, policy, assume),
        _ds(keyset, assume.ds),
        begins,
    )
    return Shape(kind, origin, tuple(key.tag for key in keyset.keys))


def _key(key: Key, at: Callable[[int | None], int | None], order: dict[int, int]) -> Hashable:
    bare = replace(key, key_id="", public_key=b"", tag=0, signer=key.signer and "other")
    bare = replace(
        bare,
        created=at(key.created) or 0,
        active=at(key.active),
        announced=at(key.announced) or 0,
        hold_until=at(key.hold_until),
        left=at(key.left),
    )
    for rec in Rec:
        bare = bare.with_record(rec, _record(key.record(rec), at, order))
    return bare


def _record(
    record: RecordState, at: Callable[[int | None], int | None], order: dict[int, int]
) -> RecordState:
    return replace(
        record,
        changed=at(record.changed) or 0,
        first_in=order[record.first_in],
        step_in=order[record.step_in],
        step_out=order[record.step_out],
        serial=None if record.serial is None else 0,
        published=at(record.published),
        seen=at(record.seen),
        witnesses=(),
    )


def _ranks(keyset: Keyset) -> dict[int, int]:
    """Return the place of each step: only their order counts."""
    records = [key.record(rec) for key in keyset.keys for rec in Rec]
    steps = {0, *(n for one in records for n in (one.first_in, one.step_in, one.step_out))}
    return {step: place for place, step in enumerate(sorted(steps))}


def _backed_up(keyset: Keyset, policy: RolloverPolicy, assume: Assumptions) -> Hashable:
    """Return which of the keys have a confirmed backup, in a policy that requires one."""
    if not policy.require_backup:
        return None
    saved = {backup.key_id for backup in assume.backups}
    return tuple(key.key_id in saved for key in keyset.keys)


def _memory(memory: TtlMemory, at: Callable[[int | None], int | None]) -> Hashable:
    return memory.largest, memory.lowered is not None, at(memory.gone)


def _ds(keyset: Keyset, served: Iterable[bytes] | None) -> Hashable:
    """Return the DS RRset that the parent serves in terms of the zone's keys; those of other keys as they are."""
    if served is None:
        return None
    ours = {
        ds_rdata(keyset.apex, key.rdata, digest): (place, digest)
        for place, key in enumerate(keyset.keys)
        if Rec.DS in key.records
        for digest in DS_DIGESTS
    }
    return tuple(sorted(str(ours.get(rdata, rdata)) for rdata in served))


def shifted(events: Iterable[SimEvent], made: Shape, wanted: Shape, not_before: int) -> Iterator[SimEvent]:
    """Yield the steps of one zone as those of another of the same kind, none before ``not_before`` (epoch s).

    They are late rather than early by what the shapes differ: no operator shall act too early.
    """
    tags = dict(zip(made.tags, wanted.tags, strict=True))
    later = wanted.origin - made.origin + PRECISION_S
    for event in events:
        tag = event.key_tag if event.stand_in else tags.get(event.key_tag, event.key_tag)
        yield replace(event, at=max(event.at + later, not_before), key_tag=tag)
