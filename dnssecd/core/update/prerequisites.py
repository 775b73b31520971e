"""The prerequisite section of an update (RFC 2136 §2.4 and §3.2)."""

from collections.abc import Iterable

from dnssecd.core.dns.names import key_to_text
from dnssecd.core.dns.rrset import RRset, unpack
from dnssecd.core.dns.rrtypes import NSEC, NSEC3, RRSIG
from dnssecd.core.update.draft import Draft
from dnssecd.core.update.types import (
    CLASS_ANY,
    CLASS_IN,
    NOTZONE,
    NXDOMAIN,
    NXRRSET,
    TYPE_ANY,
    YXDOMAIN,
    YXRRSET,
    UpdateFailed,
    UpdateRR,
)
from dnssecd.core.zone.zoneview import ZoneView


def check_prerequisites(view: ZoneView, draft: Draft, prerequisites: Iterable[UpdateRR]) -> None:
    """Raise UpdateFailed unless every prerequisite holds in ``view``; ``draft`` must not have changes yet.

    Prerequisites are checked against the published zone, with its DNSKEY, CDS, NSEC and RRSIG RRsets. Names
    are literal: no wildcard is expanded and no alias is followed.
    """
    wanted: dict[tuple[bytes, int], set[bytes]] = {}
    for owner, rtype, rclass, _, rdata in prerequisites:
        if owner is None:
            raise UpdateFailed(NOTZONE, "a prerequisite's name is not in the zone")
        if rclass == CLASS_IN:
            wanted.setdefault((owner, rtype), set()).add(rdata)
            continue
        wants = rclass == CLASS_ANY
        if rtype == TYPE_ANY:
            if bool(draft.at(owner)) != wants:
                raise _unmet(view, owner, rtype, NXDOMAIN if wants else YXDOMAIN)
        elif (_packed(view, draft, owner, rtype) is not None) != wants:
            raise _unmet(view, owner, rtype, NXRRSET if wants else YXRRSET)
    for (owner, rtype), rdatas in wanted.items():
        packed = _packed(view, draft, owner, rtype)
        if packed is None or set(unpack(packed)) != rdatas:
            raise _unmet(view, owner, rtype, NXRRSET)


def _packed(view: ZoneView, draft: Draft, owner: bytes, rtype: int) -> bytes | None:
    """Return the RDATA of a published RRset, derived ones included; None when there is none."""
    if rtype in (NSEC, NSEC3):
        denial = view.denial(owner)
        return denial.rdata if denial is not None and denial.rtype == rtype else None
    if rtype == RRSIG:
        return b"".join([sigs.rdata for sigs in view.rrsigs_at(owner)]) or None
    rrset = draft.at(owner).get(rtype)
    return rrset.rdata if isinstance(rrset, RRset) else None


def _unmet(view: ZoneView, owner: bytes, rtype: int, rcode: int) -> UpdateFailed:
    what = {
        NXDOMAIN: "the name is not in use",
        YXDOMAIN: "the name is in use",
        NXRRSET: f"no such RRset of type {rtype}",
        YXRRSET: f"there is an RRset of type {rtype}",
    }
    return UpdateFailed(rcode, f"prerequisite not met: {key_to_text(owner, view.origin)}: {what[rcode]}")
