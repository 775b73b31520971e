"""A view that reads each place from the database once: planning a change looks at the same few names again and again.

What is remembered was read from the database through this view, never taken from what is written. A write drops what it
makes stale. Verification begins with nothing remembered: it judges what the database holds, whatever planning saw.
"""

from typing import TypeVar

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import RRset, Rrsigs
from dnssecd.store.view import SqliteView

#: Places remembered of one kind; beyond it all are dropped, so that a walk over a large zone holds few.
PLACES_MAX = 2_048

K = TypeVar("K")
V = TypeVar("V")


def _put(known: dict[K, V], place: K, value: V) -> V:
    if len(known) >= PLACES_MAX:
        known.clear()
    known[place] = value
    return value


class RememberedView(SqliteView):
    """Reads a version that changes through this object only."""

    def forget_reads(self) -> None:
        """Remember nothing; to be called before the first read, and before what was written is verified."""
        self._content: dict[bytes, list[RRset]] = {}
        self._links: dict[tuple[str, bytes], RRset | None] = {}
        self._signatures: dict[bytes, list[Rrsigs]] = {}

    def rrset(self, owner: bytes, rtype: int) -> RRset | None:
        """Return one content RRset."""
        if owner != APEX and owner not in self._content:
            return super().rrset(owner, rtype)
        return next((found for found in self._at(owner) if found.rtype == rtype), None)

    def rrsets_at(self, owner: bytes) -> list[RRset]:
        """Return the content RRsets at a name, by type."""
        return list(self._at(owner))

    def _at(self, owner: bytes) -> list[RRset]:
        found = self._content.get(owner)
        return _put(self._content, owner, super().rrsets_at(owner)) if found is None else found

    def denial(self, owner: bytes) -> RRset | None:
        """Return the NSEC or NSEC3 RRset whose own owner is ``owner``."""
        place = ("at", owner)
        if place not in self._links:
            return _put(self._links, place, super().denial(owner))
        return self._links[place]

    def denial_before(self, owner: bytes) -> RRset | None:
        """Return the last denial RRset with an owner < ``owner``, not wrapping around."""
        place = ("before", owner)
        if place not in self._links:
            return _put(self._links, place, super().denial_before(owner))
        return self._links[place]

    def denial_from(self, owner: bytes) -> RRset | None:
        """Return the first denial RRset with an owner >= ``owner``, not wrapping around."""
        place = ("from", owner)
        if place not in self._links:
            return _put(self._links, place, super().denial_from(owner))
        return self._links[place]

    def rrsigs_at(self, owner: bytes) -> list[Rrsigs]:
        """Return all RRSIGs at a name, by type covered."""
        found = self._signatures.get(owner)
        if found is None:
            found = _put(self._signatures, owner, super().rrsigs_at(owner))
        return list(found)

    def rrsigs(self, owner: bytes, covered: int) -> Rrsigs | None:
        """Return the RRSIGs over one RRset."""
        if owner not in self._signatures:
            return super().rrsigs(owner, covered)
        return next((found for found in self._signatures[owner] if found.covered == covered), None)
