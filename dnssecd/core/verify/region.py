"""The names that a change can affect, derived only from the unsigned difference and both versions.

An RRset that changes affects its owner (signatures, type bit maps), every name above it (empty non-terminals
are added and removed) and, when NS or DNAME changes, every name below it (zone cuts move). Chain neighbours
are looked up where the chain is judged.
"""

from collections.abc import Iterable, Iterator

from dnssecd.core.dns import names, rrtypes
from dnssecd.core.zone.zoneview import ZoneView

_CUTTING = frozenset({rrtypes.NS, rrtypes.DNAME})


def affected_names(
    old: ZoneView, new: ZoneView, changed: Iterable[tuple[bytes, int]], limit: int
) -> set[bytes] | None:
    """Return the owner keys a difference of (owner, type) affects; None when there are more than ``limit``."""
    found: set[bytes] = {names.APEX}
    subtrees: set[bytes] = set()
    for owner, rtype in changed:
        if owner not in found:
            found.add(owner)
            found.update(names.ancestors(owner))
        if rtype in _CUTTING and (owner or rtype == rrtypes.DNAME):
            subtrees.add(owner)
        if len(found) > limit:
            return None
    for top in subtrees:
        for owner in _subtree(old, new, top):
            found.add(owner)
            found.update(names.ancestors(owner))
            if len(found) > limit:
                return None
    return found


def _subtree(old: ZoneView, new: ZoneView, top: bytes) -> Iterator[bytes]:
    """Yield every owner at or below ``top`` in either version, those of derived RRs included."""
    stop = names.subtree_end(top) if top else None
    for view in (old, new):
        yield from (rrset.owner for rrset in view.scan(top, stop))
        yield from (rrset.owner for rrset in view.denial_scan(top, stop) if rrset.rtype == rrtypes.NSEC)
        yield from (sigs.owner for sigs in view.rrsig_scan(top, stop) if sigs.covered != rrtypes.NSEC3)
