"""Compare the DS at the parent's servers with the zone's keys: done, missing, foreign."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from dnssecd.core.keys.evidence import ParentSight
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.keystate import Rec, State
from dnssecd.core.parent.handover import Change, Handover, ParentKey, Task
from dnssecd.publish.firstcheck import ds_matches
from dnssecd.publish.parent import DsRecord

SERVERS_TOLD = 10


class Verdict(Struct, frozen=True):
    """Texts for events, "" if there is no fault. answered: at least one server answered.

    bogus: some server has DS, but none of a key that signs the DNSKEY RRset. held: every server that answered
    has a DS of one of our keys.
    """

    answered: bool
    foreign: str = ""
    missing: str = ""
    bogus: bool = False
    held: bool = False


def reached(handover: Handover, seen: Sequence[ParentSight]) -> bool:
    """Tell whether every server, since the request, has shown the DS of all wanted keys and of no leaving key."""
    if not seen or any(sight.ds is None or sight.at < handover.asked_at for sight in seen):
        return False
    removed = handover.having(Change.REMOVE)
    return all(
        all(_has(handover, sight, key) for key in handover.wanted)
        and not any(_has(handover, sight, key) for key in removed)
        for sight in seen
    )


def judge(zone: str, keyset: Keyset, handover: Handover, seen: Sequence[ParentSight]) -> Verdict:
    """Judge the last answers; servers that never answered are ignored."""
    ours = [key.rdata for key in keyset.keys if Rec.DS in key.records]
    signing = [key.rdata for key in keyset.keys if key.krrsig.visible and key.dnskey.visible]
    foreign, missing, bogus = [], [], False
    there = _was_there(keyset, handover)
    for sight in seen:
        records = [_record(ds) for ds in sight.ds or ()]
        strange = sorted({r.key_tag for r in records if not any(ds_matches(r, key, zone) for key in ours)})
        if strange:
            foreign.append(f"{sight.name} has DS {', '.join(map(str, strange))}")
            bogus = bogus or not any(ds_matches(r, key, zone) for r in records for key in signing)
        missing += _missing(handover, sight, there)
    return Verdict(
        any(sight.ds is not None for sight in seen),
        _told("the parent has a DS that matches none of this zone's keys", foreign),
        _told("the parent has lost a DS that it had", missing),
        bogus,
        all(
            any(_has(handover, sight, key) for key in handover.keys) for sight in seen if sight.ds is not None
        ),
    )


def _missing(handover: Handover, sight: ParentSight, there: list[tuple[ParentKey, int]]) -> list[str]:
    """Return what an answer lacks: a DS that was there, or, during a replacement, both the old and the new one."""
    if sight.ds is None:
        return []
    gone = [str(key.tag) for key, since in there if sight.at >= since and not _has(handover, sight, key)]
    if gone:
        return [f"{sight.name} no longer has DS {', '.join(gone)}"]
    either = handover.having(Change.ADD, Change.KEEP, Change.REMOVE)
    if handover.task is Task.REPLACE and not any(_has(handover, sight, key) for key in either):
        return [f"{sight.name} has neither the old DS nor the new"]
    return []


def _was_there(keyset: Keyset, handover: Handover) -> list[tuple[ParentKey, int]]:
    """Return the keys whose DS was at all parent servers and should still be there, and since when."""
    since = {key.rdata: key.ds.changed for key in keyset.keys if key.ds.state is State.OMNIPRESENT}
    kept = [(key, since[key.rdata]) for key in handover.having(Change.KEEP) if key.rdata in since]
    return kept + [(key, 0) for key in handover.having(Change.ADD) if key.lost]


def _has(handover: Handover, sight: ParentSight, key: ParentKey) -> bool:
    return any(ds_matches(_record(ds), key.rdata, handover.zone) for ds in sight.ds or ())


def _record(ds: bytes) -> DsRecord:
    return DsRecord(int.from_bytes(ds[:2]), ds[2], ds[3], ds[4:])


def _told(what: str, servers: list[str]) -> str:
    if not servers:
        return ""
    more = f" and {len(servers) - SERVERS_TOLD} more" if len(servers) > SERVERS_TOLD else ""
    return f"{what}: {'; '.join(servers[:SERVERS_TOLD])}{more}"
