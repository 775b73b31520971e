"""A first version in memory, for signing one file without a durable store.

It has the methods of store.transaction.WriteTransaction that the pipeline uses. Rows are in sorted lists; RRSIGs arrive
in the order of signing, and are sorted at the first read.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

from dnssecd.core.dns.rrset import RRset, Rrsigs
from dnssecd.core.verify import MemoryZoneView
from dnssecd.core.zone.changeset import Change
from dnssecd.store.errors import StoreError
from dnssecd.store.interface import State


class Nothing(MemoryZoneView):
    """The empty version from which a first version starts."""

    version: State | None = None

    def __init__(self, origin: bytes) -> None:
        super().__init__(origin, (), (), ())

    def read_ahead(self, owners: Iterable[bytes], links: Iterable[bytes] = ()) -> None:
        """Do nothing: all is in memory."""

    def rrsigs_due(self, before: int, limit: int) -> list[tuple[bytes, int]]:
        """Return no RRSIGs."""
        return []


class MemoryTransaction(MemoryZoneView):
    """The first version of a zone, being built; it cannot be committed. ``arrivals``: RRSIGs in order of signing."""

    def __init__(self, origin: bytes) -> None:
        super().__init__(origin, (), (), ())
        self.old = Nothing(origin)
        self.generation = 0
        self.records_delta = 0
        self.touched: set[tuple[bytes, int]] | None = None
        self._rrsigs_sorted = True
        self.arrivals: list[Rrsigs] = []

    def forget_reads(self) -> None:
        """Do nothing: there are no cached reads."""

    def read_ahead(self, owners: Iterable[bytes], links: Iterable[bytes] = ()) -> None:
        """Do nothing: all is in memory."""

    def apply_content(self, changes: Iterable[Change], *, journalled: bool = True) -> None:
        """Write content RRsets, ordered by (owner, type)."""
        self.generation += 1
        rows = [change.new for change in changes if change.new is not None]
        if not self._content:
            self._content = rows
            return
        for row in rows:
            at = bisect_left(self._content, row[:2])
            if at < len(self._content) and self._content[at][:2] == row[:2]:
                self._content[at] = row
            else:
                insort(self._content, row)

    def apply_denial(self, changes: Iterable[Change]) -> None:
        """Write the next RRsets of the chain, in chain order."""
        self.generation += 1
        self._denial += [change.new for change in changes if change.new is not None]

    def put_rrsigs(self, rows: Iterable[tuple[Rrsigs | None, Rrsigs, int]]) -> None:
        """Write RRSIGs given as (old, new, expiration)."""
        self.generation += 1
        made = [new for _, new, _ in rows]
        self._rrsigs += made
        self.arrivals += made
        self._rrsigs_sorted = False

    def delete_rrsigs(self, rows: Iterable[Rrsigs]) -> None:
        """Raise unless there is nothing to remove: a first version has no old RRSIGs."""
        if any(True for _ in rows):
            raise AssertionError("a first version drops no RRSIGs")

    def _sort(self) -> None:
        if not self._rrsigs_sorted:
            self._rrsigs.sort()
            self._rrsigs_sorted = True

    def rrsigs(self, owner: bytes, covered: int) -> Rrsigs | None:
        """Return the RRSIGs over one RRset."""
        self._sort()
        return super().rrsigs(owner, covered)

    def rrsigs_at(self, owner: bytes) -> list[Rrsigs]:
        """Return all RRSIGs at a name, by type covered."""
        self._sort()
        return super().rrsigs_at(owner)

    def rrsig_scan(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[Rrsigs]:
        """Yield RRSIGs with start <= owner < stop, ordered by (owner, type covered)."""
        self._sort()
        return super().rrsig_scan(start, stop)

    def set_state(self, name: str, value: State) -> None:
        """Keep no state."""

    def state(self, name: str) -> State | None:
        """Return no state."""
        return None

    def add_history(self, at: int, who: str, what: str, serial: int | None, detail: str) -> None:
        """Keep no history."""

    def close_journal(
        self, at: int, old_soa: RRset | None, new_soa: RRset, serials: tuple[int, int] | None
    ) -> None:
        """Keep no journal."""

    def prune_journal(self, octets_max: int, older_than: int) -> int:
        """Prune nothing."""
        return 0

    def commit_if(self, generation: int) -> None:
        """Refuse: a version in memory is never published."""
        raise StoreError("a version in memory is not committed")
