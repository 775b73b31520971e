"""What the parent of a zone is asked to do about its DS RRset, derived from the zone's keys.

A handover is complete: the set the parent is to have in the end, what is to be added and removed to get there,
since when it is asked for and when it counts as late.  ``forms`` writes it in every form that registries and
registrars ask for, ``text`` for people.
"""

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from dnssecd.core.keys.keyset import DIGEST_SHA256, Key, Keyset, ds_rdata, key_tag
from dnssecd.core.keys.keystate import Goal, Rec, RecordState, State

GRACE_S = 86_400


class Change(StrEnum):
    """What is to happen to one key's DS at the parent."""

    ADD = "add"
    KEEP = "keep"
    REMOVE = "remove"
    LATER = "later"  # it will be asked for; not yet


class Task(StrEnum):
    """What is asked of the parent as a whole."""

    NOTHING = "nothing"
    SUBMIT = "submit"  # add DS
    REPLACE = "replace"  # add some, remove others: one change
    WITHDRAW = "withdraw"  # remove DS; others stay
    REMOVE_ALL = "remove-all"  # the zone is to be insecure: no DS RRset
    RESTORE = "restore"  # a DS that was there is gone


class ParentKey(Struct, frozen=True, gc=False):
    """A key with a DS, as the parent is to see it.  `rdata`: DNSKEY RDATA; `role`: "ksk" or "csk".

    `lost`: its DS was at all of the parent's servers, and then no longer.
    """

    rdata: bytes
    role: str
    change: Change
    lost: bool = False
    compromised: bool = False

    @property
    def tag(self) -> int:
        """The key tag."""
        return key_tag(self.rdata)

    @property
    def flags(self) -> int:
        """The DNSKEY's flags."""
        return int.from_bytes(self.rdata[:2])

    @property
    def algorithm(self) -> int:
        """The algorithm's number."""
        return self.rdata[3]

    @property
    def public_key(self) -> bytes:
        """The DNSKEY's public key field."""
        return self.rdata[4:]


class Handover(Struct, frozen=True, gc=False):
    """`zone`: its name as text, absolute; `apex`: lower-case wire form.  Times in epoch seconds, 0: never asked."""

    zone: str
    apex: bytes
    keys: tuple[ParentKey, ...]
    asked_at: int = 0
    due_at: int = 0
    reason: str = ""

    def having(self, *changes: Change) -> tuple[ParentKey, ...]:
        """Return the keys with one of these changes, in order."""
        return tuple(key for key in self.keys if key.change in changes)

    @property
    def wanted(self) -> tuple[ParentKey, ...]:
        """The keys whose DS make up the RRset that the parent is to have in the end."""
        return self.having(Change.ADD, Change.KEEP)

    @property
    def task(self) -> Task:
        """What is asked for."""
        added, removed = self.having(Change.ADD), self.having(Change.REMOVE)
        if any(key.lost for key in added):
            return Task.RESTORE
        if added:
            return Task.REPLACE if removed else Task.SUBMIT
        if removed:
            return Task.WITHDRAW if self.wanted else Task.REMOVE_ALL
        return Task.NOTHING

    @property
    def urgent(self) -> bool:
        """Whether a compromised key waits to be replaced."""
        return any(key.compromised for key in self.having(Change.REMOVE))

    def ds_set(self, digest_type: int = DIGEST_SHA256) -> tuple[bytes, ...]:
        """Return DS RDATA of the set wanted, sorted; empty: there is to be no DS RRset."""
        return tuple(sorted(ds_rdata(self.apex, key.rdata, digest_type) for key in self.wanted))

    def same_request(self, other: "Handover | None") -> bool:
        """Return whether it asks for the same; times and words do not matter."""
        return other is not None and self._request() == other._request()

    def _request(self) -> tuple[object, ...]:
        return (self.zone, self.task, frozenset((key.rdata, key.change) for key in self.keys))


def handover_of(zone: str, keyset: Keyset, *, grace_s: int = GRACE_S, reason: str = "") -> Handover:
    """Return what the keys of ``zone`` (text, absolute) ask of the parent.  ``grace_s``: how long until it is late."""
    entries = [(key, change) for key in keyset.keys if (change := _change(keyset, key)) is not None]
    open_changes = (Change.ADD, Change.REMOVE)
    asked = max((key.ds.changed for key, change in entries if change in open_changes), default=0)
    keys = tuple(
        ParentKey(
            key.rdata,
            key.role.value,
            change,
            change is Change.ADD and _was_there(key.ds),
            key.compromised,
        )
        for key, change in entries
    )
    return Handover(zone, keyset.apex, keys, asked, asked + grace_s if asked else 0, reason)


def _change(keyset: Keyset, key: Key) -> Change | None:
    if Rec.DS not in key.records:
        return None
    match key.ds.state:
        case State.RUMOURED:
            return Change.ADD if key.ds.seen is None else Change.KEEP
        case State.OMNIPRESENT:
            return Change.KEEP
        case State.UNRETENTIVE:
            return Change.REMOVE if key.ds.seen is None else None
        case State.HIDDEN:
            return Change.LATER if keyset.signed and key.goal is not Goal.ABSENT else None


def _was_there(record: RecordState) -> bool:
    """Return whether a DS was at all servers once: then it changed last after its publication."""
    return record.published is not None and record.changed > record.published


def tags(keys: Iterable[ParentKey]) -> str:
    """Return key tags for people: "4711", "4711 and 60485"."""
    shown = [str(key.tag) for key in keys]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 2 else shown)
