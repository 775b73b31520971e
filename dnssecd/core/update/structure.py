"""The effect of an update on the structure of the zone: delegations, redirections, names of the denial chain.

:func:`judge_structure` looks at the net changes of one message. Before anything is signed, it refuses changes
that a secondary or the verifier would refuse, and changes that cost more than the policy allows. It returns
notes on new data that no resolver will see, because a delegation or DNAME above hides it (RFC 2136 §7.18, RFC
6672 §2.4).
"""

from collections.abc import Iterable, Sequence

from dnssecd.core.dns import rrtypes as t
from dnssecd.core.dns.names import (
    APEX,
    ancestors,
    is_wildcard,
    key_to_text,
    label_count,
    parent_key,
    subtree_end,
    wildcard_key,
)
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.update.draft import Draft
from dnssecd.core.update.types import REFUSED, UpdateFailed, UpdatePolicy
from dnssecd.core.zone.changeset import Change
from dnssecd.core.zone.overlay import Overlay
from dnssecd.core.zone.wildcardcheck import LEADING
from dnssecd.core.zone.zoneview import ZoneView

_CUTTING = frozenset({t.NS, t.DNAME})
_ADDRESSES = frozenset({t.A, t.AAAA})
#: Served at a delegation point, by the referral or as glue.
_AT_CUT = frozenset({t.NS, t.DS, t.A, t.AAAA})
_NO_TYPES: frozenset[int] = frozenset()


class Cuts:
    """Which names have an NS or DNAME RRset in the version below; remembered from message to message."""

    def __init__(self, view: ZoneView) -> None:
        self._view = view
        self._known: dict[bytes, frozenset[int]] = {}
        self._leads: dict[bytes, bool] = {}

    def at(self, owner: bytes) -> frozenset[int]:
        """Return those of NS and DNAME that are at a name."""
        found = self._known.get(owner)
        if found is None:
            found = _CUTTING.intersection([rrset.rtype for rrset in self._view.rrsets_at(owner)])
            self._known[owner] = found
        return found

    def wildcard_leads(self, above: bytes) -> bool:
        """Tell whether the wildcard directly below a name leads to an address."""
        found = self._leads.get(above)
        if found is None:
            types = [rrset.rtype for rrset in self._view.rrsets_at(wildcard_key(above))]
            found = self._leads[above] = not LEADING.isdisjoint(types)
        return found

    def forget(self, changes: Iterable[Change]) -> None:
        """Forget the names whose cuts or wildcards these changes affect."""
        for change in changes:
            if change.rtype in _CUTTING:
                self._known.pop(change.owner, None)
            elif change.rtype in LEADING and is_wildcard(change.owner):
                self._leads.pop(parent_key(change.owner), None)


def judge_structure(
    view: ZoneView, draft: Draft, changes: Sequence[Change], policy: UpdatePolicy, cuts: Cuts
) -> tuple[list[str], int]:
    """Return notes on added data that stays hidden, and an upper bound of the names of the chain that change.

    view: the zone before the message; draft: after it; changes: the net difference. It raises UpdateFailed.
    """
    judge = _Judge(view, draft, changes, policy, cuts)
    names = judge.chain_names()  # first: an update that costs too much is not checked any further
    if any(change.rtype in _CUTTING for change in changes):
        names += judge.moved_cuts(policy.names_changed_max - names)
    return judge.added_data(), names


class _Judge:
    def __init__(
        self, view: ZoneView, draft: Draft, changes: Sequence[Change], policy: UpdatePolicy, cuts: Cuts
    ) -> None:
        self._view, self._draft, self._changes, self._policy, self._cuts = view, draft, changes, policy, cuts
        self._after: Overlay | None = None

    @property
    def after(self) -> Overlay:
        """The zone after the message."""
        if self._after is None:
            self._after = Overlay(self._view)
            self._after.apply(self._changes)
        return self._after

    def _text(self, owner: bytes) -> str:
        return key_to_text(owner, self._view.origin)

    def _cuts_at(self, owner: bytes) -> frozenset[int]:
        """Return those of NS and DNAME that are at a name after the message."""
        if self._draft.has_touched(owner):
            return _CUTTING & self._draft.at(owner).keys()
        return self._cuts.at(owner)

    def _occluder(self, owner: bytes) -> tuple[bytes, int] | None:
        """Return the topmost name above that hides this one, and the type of the RRset that does so."""
        found = None
        for name in ancestors(owner):
            types = self._cuts_at(name)
            if t.DNAME in types:
                found = name, t.DNAME
            elif name and types:
                found = name, t.NS
        return found

    def added_data(self) -> list[str]:
        """Check the names above added data; return notes on data that stays hidden."""
        notes: list[str] = []
        last, occluder, hidden = None, None, frozenset[int]()
        for owner, rtype, old, new in self._changes:
            if new is None or not owner or (old is not None and not self._draft.has_additions(owner, rtype)):
                continue
            if owner != last:
                last, occluder, hidden = owner, self._occluder(owner), self._hidden_at_cut(owner)
                if occluder is None and hidden:
                    notes += [
                        f"{self._text(owner)} {t.type_text(each)} is hidden by the delegation there"
                        for each in sorted(hidden)
                    ]
                if occluder is not None and occluder[1] == t.DNAME and not self._draft.before(owner):
                    self._below_dname(owner, occluder[0])
            if occluder is not None and (occluder[1] == t.DNAME or rtype not in _ADDRESSES):
                kind = "DNAME" if occluder[1] == t.DNAME else "delegation"
                notes.append(
                    f"{self._text(owner)} {t.type_text(rtype)} is hidden by the {kind} at "
                    f"{self._text(occluder[0])}"
                )
        return notes

    def _hidden_at_cut(self, owner: bytes) -> frozenset[int]:
        """Return the types at a delegation point that the message hides, or adds without effect."""
        types = self._draft.at(owner).keys()
        if t.NS not in types or types <= _AT_CUT:
            return _NO_TYPES
        if t.NS not in self._draft.before(owner):
            return frozenset(types - _AT_CUT)
        return frozenset(each for each in types - _AT_CUT if self._draft.has_additions(owner, each))

    def _below_dname(self, owner: bytes, dname: bytes) -> None:
        if self._policy.knot_secondaries:
            raise UpdateFailed(
                REFUSED,
                f"{self._text(owner)} is below the DNAME at {self._text(dname)}: Knot refuses such a zone",
                notable=True,
            )

    def moved_cuts(self, room: int) -> int:
        """Check added and removed delegations and DNAMEs; return how many names below them change standing.

        Raises UpdateFailed for more than ``room``.
        """
        names = 0
        for owner, rtype, old, new in self._changes:
            if rtype not in _CUTTING or (rtype == t.NS and not owner) or (old is None) == (new is None):
                continue
            if new is not None:
                self._new_cut(owner, rtype)
            names += self._count_below(owner, room - names)
        return names

    def _new_cut(self, owner: bytes, rtype: int) -> None:
        if not self._policy.knot_secondaries:
            return
        what = ""
        if owner and self._draft.at(owner).keys() >= _CUTTING:
            what = "would have a DNAME beside a delegation"
        elif rtype == t.DNAME and self.after.first_owner(owner + b"\x00", _end(owner)) is not None:
            what = "would have a DNAME above other names"
        if what:
            raise UpdateFailed(REFUSED, f"{self._text(owner)} {what}: Knot refuses such a zone", notable=True)

    def _count_below(self, owner: bytes, room: int) -> int:
        """Count the names below a cut; raise UpdateFailed for more than ``room``."""
        number, end = 0, _end(owner)
        name = self.after.first_owner(owner + b"\x00", end)
        while name is not None:
            number += 1
            if number > room:
                raise self._too_many(
                    f"the delegation or DNAME at {self._text(owner)} has too many names below it"
                )
            name = self.after.first_owner(name + b"\x00", end)
        return number

    def chain_names(self) -> int:
        """Return how many names are added or removed, empty non-terminals included; raise UpdateFailed.

        The exact number is computed only if a first estimate, all labels of all names, is too large.
        """
        moved = self._moved_names()
        estimate = sum(map(label_count, moved))
        limit = self._policy.names_changed_max
        if estimate <= limit and not self._denial_ttl_changes():
            return estimate
        changed: set[bytes] = set()
        for owner, is_new in moved.items():
            changed.add(owner)
            self._add_empty(owner, self._view if is_new else self.after, changed)
            if len(changed) > limit:
                raise self._too_many("names, empty non-terminals included, would be added or removed")
        if self._denial_ttl_changes():
            return len(changed) + self._count_all(limit - len(changed))
        return len(changed)

    def _moved_names(self) -> dict[bytes, bool]:
        """Return the names that are added (True) or removed (False)."""
        found: dict[bytes, bool] = {}
        for change in self._changes:
            owner = change.owner
            if owner not in found:
                has = bool(self._draft.at(owner))
                if has != bool(self._draft.before(owner)):
                    found[owner] = has
        return found

    def _add_empty(self, owner: bytes, without: ZoneView, changed: set[bytes]) -> None:
        """Add the names above that exist on one side of the change only; ``without`` is the other side."""
        for name in ancestors(owner):
            if not name or name in changed or without.first_owner(name, subtree_end(name)) is not None:
                return
            changed.add(name)

    def _denial_ttl_changes(self) -> bool:
        for owner, rtype, old, new in self._changes:
            if owner:
                return False
            if rtype == t.SOA and old is not None and new is not None:
                return _denial_ttl(old) != _denial_ttl(new)
        return False

    def _count_all(self, room: int) -> int:
        """Count the zone's names, whose NSEC or NSEC3 RRs all get another TTL (RFC 9077)."""
        return self._count_below(APEX, room)

    def _too_many(self, what: str) -> UpdateFailed:
        return UpdateFailed(
            REFUSED,
            f"{what}: more than {self._policy.names_changed_max} names of the chain would change, see update_names_max",
            notable=True,
        )


def _denial_ttl(soa: RRset) -> int:
    return min(int.from_bytes(soa.rdata[-4:], "big"), soa.ttl)


def _end(owner: bytes) -> bytes | None:
    return subtree_end(owner) if owner else None
