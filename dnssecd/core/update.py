"""Dynamic update (RFC 2136 §3): prerequisites, permissions, prescan, then the update section RR by RR, or nothing.

What RFC 2136 leaves open is decided as BIND does, so that clients meet nothing new:

* the signer's own RRsets at the apex (DNSKEY, CDS, CDNSKEY, NSEC3PARAM, ZONEMD) survive "delete all RRsets from a
  name", are seen by prerequisites, and are REFUSED as a target; NSEC, NSEC3 and RRSIG are REFUSED anywhere;
* DNAME is replaced like CNAME; NS and DNAME at a wildcard, DS at the apex, MD and MF are ignored;
* a DS RRset that is added where no delegation is, or whose delegation goes, is removed (RFC 3658 §2.2);
* "delete all RRsets from a name" needs a grant for the name and for every type it would delete.
"""

from dnssecd.core import rrtypes as t
from dnssecd.core.changeset import Change
from dnssecd.core.grants import ANY_TYPE
from dnssecd.core.names import APEX, is_wildcard, key_to_text
from dnssecd.core.rrset import RRset
from dnssecd.core.serial import is_after
from dnssecd.core.update_draft import Draft
from dnssecd.core.update_prerequisites import check_prerequisites
from dnssecd.core.update_types import (
    CLASS_ANY,
    CLASS_IN,
    NOERROR,
    NOTZONE,
    REFUSED,
    TYPE_ANY,
    UpdateFailed,
    UpdateMessage,
    UpdatePolicy,
    UpdateResult,
    UpdateRR,
    note,
)
from dnssecd.core.zoneview import ZoneView

_MD, _MF, _KEY = 3, 4, 25

#: Types that may stand beside a CNAME (RFC 3007 §1.4, RFC 4035 §2.5); RRSIG and NSEC never come in an update.
_BESIDE_CNAME = frozenset({t.CNAME, _KEY})

#: Survive "delete all RRsets from a name" at the apex; of these only NS RRs can be deleted at all, but for the last.
_APEX_KEPT = frozenset({t.SOA, t.NS, *t.APEX_DERIVED_TYPES})

#: Types that are not always added, whatever else is at the name.
_PARTICULAR = frozenset({t.SOA, t.DS, t.NS, t.DNAME, _MD, _MF})


def apply_update(view: ZoneView, message: UpdateMessage, policy: UpdatePolicy) -> UpdateResult:
    """Return what comes of a message on ``view``, which stays as it is.

    The order of checks is that of RFC 2136 §3.2 to §3.4: prerequisites first, then what the update section may do.
    A key without any grant learns nothing: it is REFUSED at once.
    """
    try:
        return _carry_out(view, message, policy)
    except UpdateFailed as failed:
        return UpdateResult(failed.rcode, reason=failed.reason)


def _carry_out(view: ZoneView, message: UpdateMessage, policy: UpdatePolicy) -> UpdateResult:
    if not policy.grants:
        raise UpdateFailed(REFUSED, "the key may not update this zone")
    draft = Draft(view)
    check_prerequisites(view, draft, message.prerequisites)
    _check_permissions(draft, message, policy, view.origin)
    update = _Update(draft, view.origin)
    for rr in message.updates:
        update.carry_out(rr)
    _remove_orphaned_ds(draft)
    changes, owners_delta = draft.changes(policy)
    if policy.names_added_max is not None and owners_delta > max(policy.names_added_max, 0):
        raise UpdateFailed(REFUSED, f"the zone would grow by {owners_delta} names")
    content, soa = _without_soa(changes)
    return UpdateResult(NOERROR, content, soa, owners_delta, ignored=tuple(update.ignored))


def _without_soa(changes: list[Change]) -> tuple[list[Change], RRset | None]:
    for place, change in enumerate(changes):
        if change.owner != APEX:
            break
        if change.rtype == t.SOA:
            return changes[:place] + changes[place + 1 :], change.new
    return changes, None


def _check_permissions(draft: Draft, message: UpdateMessage, policy: UpdatePolicy, origin: bytes) -> None:
    """Raise UpdateFailed for a name out of zone, and for anything policy or grants do not allow."""
    last, types = None, frozenset[int]()
    for owner, rtype, rclass, ttl, _ in message.updates:
        if owner is None:
            raise UpdateFailed(NOTZONE, "a name of the update section is not in the zone")
        if rtype in t.SIGNATURE_TYPES or (not owner and rtype in policy.apex_refused):
            raise UpdateFailed(REFUSED, f"type {rtype} is the signer's own")
        if rclass == CLASS_IN and ttl > policy.ttl_max:
            raise UpdateFailed(REFUSED, f"TTL {ttl} is above {policy.ttl_max}")
        if owner != last:
            last, types = owner, policy.grants.types_at(owner)
        if ANY_TYPE in types:
            continue
        wanted = _deletable(draft, owner) if rtype == TYPE_ANY else {rtype}
        if not types or not wanted <= types:
            missing = ", ".join(str(rtype) for rtype in sorted(wanted - types)) or "any"
            raise UpdateFailed(REFUSED, f"no grant for {key_to_text(owner, origin)}, type {missing}")


def _deletable(draft: Draft, owner: bytes) -> set[int]:
    """Return the types that "delete all RRsets from a name" removes."""
    types = set(draft.at(owner))
    return types if owner else types - _APEX_KEPT


class _Update:
    """Carries out the RRs of an update section, in order, on a draft."""

    def __init__(self, draft: Draft, origin: bytes) -> None:
        self._draft = draft
        self._origin = origin
        self.ignored: list[str] = []

    def carry_out(self, rr: UpdateRR) -> None:
        """Add or delete as one RR says (RFC 2136 §3.4.2)."""
        owner, rtype, rclass, ttl, rdata = rr
        assert owner is not None, "names out of zone were turned away"
        if rclass == CLASS_IN:
            self._add(owner, rtype, ttl, rdata)
        elif rclass == CLASS_ANY:
            self._delete_rrsets(owner, rtype)
        else:
            self._delete_rr(owner, rtype, rdata)

    def _add(self, owner: bytes, rtype: int, ttl: int, rdata: bytes) -> None:
        present = self._draft.at(owner)
        if rtype == t.CNAME:
            if present and not present.keys() <= _BESIDE_CNAME:
                return self._ignore(owner, rtype, "other data is at the name")
        elif t.CNAME in present and rtype not in _BESIDE_CNAME:
            return self._ignore(owner, rtype, "a CNAME is at the name")
        if rtype in _PARTICULAR and (objection := self._objection(owner, rtype, rdata)):
            return self._ignore(owner, rtype, objection)
        self._draft.add(owner, rtype, ttl, rdata)

    def _objection(self, owner: bytes, rtype: int, rdata: bytes) -> str:
        """Return why a well-formed RR is passed over; empty when it is not."""
        if rtype == t.SOA:
            return self._soa_objection(owner, rdata)
        if rtype == t.DS:
            return "" if owner else "a DS record at the apex belongs in the parent zone"
        if rtype in (t.NS, t.DNAME):
            return "the name is a wildcard" if is_wildcard(owner) else ""
        return "the type is obsolete (RFC 973)"

    def _soa_objection(self, owner: bytes, rdata: bytes) -> str:
        held = self._draft.rdatas(owner, t.SOA)
        if not held:
            return "only the apex has an SOA record"
        later = is_after(_serial(rdata), _serial(held[0]))
        return "" if later else "its serial is not after the zone's"

    def _delete_rrsets(self, owner: bytes, rtype: int) -> None:
        if rtype == TYPE_ANY:
            for each in set(self._draft.at(owner)) - (frozenset() if owner else _APEX_KEPT):
                self._draft.delete_rrset(owner, each)
        elif owner or rtype not in _APEX_KEPT:
            self._draft.delete_rrset(owner, rtype)

    def _delete_rr(self, owner: bytes, rtype: int, rdata: bytes) -> None:
        if not owner and rtype == t.SOA:
            return
        if not owner and rtype == t.NS and len(self._draft.rdatas(owner, rtype)) == 1:
            return
        self._draft.delete_rr(owner, rtype, rdata)

    def _ignore(self, owner: bytes, rtype: int, objection: str) -> None:
        note(self.ignored, f"{key_to_text(owner, self._origin)} type {rtype} not added: {objection}")


def _serial(soa_rdata: bytes) -> int:
    return int.from_bytes(soa_rdata[-20:-16], "big")


def _remove_orphaned_ds(draft: Draft) -> None:
    for owner in draft.touched():
        now = draft.at(owner)
        if (
            t.DS in now
            and t.NS not in now
            and (t.NS in draft.before(owner) or draft.has_additions(owner, t.DS))
        ):
            draft.delete_rrset(owner, t.DS)
