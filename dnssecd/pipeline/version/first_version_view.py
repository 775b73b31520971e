"""The planner's view of the next version: content from memory, where it still is, everything else from the store."""

from collections.abc import Iterator

from dnssecd.core.dns.rrset import RRset
from dnssecd.core.verify.memoryview import rrsets_between
from dnssecd.core.zone.changeset import Change
from dnssecd.core.zone.overlay import Overlay
from dnssecd.core.zone.zoneview import ZoneView


class FirstContent:
    """A ZoneView of a version whose whole content was just written.

    A walk over SQLite rows releases Python's lock at every row, and must wait for it while signatures arrive:
    two such walks took longer than the planning itself. The verifier always reads the stored rows.
    """

    def __init__(self, view: ZoneView, changes: list[Change]) -> None:
        """Take the view and its content as ``changes`` from the empty zone, ordered by (owner, type)."""
        self._content = [change.new for change in changes if change.new is not None]
        self.origin = view.origin
        self.rrset, self.rrsets_at, self.first_owner = view.rrset, view.rrsets_at, view.first_owner
        self.denial, self.denial_scan, self.denial_last = view.denial, view.denial_scan, view.denial_last
        self.denial_before, self.denial_from = view.denial_before, view.denial_from
        self.rrsigs, self.rrsigs_at, self.rrsig_scan = view.rrsigs, view.rrsigs_at, view.rrsig_scan

    def scan(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[RRset]:
        """Yield content RRsets with start <= owner < stop, ordered by (owner, type)."""
        return rrsets_between(self._content, start, stop)


def planned_from(
    view: ZoneView, old: ZoneView, changes: list[Change], *, complete: bool, few: bool = False
) -> ZoneView:
    """Return the view for planning the version in ``view``.

    complete: the changes are all that differs from ``old``; few: they concern few names, and are not written yet. Chain
    and signatures are then those of ``old``.
    """
    if few:
        changed = Overlay(old)
        changed.apply(changes)
        return changed
    if complete and next(old.scan(), None) is None:
        return FirstContent(view, changes)
    return view
