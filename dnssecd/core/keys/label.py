"""The names people know for a key's state (RFC 7583 section 3.1), derived from its records."""

from collections.abc import Callable

from msgspec import Struct

from dnssecd.core.keys.keyset import Key
from dnssecd.core.keys.keystate import Goal, Role, State


class Label(Struct, frozen=True):
    """A row: the first whose condition holds names the key."""

    name: str
    text: str
    holds: Callable[[Key], bool]


def label(key: Key) -> str:
    """One of the names in `LABELS`.  Pure."""
    return next(row.name for row in LABELS if row.holds(key))


def _all_hidden(key: Key) -> bool:
    return all(key.record(rec).state is State.HIDDEN for rec in key.records)


def _never_used(key: Key) -> bool:
    return key.active is None and not any(key.record(rec).step_in for rec in key.records)


def _works(key: Key) -> bool:
    """Return whether a key works: a ZSK signs the zone, the parent is to have the DS of a KSK, either for a CSK."""
    signs = key.role is not Role.KSK and key.zrrsig.visible
    return signs or (key.role is not Role.ZSK and key.ds.visible)


def _worked(key: Key) -> bool:
    return State.UNRETENTIVE in (key.zrrsig.state, key.ds.state)


LABELS: tuple[Label, ...] = (
    Label("revoked", "has the REVOKE bit, is held down (RFC 5011)", lambda key: key.revoked),
    Label(
        "removed",
        "was used; no validator can hold any of its records",
        lambda key: _all_hidden(key) and not _never_used(key),
    ),
    Label("generated", "exists; nothing of it is published", _all_hidden),
    Label(
        "standby",
        "for an emergency: the parent has its DS (KSK, CSK), or its DNSKEY is published (ZSK)",
        lambda key: key.goal is Goal.STANDBY,
    ),
    Label("active", "signs the zone (ZSK, CSK), or the parent is to have its DS (KSK, CSK)", _works),
    Label("retired", "works no longer; caches may still need it", _worked),
    Label("dead", "leaves, or can leave, the DNSKEY set", lambda key: key.goal is Goal.ABSENT),
    Label(
        "ready",
        "every DNSKEY set has it; could work at once",
        lambda key: key.dnskey.state is State.OMNIPRESENT,
    ),
    Label("published", "in the DNSKEY set; not yet in every one that is held", lambda _key: True),
)
