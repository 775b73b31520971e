"""What the planner reads of a first version: its content from memory, where it still is, all else from the store."""

from collections.abc import Iterator

from dnssecd.core.dns.rrset import RRset
from dnssecd.core.verify.memoryview import rrsets_between
from dnssecd.core.zone.changeset import Change
from dnssecd.core.zone.zoneview import ZoneView


class FirstContent:
    """A ZoneView of a version that all its content was just written to.

    A walk over SQLite rows gives up Python's lock at every row, and while signatures come in has to queue for it: two
    such walks of planning took longer than the planning. The verifier reads what was stored, whatever is planned here.
    """

    def __init__(self, view: ZoneView, changes: list[Change]) -> None:
        """``changes`` are those from the empty zone to ``view``, ordered by (owner, type)."""
        self._content = [change.new for change in changes if change.new is not None]
        self.origin = view.origin
        self.rrset, self.rrsets_at, self.first_owner = view.rrset, view.rrsets_at, view.first_owner
        self.denial, self.denial_scan, self.denial_last = view.denial, view.denial_scan, view.denial_last
        self.denial_before, self.denial_from = view.denial_before, view.denial_from
        self.rrsigs, self.rrsigs_at, self.rrsig_scan = view.rrsigs, view.rrsigs_at, view.rrsig_scan

    def scan(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[RRset]:
        """Yield content RRsets with start <= owner < stop, ordered by (owner, type)."""
        return rrsets_between(self._content, start, stop)


def planned_from(view: ZoneView, old: ZoneView, changes: list[Change], *, complete: bool) -> ZoneView:
    """Return what to plan the version in ``view`` from; ``complete``: the changes are all that was written."""
    if complete and next(old.scan(), None) is None:
        return FirstContent(view, changes)
    return view
