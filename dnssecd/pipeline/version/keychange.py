"""A planned change of a zone's key set, as it is sent to a worker and stored."""

from dataclasses import dataclass

from dnssecd.core.keys.keyset import Keyset

REMOVALS = "removals"  # state document: {"keys": handles of private keys that are to be destroyed}


@dataclass(frozen=True)
class Note:
    """An entry for the zone's history: what was done or came true, and why."""

    what: str
    detail: str = ""
    who: str = "dnssecd"


@dataclass(frozen=True)
class KeyChange:
    """From the stored key set that was planned with to the one to be stored; nothing happens to any other.

    ``removals``: handles of the keys that nobody can need once this is stored.
    """

    before: Keyset
    after: Keyset
    notes: tuple[Note, ...] = ()
    removals: tuple[str, ...] = ()
