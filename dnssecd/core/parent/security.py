"""How validators see a zone: from the DS that the parent serves, the zone's keys, and what its servers answer."""

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from dnssecd.core.keys.evidence import ParentSight
from dnssecd.core.keys.keyset import DS_DIGESTS, Key, Keyset, ds_rdata
from dnssecd.core.keys.keystate import Goal, Rec, State
from dnssecd.core.keys.types import Blocker
from dnssecd.core.parent.handover import Change, Handover, Task


class Word(StrEnum):
    """The security of a zone in one word."""

    UNKNOWN = "unknown"
    INSECURE = "insecure"
    DS_DUE = "ds-due"
    SECURE = "secure"
    ROLLING = "rolling"
    BOGUS = "bogus"


class Security(Struct, frozen=True):
    """The word, and why.  `due_at`: when the DS can be handed over (epoch s); None: it depends on a server."""

    word: Word
    detail: str
    due_at: int | None = None


def security_of(
    keyset: Keyset,
    handover: Handover,
    sights: Sequence[ParentSight],
    blockers: Sequence[Blocker],
    *,
    alone: bool,
    bogus: str,
) -> Security:
    """Judge a published zone.  `alone`: it has no parent; `bogus`: why the answers of its servers do not validate."""
    if bogus:
        return Security(Word.BOGUS, bogus)
    if alone:
        return _island(keyset)
    answers = [sight for sight in sights if sight.ds is not None]
    if not answers:
        return Security(Word.UNKNOWN, "the parent was not seen yet")
    signing = [key for key in keyset.keys if key.krrsig.visible and key.dnskey.visible]
    foreign = [key for key in keyset.keys if key.foreign and key.dnskey.visible]
    for ds, server in {sight.ds: sight.name for sight in reversed(answers) if sight.ds}.items():
        if not _leads_to_one(keyset.apex, ds, signing):
            if foreign and _leads_to_one(keyset.apex, ds, foreign):
                return Security(Word.ROLLING, "the parent has only the DS of another signer of the zone")
            return Security(Word.BOGUS, f"no DS at {server} is of a key that signs the DNSKEY RRset")
    if not any(sight.ds for sight in answers):
        return _without_ds(handover, blockers)
    if _is_rolling(keyset) or handover.task is not Task.NOTHING:
        return Security(Word.ROLLING, "the parent has its DS, and keys are being replaced")
    if not all(sight.ds for sight in answers):
        return Security(Word.SECURE, "some of the parent's servers have its DS")
    return Security(Word.SECURE, "the parent has its DS")


def _island(keyset: Keyset) -> Security:
    if not any(key.ds.state is State.OMNIPRESENT for key in keyset.keys):
        return Security(Word.INSECURE, "it has no parent, and no trust anchor was confirmed")
    if _is_rolling(keyset):
        return Security(Word.ROLLING, "validators have its trust anchor, and keys are being replaced")
    return Security(Word.SECURE, "for validators that have its trust anchor")


def _leads_to_one(apex: bytes, ds: Sequence[bytes], keys: Sequence[Key]) -> bool:
    """Tell whether a DS is of one of the keys; DS of unknown digest types are not judged."""
    known = [one for one in ds if len(one) > 3 and one[3] in DS_DIGESTS]
    return len(known) < len(ds) or any(
        key.tag == int.from_bytes(one[:2]) and one == ds_rdata(apex, key.rdata, one[3])
        for one in known
        for key in keys
    )


def _without_ds(handover: Handover, blockers: Sequence[Blocker]) -> Security:
    if handover.having(Change.ADD):
        return Security(Word.DS_DUE, "the parent has no DS yet: hand it over", handover.asked_at)
    later = handover.having(Change.LATER)
    if not later:
        return Security(Word.INSECURE, "the parent has no DS")
    tags = {key.tag for key in later}
    waits = [blocker for blocker in blockers if blocker.tag in tags and blocker.rec is not Rec.DS]
    due = [blocker.until for blocker in waits if blocker.until is not None]
    if any(blocker.missing for blocker in waits) or not due:
        return Security(Word.DS_DUE, "the parent has no DS yet")
    return Security(Word.DS_DUE, "the parent has no DS yet", max(due))


def _is_rolling(keyset: Keyset) -> bool:
    return any(
        key.roll or (key.goal is Goal.ABSENT and any(key.record(rec).visible for rec in key.records))
        for key in keyset.keys
    )
