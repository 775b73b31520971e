"""The part of a zone that a change can affect: the part that must be planned again, and no more.

A change at a name concerns that name. If an NS RRset (below the apex) or a DNAME is added or removed, the
change concerns the whole subtree, because its names become occluded or stop being occluded. The names above
are checked one by one, because they may be empty non-terminals.
"""

from collections.abc import Iterable

from msgspec import Struct

from dnssecd.core.dns.names import AFTER_ALL, APEX, ancestors, subtree_end
from dnssecd.core.dns.rrtypes import DNAME, NS
from dnssecd.core.zone.changeset import Change

#: With more regions than this, one walk over the whole zone is cheaper than a look at each.
REGIONS_MAX = 20_000


class Regions(Struct, frozen=True):
    """Names to look at: ``names`` one by one, ``spans`` as half-open ranges; ``whole`` is the entire zone."""

    names: tuple[bytes, ...]
    spans: tuple[tuple[bytes, bytes], ...]
    whole: bool = False


WHOLE_ZONE = Regions(names=(), spans=((APEX, AFTER_ALL),), whole=True)


def cuts_changed(change: Change) -> bool:
    """Tell whether this change makes or removes a zone cut or a redirection."""
    if (change.old is None) == (change.new is None):
        return False
    return change.rtype == DNAME or (change.rtype == NS and change.owner != APEX)


def regions_of(changes: Iterable[Change]) -> Regions:
    """Return the regions that ``changes`` (of content) can affect."""
    points: set[bytes] = set()
    subtrees: set[bytes] = set()
    for change in changes:
        points.add(change.owner)
        if cuts_changed(change):
            subtrees.add(change.owner)
        if len(points) > REGIONS_MAX or APEX in subtrees:
            return WHOLE_ZONE
    tops = [top for top in sorted(subtrees) if not any(above in subtrees for above in ancestors(top))]
    names = {name for point in points for name in (point, *ancestors(point))}
    spans = tuple((top, subtree_end(top)) for top in tops)
    covered = set(tops)
    if covered:
        names = {n for n in names if n not in covered and not any(a in covered for a in ancestors(n))}
    return Regions(names=tuple(sorted(names)), spans=spans)
