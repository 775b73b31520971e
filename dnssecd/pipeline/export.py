"""A zone as master file text, in pieces: what ``zone export`` gives."""

from collections.abc import Iterator

from dnssecd.core.names import key_to_text
from dnssecd.core.rrset import RRset, Rrsigs, count
from dnssecd.core.rrtypes import APEX_DERIVED_TYPES, RRSIG, SOA
from dnssecd.core.zoneview import ZoneView
from dnssecd.ingest.export import rrset_lines

PIECE_RRSETS = 500


def export_text(view: ZoneView, *, unsigned: bool) -> Iterator[tuple[str, int]]:
    """Yield (text, records) pieces: SOA first, then the zone by owner; without DNSSEC records if ``unsigned``."""
    soa = view.rrset(b"", SOA)
    if soa is not None:
        yield _lines(view, [soa]), 1
    if unsigned:
        content = (r for r in view.scan() if r.owner or r.rtype not in (SOA, *APEX_DERIVED_TYPES))
        yield from _pieces(view, content)
        return
    yield from _pieces(view, (r for r in view.scan() if r.owner or r.rtype != SOA))
    yield from _pieces(view, view.denial_scan())
    yield from _pieces(view, (_as_rrset(sigs) for sigs in view.rrsig_scan()))


def _as_rrset(sigs: Rrsigs) -> RRset:
    return RRset(sigs.owner, RRSIG, sigs.ttl, sigs.rdata)


def _pieces(view: ZoneView, rrsets: Iterator[RRset]) -> Iterator[tuple[str, int]]:
    held: list[RRset] = []
    for rrset in rrsets:
        held.append(rrset)
        if len(held) >= PIECE_RRSETS:
            yield _lines(view, held), sum(count(r.rdata) for r in held)
            held = []
    if held:
        yield _lines(view, held), sum(count(r.rdata) for r in held)


def _lines(view: ZoneView, rrsets: list[RRset]) -> str:
    origin = view.origin
    return "".join([rrset_lines(key_to_text(r.owner, origin), r.rtype, r.ttl, r.rdata) for r in rrsets])
