"""The checks of a zone's content, made on a difference: they find what checking the whole zone would find.

A difference is judged with what surrounds it: the names above (zone cuts, DNAMEs, wildcards), the addresses of name
servers, and the names below a zone cut or DNAME that comes or goes, whose standing changes though they do not. Cost
grows with the difference, and with what it covers or uncovers.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from dnssecd.core.dns import rrset as packed
from dnssecd.core.dns import rrtypes as t
from dnssecd.core.dns.names import (
    APEX,
    ancestors,
    is_wildcard,
    key_to_wire,
    parent_key,
    subtree_end,
    wildcard_key,
)
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.zone.changeset import Change
from dnssecd.core.zone.delegationcheck import ADDRESSES, key_inside
from dnssecd.core.zone.findings import Finding, Findings
from dnssecd.core.zone.wildcardcheck import LEADING
from dnssecd.core.zone.zonecheck import check
from dnssecd.core.zone.zoneview import ZoneView

#: No bound on findings before those at names merely looked at are left out.
_ALL = 1 << 30

#: RRsets beside a wildcard that comes or goes which are looked at: what it no longer answers is a warning only.
_BESIDE_WILDCARD_MAX = 1000

#: Gives the NS RRsets of the previous version, in any order: others may name a server whose address is removed.
NameServers = Callable[[], Iterable[RRset]]


def check_changes(
    view: ZoneView,
    changes: Sequence[Change],
    limit: int = 100,
    *,
    allow_missing_glue: bool = False,
    name_servers: NameServers | None = None,
) -> Findings:
    """Check what ``changes`` led to in ``view``, the content with them (an overlay will do), and the apex.

    What the signer derives at the apex is not looked at. Without ``name_servers``, delegations that name a server of
    the zone whose address goes are found only where they are the apex, above that server, or changed themselves.
    """
    surroundings = _Surroundings(view)
    surroundings.judge(APEX)
    for change in changes:
        surroundings.judge(change.owner)
        surroundings.look_above(change.owner)
        if _moves_a_cut(change):
            surroundings.judge_below(change.owner)
        if is_wildcard(change.owner) and change.rtype in LEADING and change.old is None:
            surroundings.judge_below(parent_key(change.owner), _BESIDE_WILDCARD_MAX)
        if change.new is None:
            surroundings.look_below(change.owner)
    surroundings.judge_clients(_servers_lost(view, changes), name_servers)
    surroundings.judge_clients_below(_tops_changed(view, changes), name_servers)
    surroundings.look_at_targets()
    everything = check(surroundings.content(), view.origin, _ALL, allow_missing_glue=allow_missing_glue)
    return _narrowed(everything, surroundings.judged, limit)


def _moves_a_cut(change: Change) -> bool:
    if change.rtype != t.DNAME and (change.rtype != t.NS or not change.owner):
        return False
    return (change.old is None) != (change.new is None)


def _servers_lost(view: ZoneView, changes: Iterable[Change]) -> list[bytes]:
    """Return the names that had an address and have none now."""
    lost = {c.owner for c in changes if c.rtype in ADDRESSES and c.old is not None and c.new is None}
    return [owner for owner in sorted(lost) if not _has_address(view, owner)]


def _tops_changed(view: ZoneView, changes: Iterable[Change]) -> set[bytes]:
    """Return names such that a name server at or below one may have lost its address without a change of its own.

    A zone cut or DNAME that goes makes what is below it the zone's own. A new name keeps a wildcard from standing in
    for names below it.
    """
    tops: set[bytes] = set()
    for change in changes:
        if _moves_a_cut(change) and change.new is None:
            tops.add(change.owner)
        elif change.old is None:
            below = change.owner
            for above in ancestors(change.owner):
                if _has_address(view, wildcard_key(above)):
                    tops.add(below)
                below = above
    return tops


def _has_address(view: ZoneView, owner: bytes) -> bool:
    return any(view.rrset(owner, rtype) is not None for rtype in ADDRESSES)


def _narrowed(found: Findings, judged: set[bytes], limit: int) -> Findings:
    """Return the findings at names that are judged, not merely looked at."""
    narrowed = Findings(limit)

    def here(findings: Iterable[Finding]) -> Iterator[Finding]:
        return (finding for finding in findings if finding.owner in judged)

    for finding in here(found.errors):
        narrowed.error(*finding)
    for finding in here(found.warnings):
        narrowed.warning(*finding)
    return narrowed


class _Surroundings:
    """The names to be judged, and the RRsets around them that a judgement depends on."""

    def __init__(self, view: ZoneView) -> None:
        self._view = view
        self.judged: set[bytes] = set()
        self._held: dict[bytes, list[RRset]] = {}

    def judge(self, owner: bytes) -> None:
        """Have a name judged."""
        if owner not in self.judged:
            self.judged.add(owner)
            self._look(owner)

    def look_above(self, owner: bytes) -> None:
        """Look at the names above one: zone cuts, DNAMEs, wildcards beside the way down.

        A name above that exists only because of those below can hide a wildcard, so it is judged.
        """
        for above in ancestors(owner):
            self._look(wildcard_key(above))
            self._look(above)
            if not self._held[above]:
                self.judged.add(above)

    def judge_below(self, top: bytes, most: int | None = None) -> None:
        """Have all names below one judged, or those of the first ``most`` RRsets."""
        for rrset in islice(self._view.scan(top, subtree_end(top)), most):
            if rrset.owner not in self.judged:
                self.judge(rrset.owner)
                self.look_above(rrset.owner)

    def look_below(self, owner: bytes) -> None:
        """Look at the first name at or below one: enough for it to exist."""
        first = self._view.first_owner(owner, subtree_end(owner))
        if first is not None:
            self._look(first)

    def judge_clients(self, lost: list[bytes], name_servers: NameServers | None) -> None:
        """Have the delegations judged that name a server which has no address any more."""
        if not lost:
            return
        origin = self._view.origin
        near = [rrset for owner in lost for rrset in self._held_ns(ancestors(owner))]
        names = {key_to_wire(owner, origin) for owner in lost}
        by_wildcard = tuple(key_to_wire(parent_key(owner), origin) for owner in lost if is_wildcard(owner))
        far = [owner for owner in lost if not any(self._held_ns(a for a in ancestors(owner) if a))]
        for rrset in (*near, *(name_servers() if name_servers is not None and far else ())):
            if any(target in names or target.endswith(by_wildcard) for target in packed.unpack(rrset.rdata)):
                self.judge(rrset.owner)
                self.look_above(rrset.owner)

    def judge_clients_below(self, tops: set[bytes], name_servers: NameServers | None) -> None:
        """Have the delegations judged that name a server at or below one of these names."""
        if not tops:
            return
        origin = self._view.origin
        ends = tuple(key_to_wire(top, origin) for top in tops)
        near = self._held_ns({above for top in tops for above in ancestors(top)})
        for rrset in (*near, *(name_servers() if name_servers is not None else ())):
            if any(target.endswith(ends) for target in packed.unpack(rrset.rdata)):
                self.judge(rrset.owner)
                self.look_above(rrset.owner)

    def look_at_targets(self) -> None:
        """Look at the name servers of the delegations judged: their addresses, and the zone cuts above them."""
        origin = self._view.origin
        for owner in list(self.judged):
            for rrset in self._held[owner]:
                if rrset.rtype != t.NS:
                    continue
                for target in packed.unpack(rrset.rdata):
                    key = key_inside(target, origin) if target.endswith(origin) else None
                    if key is not None:
                        self._look_at_target(key)

    def content(self) -> list[RRset]:
        """Return all RRsets looked at, ordered by (owner, type), without what the signer derives."""
        return [
            rrset
            for owner in sorted(self._held)
            for rrset in self._held[owner]
            if owner or rrset.rtype not in t.APEX_DERIVED_TYPES
        ]

    def _look_at_target(self, key: bytes) -> None:
        self._look(key)
        if any(rrset.rtype in ADDRESSES for rrset in self._held[key]):
            return
        for name in (key, *ancestors(key)):
            # Something below is enough for a name to exist, and to keep a wildcard from standing in for it.
            first = self._view.first_owner(name, subtree_end(name))
            if first is not None:
                self._look(first)
            self._look(wildcard_key(name))
            self._look(name)

    def _held_ns(self, owners: Iterable[bytes]) -> list[RRset]:
        found = (self._view.rrset(owner, t.NS) for owner in owners)
        return [rrset for rrset in found if rrset is not None]

    def _look(self, owner: bytes) -> None:
        if owner not in self._held:
            self._held[owner] = self._view.rrsets_at(owner)
