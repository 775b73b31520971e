"""A view that reads each place once: the checks of a small change read the same few names many times."""

from collections.abc import Iterator

from dnssecd.core.dns.rrset import RRset, Rrsigs
from dnssecd.core.zone.zoneview import ZoneView

#: At most this many places of each kind are remembered; others are read every time.
PLACES_MAX = 4096


def remembered(view: ZoneView) -> ZoneView:
    """Return a view that reads each place once: the view itself where it says that it does (``remembers``)."""
    return view if getattr(view, "remembers", False) else Remembered(view)


class Remembered:
    """Reads a version that does not change meanwhile (core.zoneview.ZoneView)."""

    def __init__(self, view: ZoneView) -> None:
        self._view = view
        self._content: dict[bytes, list[RRset]] = {}
        self._rrsigs: dict[bytes, list[Rrsigs]] = {}
        self._denial: dict[bytes, RRset | None] = {}

    @property
    def origin(self) -> bytes:
        """Return the zone name, wire form, lower-cased."""
        return self._view.origin

    def rrset(self, owner: bytes, rtype: int) -> RRset | None:
        """Return one content RRset."""
        for rrset in self.rrsets_at(owner):
            if rrset.rtype == rtype:
                return rrset
        return None

    def rrsets_at(self, owner: bytes) -> list[RRset]:
        """Return the content RRsets at a name, by type."""
        found = self._content.get(owner)
        if found is None:
            found = self._view.rrsets_at(owner)
            if len(self._content) < PLACES_MAX:
                self._content[owner] = found
        return found

    def rrsigs(self, owner: bytes, covered: int) -> Rrsigs | None:
        """Return the RRSIGs over one RRset."""
        for sigs in self.rrsigs_at(owner):
            if sigs.covered == covered:
                return sigs
        return None

    def rrsigs_at(self, owner: bytes) -> list[Rrsigs]:
        """Return all RRSIGs at a name, by type covered."""
        found = self._rrsigs.get(owner)
        if found is None:
            found = self._view.rrsigs_at(owner)
            if len(self._rrsigs) < PLACES_MAX:
                self._rrsigs[owner] = found
        return found

    def denial(self, owner: bytes) -> RRset | None:
        """Return the NSEC or NSEC3 RRset whose own owner is ``owner``."""
        if owner in self._denial:
            return self._denial[owner]
        found = self._view.denial(owner)
        if len(self._denial) < PLACES_MAX:
            self._denial[owner] = found
        return found

    def scan(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[RRset]:
        """Yield content RRsets with start <= owner < stop; nothing is remembered."""
        return self._view.scan(start, stop)

    def first_owner(self, start: bytes, stop: bytes | None = None) -> bytes | None:
        """Return the first owner of content with start <= owner < stop."""
        return self._view.first_owner(start, stop)

    def denial_before(self, owner: bytes) -> RRset | None:
        """Return the last denial RRset with an owner < ``owner``, not wrapping around."""
        return self._view.denial_before(owner)

    def denial_from(self, owner: bytes) -> RRset | None:
        """Return the first denial RRset with an owner >= ``owner``, not wrapping around."""
        return self._view.denial_from(owner)

    def denial_last(self) -> RRset | None:
        """Return the last denial RRset of the chain."""
        return self._view.denial_last()

    def denial_scan(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[RRset]:
        """Yield denial RRsets with start <= owner < stop; nothing is remembered."""
        return self._view.denial_scan(start, stop)

    def rrsig_scan(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[Rrsigs]:
        """Yield RRSIGs with start <= owner < stop; nothing is remembered."""
        return self._view.rrsig_scan(start, stop)
