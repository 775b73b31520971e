"""A view that reads each place once: judging a small change looks at the same few names again and again."""

from collections.abc import Iterator

from dnssecd.core.dns.rrset import RRset, Rrsigs
from dnssecd.core.zone.zoneview import ZoneView

#: Places remembered of one kind; what is beyond is read whenever it is asked for.
PLACES_MAX = 4096


class Remembered:
    """Reads a version that does not change meanwhile (core.zoneview.ZoneView)."""

    def __init__(self, view: ZoneView) -> None:
        self._view = view
        self._content: dict[bytes, list[RRset]] = {}
        self._rrsigs: dict[bytes, list[Rrsigs]] = {}
        self._denial: dict[bytes, RRset | None] = {}

    @property
    def origin(self) -> bytes:
        return self._view.origin

    def rrset(self, owner: bytes, rtype: int) -> RRset | None:
        for rrset in self.rrsets_at(owner):
            if rrset.rtype == rtype:
                return rrset
        return None

    def rrsets_at(self, owner: bytes) -> list[RRset]:
        found = self._content.get(owner)
        if found is None:
            found = self._view.rrsets_at(owner)
            if len(self._content) < PLACES_MAX:
                self._content[owner] = found
        return found

    def rrsigs(self, owner: bytes, covered: int) -> Rrsigs | None:
        for sigs in self.rrsigs_at(owner):
            if sigs.covered == covered:
                return sigs
        return None

    def rrsigs_at(self, owner: bytes) -> list[Rrsigs]:
        found = self._rrsigs.get(owner)
        if found is None:
            found = self._view.rrsigs_at(owner)
            if len(self._rrsigs) < PLACES_MAX:
                self._rrsigs[owner] = found
        return found

    def denial(self, owner: bytes) -> RRset | None:
        if owner in self._denial:
            return self._denial[owner]
        found = self._view.denial(owner)
        if len(self._denial) < PLACES_MAX:
            self._denial[owner] = found
        return found

    def scan(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[RRset]:
        return self._view.scan(start, stop)

    def first_owner(self, start: bytes, stop: bytes | None = None) -> bytes | None:
        return self._view.first_owner(start, stop)

    def denial_before(self, owner: bytes) -> RRset | None:
        return self._view.denial_before(owner)

    def denial_from(self, owner: bytes) -> RRset | None:
        return self._view.denial_from(owner)

    def denial_last(self) -> RRset | None:
        return self._view.denial_last()

    def denial_scan(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[RRset]:
        return self._view.denial_scan(start, stop)

    def rrsig_scan(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[Rrsigs]:
        return self._view.rrsig_scan(start, stop)
