"""The effect of a zone's grants on its content: which RRsets the file owns, and which the updates own."""

import dns.rdatatype

from dnssecd.core.dns.names import key_to_text
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.dns.rrtypes import APEX_DERIVED_TYPES, SOA
from dnssecd.core.zone.grants import Grants, compile_grants, owned_by_updates
from dnssecd.core.zone.zoneview import ZoneView
from dnssecd.ingest.words import type_text
from dnssecd.pipeline.jobs.spec import GrantSpec, ZoneSpec

SHOWN_MAX = 5


def compiled(grants: tuple[GrantSpec, ...], origin: bytes) -> Grants:
    """Return grants in compiled form; raise BadName if one names something outside the zone."""
    return compile_grants(grants, origin, lambda text: int(dns.rdatatype.from_text(text)))


def with_updates(rrsets: list[RRset], published: ZoneView, spec: ZoneSpec) -> tuple[list[RRset], str]:
    """Return a file's content, but RRsets owned by updates are taken from the published version.

    The text lists RRsets of the file that were ignored; it is empty for none.
    """
    if not spec.grants or spec.dynamic:
        return rrsets, ""
    grants = compiled(spec.grants, spec.origin)
    kept: list[RRset] = []
    ignored: list[RRset] = []
    for rrset in rrsets:
        owned = owned_by_updates(grants, rrset.owner, rrset.rtype) and (rrset.owner or rrset.rtype != SOA)
        (ignored if owned else kept).append(rrset)
    kept += [r for r in published.scan() if owned_by_updates(grants, r.owner, r.rtype) and not _derived(r)]
    kept.sort(key=lambda rrset: rrset[:2])
    return kept, _text(ignored, spec)


def names_of_input(published: ZoneView, spec: ZoneSpec) -> int | None:
    """Return how many owner names have data that the file owns; None: all names of the zone.

    The share of the delta guard is computed from these names only; otherwise clients could weaken the guard
    by adding names.
    """
    if not spec.grants or spec.dynamic:
        return None
    grants = compiled(spec.grants, spec.origin)
    return len({r.owner for r in published.scan() if not owned_by_updates(grants, r.owner, r.rtype)})


def _derived(rrset: RRset) -> bool:
    return not rrset.owner and (rrset.rtype == SOA or rrset.rtype in APEX_DERIVED_TYPES)


def _text(ignored: list[RRset], spec: ZoneSpec) -> str:
    if not ignored:
        return ""
    shown = [f"{key_to_text(r.owner, spec.origin)} {type_text(r.rtype)}" for r in ignored[:SHOWN_MAX]]
    return (
        f"{len(ignored)} RRset(s) of the file belong to dynamic updates and are ignored: {', '.join(shown)}"
    )
