"""A zone version with changes of content laid over it, so that each update sees the changes of earlier ones.

Changed names are held in memory with all their RRsets; other names are read from the version below. Denial
and signatures are those of the version below: derived RRsets are made once, for all changes together.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from heapq import merge
from operator import itemgetter

from dnssecd.core.dns.rrset import RRset, Rrsigs
from dnssecd.core.zone.changeset import Change
from dnssecd.core.zone.zoneview import ZoneView

NameSets = dict[int, RRset]

_PLACE = itemgetter(0, 1)


class Overlay:
    """A ZoneView over ``base``; :meth:`apply` adds changes, :meth:`changes` returns their net effect."""

    def __init__(self, base: ZoneView) -> None:
        self._base = base
        self._before: dict[bytes, NameSets] = {}
        self._names: dict[bytes, NameSets] = {}
        self._sorted: list[bytes] | None = None

    @property
    def origin(self) -> bytes:
        """The zone name, wire form, lower-cased."""
        return self._base.origin

    def apply(self, changes: Iterable[Change]) -> None:
        """Add changes; their ``old`` is ignored."""
        for owner, rtype, _, new in changes:
            sets = self._touch(owner)
            if new is None:
                sets.pop(rtype, None)
            else:
                sets[rtype] = new

    def changes(self) -> list[Change]:
        """Return the net difference from the version below, ordered by (owner, type)."""
        net = []
        for owner in self._owners():
            before, after = self._before[owner], self._names[owner]
            for rtype in sorted(before.keys() | after.keys()):
                old, new = before.get(rtype), after.get(rtype)
                if old != new:
                    net.append(Change(owner, rtype, old, new))
        return net

    def _touch(self, owner: bytes) -> NameSets:
        sets = self._names.get(owner)
        if sets is None:
            before = {rrset.rtype: rrset for rrset in self._base.rrsets_at(owner)}
            self._before[owner] = before
            sets = self._names[owner] = dict(before)
            self._sorted = None
        return sets

    def _owners(self, start: bytes = b"", stop: bytes | None = None) -> list[bytes]:
        """Return the changed names with start <= owner < stop, in order."""
        if self._sorted is None:
            self._sorted = sorted(self._names)
        end = len(self._sorted) if stop is None else bisect_left(self._sorted, stop)
        return self._sorted[bisect_left(self._sorted, start) : end]

    def rrset(self, owner: bytes, rtype: int) -> RRset | None:
        """Return one content RRset."""
        sets = self._names.get(owner)
        return self._base.rrset(owner, rtype) if sets is None else sets.get(rtype)

    def rrsets_at(self, owner: bytes) -> list[RRset]:
        """Return the content RRsets at a name, by type."""
        sets = self._names.get(owner)
        return self._base.rrsets_at(owner) if sets is None else [sets[rtype] for rtype in sorted(sets)]

    def scan(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[RRset]:
        """Yield content RRsets with start <= owner < stop, ordered by (owner, type)."""
        ours = (rrset for owner in self._owners(start, stop) for rrset in self.rrsets_at(owner))
        theirs = (rrset for rrset in self._base.scan(start, stop) if rrset.owner not in self._names)
        return merge(theirs, ours, key=_PLACE)

    def first_owner(self, start: bytes, stop: bytes | None = None) -> bytes | None:
        """Return the first owner of content with start <= owner < stop."""
        ours = next((owner for owner in self._owners(start, stop) if self._names[owner]), None)
        theirs = self._base.first_owner(start, stop)
        while theirs is not None and theirs in self._names:
            theirs = self._base.first_owner(theirs + b"\x00", stop)
        return theirs if ours is None else ours if theirs is None else min(ours, theirs)

    def denial(self, owner: bytes) -> RRset | None:
        """Return the NSEC or NSEC3 RRset of the version below whose own owner is ``owner``."""
        return self._base.denial(owner)

    def denial_before(self, owner: bytes) -> RRset | None:
        """Return the version below's last denial RRset with an owner < ``owner``, not wrapping around."""
        return self._base.denial_before(owner)

    def denial_from(self, owner: bytes) -> RRset | None:
        """Return the version below's first denial RRset with an owner >= ``owner``, not wrapping around."""
        return self._base.denial_from(owner)

    def denial_last(self) -> RRset | None:
        """Return the version below's last denial RRset."""
        return self._base.denial_last()

    def denial_scan(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[RRset]:
        """Yield the version below's denial RRsets with start <= owner < stop, in order."""
        return self._base.denial_scan(start, stop)

    def rrsigs(self, owner: bytes, covered: int) -> Rrsigs | None:
        """Return the version below's RRSIGs over one RRset."""
        return self._base.rrsigs(owner, covered)

    def rrsigs_at(self, owner: bytes) -> list[Rrsigs]:
        """Return all RRSIGs of the version below at a name, by type covered."""
        return self._base.rrsigs_at(owner)

    def rrsig_scan(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[Rrsigs]:
        """Yield the version below's RRSIGs with start <= owner < stop, ordered by (owner, type covered)."""
        return self._base.rrsig_scan(start, stop)
