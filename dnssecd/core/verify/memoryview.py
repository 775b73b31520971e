"""A zone version held in memory: sorted lists and bisection. For signed zone files and tests."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from dnssecd.core.dns.rrset import RRset, Rrsigs


class MemoryZoneView:
    """An immutable ZoneView over RRsets and RRSIGs given in any order."""

    def __init__(
        self, origin: bytes, content: Iterable[RRset], denial: Iterable[RRset], rrsigs: Iterable[Rrsigs]
    ) -> None:
        self._origin = origin
        self._content = sorted(content)
        self._denial = sorted(denial)
        self._rrsigs = sorted(rrsigs)

    @property
    def origin(self) -> bytes:
        """The zone name, wire form, lower-cased."""
        return self._origin

    def rrset(self, owner: bytes, rtype: int) -> RRset | None:
        """Return one content RRset."""
        at = bisect_left(self._content, (owner, rtype))
        if at < len(self._content) and self._content[at][:2] == (owner, rtype):
            return self._content[at]
        return None

    def rrsets_at(self, owner: bytes) -> list[RRset]:
        """Return the content RRsets at a name, by type."""
        return list(_at(self._content, owner))

    def scan(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[RRset]:
        """Yield content RRsets with start <= owner < stop, ordered by (owner, type)."""
        return rrsets_between(self._content, start, stop)

    def first_owner(self, start: bytes, stop: bytes | None = None) -> bytes | None:
        """Return the first owner of content with start <= owner < stop."""
        found = next(rrsets_between(self._content, start, stop), None)
        return None if found is None else found.owner

    def denial(self, owner: bytes) -> RRset | None:
        """Return the NSEC or NSEC3 RRset whose own owner is ``owner``."""
        return next(_at(self._denial, owner), None)

    def denial_before(self, owner: bytes) -> RRset | None:
        """Return the last denial RRset with an owner < ``owner``, not wrapping around."""
        at = bisect_left(self._denial, (owner,))
        return self._denial[at - 1] if at else None

    def denial_from(self, owner: bytes) -> RRset | None:
        """Return the first denial RRset with an owner >= ``owner``, not wrapping around."""
        at = bisect_left(self._denial, (owner,))
        return self._denial[at] if at < len(self._denial) else None

    def denial_last(self) -> RRset | None:
        """Return the last denial RRset of the chain."""
        return self._denial[-1] if self._denial else None

    def denial_scan(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[RRset]:
        """Yield denial RRsets with start <= owner < stop, in order."""
        return rrsets_between(self._denial, start, stop)

    def rrsigs(self, owner: bytes, covered: int) -> Rrsigs | None:
        """Return the RRSIGs over one RRset."""
        at = bisect_left(self._rrsigs, (owner, covered))
        if at < len(self._rrsigs) and self._rrsigs[at][:2] == (owner, covered):
            return self._rrsigs[at]
        return None

    def rrsigs_at(self, owner: bytes) -> list[Rrsigs]:
        """Return all RRSIGs at a name, by type covered."""
        return list(_sigs_at(self._rrsigs, owner))

    def rrsig_scan(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[Rrsigs]:
        """Yield RRSIGs with start <= owner < stop, ordered by (owner, type covered)."""
        end = len(self._rrsigs) if stop is None else bisect_left(self._rrsigs, (stop,))
        return iter(self._rrsigs[bisect_left(self._rrsigs, (start,)) : end])


def rrsets_between(sets: list[RRset], start: bytes, stop: bytes | None) -> Iterator[RRset]:
    """Yield the RRsets with start <= owner < stop from a sorted list."""
    end = len(sets) if stop is None else bisect_left(sets, (stop,))
    return iter(sets[bisect_left(sets, (start,)) : end])


def _at(sets: list[RRset], owner: bytes) -> Iterator[RRset]:
    for at in range(bisect_left(sets, (owner,)), len(sets)):
        if sets[at].owner != owner:
            return
        yield sets[at]


def _sigs_at(sets: list[Rrsigs], owner: bytes) -> Iterator[Rrsigs]:
    for at in range(bisect_left(sets, (owner,)), len(sets)):
        if sets[at].owner != owner:
            return
        yield sets[at]
