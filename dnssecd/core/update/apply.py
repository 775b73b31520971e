"""Dynamic update (RFC 2136 §3): prerequisites, permissions, prescan, then the update section RR by RR, or nothing.

Where RFC 2136 leaves a choice, dnssecd does what BIND does, so that clients see no difference:

* the signer's own RRsets at the apex (DNSKEY, CDS, CDNSKEY, NSEC3PARAM, ZONEMD, and CSYNC where it makes that)
  survive "delete all RRsets from a name", are seen by prerequisites, and are REFUSED as a target; NSEC, NSEC3 and
  RRSIG are REFUSED anywhere;
* these types are not added below the apex either, but for CDS and CDNSKEY at the signalling names of RFC 9615;
* DNAME and RESINFO are replaced like CNAME; NS and DNAME at a wildcard, DS at the apex, MD and MF are ignored;
* a DS RRset that is added where no delegation is, or whose delegation goes, is removed (RFC 3658 §2.2);
* "delete all RRsets from a name" needs a grant for the name and for every type it would delete.

Beyond RFC 2136, a message is REFUSED, before anything is signed, if a secondary or the verifier would refuse
the resulting zone, or if it would change more names of the denial chain than the policy allows.
"""

from collections.abc import Iterable

from dnssecd.core.dns import rrtypes as t
from dnssecd.core.dns.names import APEX, is_wildcard, key_labels, key_to_text
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.dns.serial import is_after
from dnssecd.core.update.draft import Draft
from dnssecd.core.update.names import note_names
from dnssecd.core.update.prerequisites import check_prerequisites
from dnssecd.core.update.servers import SERVER_TYPES, judge_servers
from dnssecd.core.update.soa import client_soa, judge_soa, soa_rdata_serial
from dnssecd.core.update.structure import Cuts, judge_structure
from dnssecd.core.update.types import (
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
from dnssecd.core.zone.changeset import Change
from dnssecd.core.zone.grants import ANY_TYPE
from dnssecd.core.zone.zoneview import ZoneView

_MD, _MF, _KEY = 3, 4, 25

#: Types that may stand beside a CNAME (RFC 3007 §1.4, RFC 4035 §2.5); an update cannot add RRSIG and NSEC.
_BESIDE_CNAME = frozenset({t.CNAME, _KEY})

#: Made by the signer at the apex, always or by its configuration, or anywhere.
_SIGNERS = t.SIGNATURE_TYPES | t.APEX_DERIVED_TYPES | {t.CSYNC}
#: Have a meaning at the signalling names of RFC 9615.
_BOOTSTRAP = frozenset({t.CDS, t.CDNSKEY})

#: Survive "delete all RRsets from a name" at the apex, as what the signer makes does; of these only NS RRs can be
#: deleted at all, but for the last.
_APEX_KEPT = frozenset({t.SOA, t.NS})

#: Types whose addition depends on the other types at the name.
_PARTICULAR = frozenset({t.SOA, t.DS, t.NS, t.DNAME, _MD, _MF})


def apply_update(
    view: ZoneView, message: UpdateMessage, policy: UpdatePolicy, cuts: Cuts | None = None
) -> UpdateResult:
    """Return the result of a message on ``view``, which is not changed; ``cuts`` are those of the view.

    The order of checks is that of RFC 2136 §3.2 to §3.4: prerequisites first, then what the update section
    may do. A key without any grant is REFUSED before the prerequisites, so that it learns nothing about the
    zone.
    """
    try:
        return _carry_out(view, message, policy, cuts or Cuts(view))
    except UpdateFailed as failed:
        return UpdateResult(
            failed.rcode, reason=failed.reason, notable=failed.notable, granted=failed.granted
        )


def _carry_out(view: ZoneView, message: UpdateMessage, policy: UpdatePolicy, cuts: Cuts) -> UpdateResult:
    if not policy.grants:
        raise UpdateFailed(REFUSED, "the key may not update this zone", granted=False)
    draft = Draft(view)
    check_prerequisites(view, draft, message.prerequisites)
    _check_permissions(draft, message, policy, view.origin)
    update = _Update(draft, view.origin, policy)
    for rr in message.updates:
        update.carry_out(rr)
    update.remove_orphaned_ds()
    changes, owners_delta = draft.changes(policy)
    names = 0
    if changes:
        rtypes = {change.rtype for change in changes}
        if not _BESIDE_CNAME.isdisjoint(rtypes):
            _judge_cname(draft, changes, policy, view.origin)
        notes, names = judge_structure(view, draft, changes, policy, cuts)
        update.note(notes)
        update.note(note_names(view, draft, changes, cuts))
        if not SERVER_TYPES.isdisjoint(rtypes):
            judge_servers(view, changes, policy)
    content, soa = _without_soa(changes)
    if soa is not None:
        update.note(judge_soa(soa, view.rrset(APEX, t.SOA)))
    return UpdateResult(NOERROR, content, soa, owners_delta, ignored=tuple(update.ignored), names=names)


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
        if rtype in _SIGNERS and _is_signers_own(owner, rtype, rclass, policy):
            why = ' (csync = "auto")' if rtype == t.CSYNC else ""
            raise UpdateFailed(
                REFUSED,
                f"{key_to_text(owner, origin)} {t.type_text(rtype)} is made by the signer{why} and "
                f"cannot be updated",
            )
        if rclass == CLASS_IN and ttl > policy.ttl_max:
            raise UpdateFailed(REFUSED, f"TTL {ttl} is above {policy.ttl_max}")
        if owner != last:
            last, types = owner, policy.grants.types_at(owner)
        if ANY_TYPE in types:
            continue
        wanted = _deletable(draft, owner, policy) if rtype == TYPE_ANY else {rtype}
        if not types or not wanted <= types:
            missing = ", ".join(t.type_text(rtype) for rtype in sorted(wanted - types)) or "any"
            raise UpdateFailed(
                REFUSED, f"no grant for {key_to_text(owner, origin)}, type {missing}", granted=False
            )


def _is_signers_own(owner: bytes, rtype: int, rclass: int, policy: UpdatePolicy) -> bool:
    """Return whether no client may update these: made by the signer, or useless below the apex and refused."""
    if rtype in t.SIGNATURE_TYPES:
        return True
    if not owner or rtype == t.CSYNC:
        return not owner and rtype in policy.apex_refused
    return rclass == CLASS_IN and not (rtype in _BOOTSTRAP and _is_signalling_name(owner))


def _is_signalling_name(owner: bytes) -> bool:
    """Tell whether a name is ``_dsboot.CHILD._signal.SERVER`` (RFC 9615 §2)."""
    labels = key_labels(owner)
    return labels[-1] == b"_dsboot" and b"_signal" in labels


def _deletable(draft: Draft, owner: bytes, policy: UpdatePolicy) -> set[int]:
    """Return the types that "delete all RRsets from a name" removes."""
    types = set(draft.at(owner))
    return types if owner else types - _APEX_KEPT - policy.apex_refused


class _Update:
    """Carries out the RRs of an update section, in order, on a draft."""

    def __init__(self, draft: Draft, origin: bytes, policy: UpdatePolicy) -> None:
        self._draft = draft
        self._origin = origin
        self._policy = policy
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
        if rtype == t.SOA:
            rdata, objection = client_soa(rdata, self._draft.rdatas(owner, rtype)[0], self._policy)
            self.note([objection] if objection else [])
        self._draft.add(owner, rtype, ttl, rdata)

    def _objection(self, owner: bytes, rtype: int, rdata: bytes) -> str:
        """Return why a well-formed RR has no effect; empty when it has one."""
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
        later = is_after(soa_rdata_serial(rdata), soa_rdata_serial(held[0]))
        return "" if later else "its serial is not after the zone's"

    def _delete_rrsets(self, owner: bytes, rtype: int) -> None:
        if rtype == TYPE_ANY:
            for each in _deletable(self._draft, owner, self._policy):
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
        note(self.ignored, f"{key_to_text(owner, self._origin)} {t.type_text(rtype)} not added: {objection}")

    def note(self, texts: Iterable[str]) -> None:
        """Note further RRs that have no effect, or that no resolver will see."""
        for text in texts:
            note(self.ignored, text)

    def remove_orphaned_ds(self) -> None:
        """Remove DS RRsets that lost their delegation because of this message."""
        draft = self._draft
        for owner in draft.touched():
            now = draft.at(owner)
            if t.DS not in now or t.NS in now:
                continue
            added = draft.has_additions(owner, t.DS)
            if added or t.NS in draft.before(owner):
                draft.delete_rrset(owner, t.DS)
            if added:
                self._ignore(owner, t.DS, "no delegation is at the name")


def _judge_cname(draft: Draft, changes: list[Change], policy: UpdatePolicy, origin: bytes) -> None:
    """Refuse a KEY beside a CNAME: RFC 3007 §1.4 allows it, but Knot refuses the zone."""
    if not policy.knot_secondaries:
        return
    for change in changes:
        if change.rtype not in _BESIDE_CNAME or change.old is not None:
            continue
        if draft.at(change.owner).keys() >= _BESIDE_CNAME:
            text = f"{key_to_text(change.owner, origin)} would have a KEY beside a CNAME: Knot refuses such a zone"
            raise UpdateFailed(REFUSED, text, notable=True)
