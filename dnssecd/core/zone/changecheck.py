"""The checks of a zone's content for a difference only: they find what a check of the whole zone would find.

A difference is checked together with the names that it affects: the names above (zone cuts, DNAMEs,
wildcards), the addresses of name servers, and the names below a zone cut or DNAME that is added or removed,
because their standing changes. The cost grows with the difference and with the number of names that it hides
or uncovers.
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

#: Findings at names that are only context are removed first, so there is no bound here.
_ALL = 1 << 30

#: How many RRsets beside an added or removed wildcard are checked: the finding is only a warning.
_BESIDE_WILDCARD_MAX = 1000

#: Gives the NS RRsets of the previous version, in any order: some may name a server whose address is removed.
NameServers = Callable[[], Iterable[RRset]]


def check_changes(
    view: ZoneView,
    changes: Sequence[Change],
    limit: int = 100,
    *,
    allow_missing_glue: bool = False,
    name_servers: NameServers | None = None,
) -> Findings:
    """Check the effect of ``changes`` on ``view``, the content with the changes (an overlay will do), and the apex.

    RRsets that the signer derives at the apex are not checked. If the address of a server in the zone is
    removed, delegations to that server are found through ``name_servers``. Without it they are found only if
    they are at the apex, above that server, or changed themselves.
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
    """Return names at or below which a name server may have lost its address though its own records did not change.

    When a zone cut or DNAME is removed, the names below it become authoritative. When a name is added, a
    wildcard no longer answers for names below it.
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
    """Return the findings at names that are checked, not those at names read as context."""
    narrowed = Findings(limit)

    def here(findings: Iterable[Finding]) -> Iterator[Finding]:
        return (finding for finding in findings if finding.owner in judged)

    for finding in here(found.errors):
        narrowed.error(*finding)
    for finding in here(found.warnings):
        narrowed.warning(*finding)
    return narrowed


class _Surroundings:
    """The names to check, and the RRsets around them that the check needs."""

    def __init__(self, view: ZoneView) -> None:
        self._view = view
        self.judged: set[bytes] = set()
        self._held: dict[bytes, list[RRset]] = {}

    def judge(self, owner: bytes) -> None:
        """Add a name to those that are checked."""
        if owner not in self.judged:
            self.judged.add(owner)
            self._look(owner)

    def look_above(self, owner: bytes) -> None:
        """Read the names above one: zone cuts, DNAMEs, and the wildcards below each of them.

        A name above that exists only because of names below can hide a wildcard, so it is checked.
        """
        for above in ancestors(owner):
            self._look(wildcard_key(above))
            self._look(above)
            if not self._held[above]:
                self.judged.add(above)

    def judge_below(self, top: bytes, most: int | None = None) -> None:
        """Add all names below one to those that are checked, or those of the first ``most`` RRsets."""
        for rrset in islice(self._view.scan(top, subtree_end(top)), most):
            if rrset.owner not in self.judged:
                self.judge(rrset.owner)
                self.look_above(rrset.owner)

    def look_below(self, owner: bytes) -> None:
        """Read the first name at or below one: if there is any, the name exists."""
        first = self._view.first_owner(owner, subtree_end(owner))
        if first is not None:
            self._look(first)

    def judge_clients(self, lost: list[bytes], name_servers: NameServers | None) -> None:
        """Add the delegations to a server that has lost its address."""
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
        """Add the delegations to a server at or below one of these names."""
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
        """Read the name servers of the checked delegations: their addresses, and the zone cuts above them."""
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
        """Return all RRsets read, ordered by (owner, type), without those that the signer derives."""
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
            # A name exists, and hides a wildcard, as soon as there is any name below it.
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
