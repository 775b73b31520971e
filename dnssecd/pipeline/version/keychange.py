"""A planned change of a zone's key set, in the form that is sent to a worker and stored."""

from msgspec import Struct

from dnssecd.core.keys.keyset import Keyset

REMOVALS = "removals"  # state document: {"keys": handles of private keys that must be destroyed}


class Note(Struct, frozen=True):
    """An entry for the zone's history: what was done or became true, and why."""

    what: str
    detail: str = ""
    who: str = "dnssecd"


class KeyChange(Struct, frozen=True):
    """The change from the key set that the plan started from to a new one; no other stored key set is changed.

    ``removals``: handles of the keys that are no longer needed once this is stored.
    """

    before: Keyset
    after: Keyset
    notes: tuple[Note, ...] = ()
    removals: tuple[str, ...] = ()


def pending_removals(document: dict[str, object] | None) -> list[str]:
    """Return the keys that must still be destroyed."""
    keys = (document or {}).get("keys", [])
    return [str(key) for key in keys] if isinstance(keys, list) else []
