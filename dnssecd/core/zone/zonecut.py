"""Which names are authoritative: zone cuts, glue and occlusion (RFC 4035 §2.2, RFC 6672 §2.4)."""

from collections.abc import Iterator
from enum import Enum
from itertools import groupby
from operator import itemgetter

from dnssecd.core.dns.names import ancestors, parent_key
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.dns.rrtypes import DNAME, DS, NS
from dnssecd.core.zone.zoneview import ZoneView


class Standing(Enum):
    """The standing of a name in its zone."""

    AUTHORITATIVE = "authoritative"
    DELEGATION = "delegation"
    OCCLUDED = "occluded"


#: The members as constants: the scan compares them for every name of the zone.
AUTHORITATIVE, DELEGATION, OCCLUDED = Standing.AUTHORITATIVE, Standing.DELEGATION, Standing.OCCLUDED

NameContent = tuple[bytes, list[RRset], Standing]


def cut_above(view: ZoneView, owner: bytes) -> bytes | None:
    """Return the topmost name strictly above ``owner`` that occludes it, or None.

    A delegation occludes the names below it; so does a DNAME, even at the apex.
    """
    found = None
    for name in ancestors(owner):
        if view.rrset(name, DNAME) is not None or (name and view.rrset(name, NS) is not None):
            found = name
    return found


def standing_of(owner: bytes, rrsets: list[RRset]) -> Standing:
    """Return the standing of a name that nothing above occludes, from its content."""
    if owner and any(rrset.rtype == NS for rrset in rrsets):
        return DELEGATION
    return AUTHORITATIVE


def is_secure_delegation(rrsets: list[RRset]) -> bool:
    """Tell whether the content of a delegation point has a DS RRset."""
    return any(rrset.rtype == DS for rrset in rrsets)


def standing_scan(view: ZoneView, start: bytes, stop: bytes) -> Iterator[NameContent]:
    """Yield (owner, content, standing) for the names with start <= owner < stop, in canonical order."""
    cut = cut_above(view, start)
    for owner, group in groupby(view.scan(start, stop), key=itemgetter(0)):
        rrsets = list(group)
        if cut is not None and owner.startswith(cut):
            yield owner, rrsets, OCCLUDED
            continue
        cut = None
        standing = AUTHORITATIVE
        for rrset in rrsets:
            rtype = rrset.rtype
            if rtype == NS and owner:
                standing, cut = DELEGATION, owner
            elif rtype == DNAME:
                cut = owner
        yield owner, rrsets, standing


class NameContents:
    """Gives (owner, content, standing) of single names of one version, whose content does not change meanwhile.

    Each name above is looked at once, so that a name of many labels costs no more than its labels.
    """

    def __init__(self, view: ZoneView) -> None:
        self._view = view
        #: Whether a name is a cut or DNAME, or lies below one.
        self._hides: dict[bytes, bool] = {}

    def at(self, owner: bytes) -> NameContent:
        """Return (owner, content, standing) of one name, which may have no content."""
        rrsets = self._view.rrsets_at(owner)
        if owner and self._hidden_below(parent_key(owner)):
            return owner, rrsets, OCCLUDED
        return owner, rrsets, standing_of(owner, rrsets)

    def _hidden_below(self, name: bytes) -> bool:
        unknown = []
        while (known := self._hides.get(name)) is None:
            unknown.append(name)
            if not name:
                known = False
                break
            name = parent_key(name)
        for above in reversed(unknown):
            known = known or self._is_cut(above)
            self._hides[above] = known
        return known

    def _is_cut(self, name: bytes) -> bool:
        if self._view.rrset(name, DNAME) is not None:
            return True
        return bool(name) and self._view.rrset(name, NS) is not None


def signed_rrsets(content: NameContent) -> list[RRset]:
    """Return the content RRsets of a name that need RRSIGs (RFC 4035 §2.2)."""
    _, rrsets, standing = content
    if standing is AUTHORITATIVE:
        return rrsets
    if standing is DELEGATION:
        return [rrset for rrset in rrsets if rrset.rtype == DS]
    return []
