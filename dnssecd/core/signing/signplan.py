"""Which RRsets of a new version need an RRSIG, and which RRSIGs are removed (RFC 4035 §2.2).

An RRset needs new signatures if it changed, has none, has signatures by keys not in use, or is due. Content
is judged region by region, like the denial chain; chain RRsets by their own changes.
"""

from collections.abc import Iterable, Iterator, Set
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from dnssecd.core.dns.rrset import RRset, Rrsigs, unpack
from dnssecd.core.dns.rrtypes import CDNSKEY, CDS, DNSKEY, KSK_SIGNED_TYPES, NSEC, NSEC3, SOA, ZONEMD
from dnssecd.core.keys.keyset import SigningKey, SigningView
from dnssecd.core.signing.regions import Regions
from dnssecd.core.zone.changeset import Change
from dnssecd.core.zone.zonecut import NameContents, signed_rrsets, standing_scan
from dnssecd.core.zone.zoneview import ZoneView

#: RRsets that every version changes.
_NEW_EACH_VERSION = (SOA, ZONEMD)
#: Types that at the apex may have other signers than zone data has.
_APEX_SIGNED = KSK_SIGNED_TYPES | {SOA, ZONEMD}
_DENIAL_TYPES = (NSEC, NSEC3)
Place = tuple[bytes, int]


class SignNeed(NamedTuple):
    """An RRset to sign and the RRSIGs it has now."""

    rrset: RRset
    old: Rrsigs | None


class Drop(NamedTuple):
    """RRSIGs over something that is gone or no longer authoritative."""

    old: Rrsigs


#: Stands for all types that are zone data.
ZONE_DATA = 0


def signed_as(owner: bytes, rtype: int) -> int:
    """Return the type that decides who signs an RRset: CDS and CDNSKEY below the apex are zone data (RFC 9615 §2)."""
    return ZONE_DATA if owner and rtype in _APEX_SIGNED else rtype


def signers(view: SigningView, rtype: int) -> tuple[SigningKey, ...]:
    """Return the keys that sign RRsets of a type at the apex (RFC 6781 §3.1, RFC 7344 §4.1), or ZONE_DATA."""
    if rtype == DNSKEY:
        return view.dnskey_keys
    if rtype in _NEW_EACH_VERSION and view.soa_keys:
        return view.soa_keys
    return view.cds_keys if rtype in (CDS, CDNSKEY) else view.zone_keys


def _marks(keys: Iterable[SigningKey]) -> frozenset[tuple[int, int]]:
    """Return the fields of an RRSIG that identify its key; tags are unique among a zone's keys."""
    return frozenset((key.algorithm, key.tag) for key in keys)


class SignatureJudge:
    """Tells whether the RRSIGs an RRset has are those it should have."""

    def __init__(self, view: SigningView) -> None:
        self._exact = {kind: _marks(signers(view, kind)) for kind in (*_APEX_SIGNED, ZONE_DATA)}
        self._retiring = _marks(view.retiring_keys) if not view.urgent else frozenset()

    def good(self, sigs: Rrsigs) -> bool:
        """Tell whether ``sigs`` are by every algorithm in use and by acceptable keys only."""
        made = {(rdata[2], rdata[16] << 8 | rdata[17]) for rdata in unpack(sigs.rdata)}
        covered = signed_as(sigs.owner, sigs.covered)
        wanted = self._exact.get(covered, self._exact[ZONE_DATA])
        if made == wanted:
            return True
        if covered in KSK_SIGNED_TYPES or not made <= wanted | self._retiring:
            return False
        return {algorithm for algorithm, _ in made} == {algorithm for algorithm, _ in wanted}


def plan_signatures(
    old: ZoneView,
    new: ZoneView,
    regions: Regions,
    changed: Set[Place],
    denial: Iterable[Change],
    due: Iterable[Place],
    judge: SignatureJudge,
) -> Iterator[SignNeed | Drop]:
    """Yield the RRsets to sign and the RRSIGs to drop, each RRset at most once.

    ``old`` gives the present RRSIGs, ``new`` the content and chain; ``changed`` are the places (owner, type)
    of content that differ, ``denial`` the chain's changes, ``due`` the places whose RRSIGs come due.
    """
    due_places = frozenset(due)
    first_signing = regions.whole and next(old.rrsig_scan(), None) is None
    seen: set[Place] = set()
    for step in _content_steps(old, new, regions, changed, due_places, judge):
        if due_places and isinstance(step, SignNeed):
            seen.add((step.rrset.owner, step.rrset.rtype))
        yield step
    for change in denial:
        if not first_signing:
            seen.add((change.owner, change.rtype))
        if change.old is None and change.new is not None:
            yield SignNeed(change.new, None)
        else:
            yield from _denial_steps(old, change)
    stale = _stale_denial(old, judge) if regions.whole and not first_signing else iter(())
    for owner, covered in (*due_places, *stale):
        if (owner, covered) not in seen:
            seen.add((owner, covered))
            yield from _due_step(old, new, owner, covered)


def _stale_denial(old: ZoneView, judge: SignatureJudge) -> Iterator[Place]:
    """Yield the chain RRsets whose RRSIGs are not by the keys in use."""
    for sigs in old.rrsig_scan():
        if sigs.covered in _DENIAL_TYPES and not judge.good(sigs):
            yield sigs.owner, sigs.covered


def _denial_steps(old: ZoneView, change: Change) -> Iterator[SignNeed | Drop]:
    sigs = old.rrsigs(change.owner, change.rtype) if change.old is not None else None
    if change.new is not None:
        yield SignNeed(change.new, sigs)
    elif sigs is not None:
        yield Drop(sigs)


def _due_step(old: ZoneView, new: ZoneView, owner: bytes, covered: int) -> Iterator[SignNeed]:
    rrset = new.denial(owner) if covered in _DENIAL_TYPES else new.rrset(owner, covered)
    sigs = old.rrsigs(owner, covered)
    if rrset is not None and sigs is not None and rrset.rtype == covered:
        yield SignNeed(rrset, sigs)


def _content_steps(
    old: ZoneView,
    new: ZoneView,
    regions: Regions,
    changed: Set[Place],
    due: Set[Place],
    judge: SignatureJudge,
) -> Iterator[SignNeed | Drop]:
    for start, stop in regions.spans:
        for wanted, sigs in _paired(old, new, start, stop):
            if sigs:
                yield from _name_steps(wanted, sigs, changed, due, judge)
            else:
                for rrset in wanted:
                    yield SignNeed(rrset, None)
    contents = NameContents(new)
    for name in regions.names:
        wanted = signed_rrsets(contents.at(name))
        yield from _name_steps(wanted, old.rrsigs_at(name), changed, due, judge)


def _paired(
    old: ZoneView, new: ZoneView, start: bytes, stop: bytes
) -> Iterator[tuple[list[RRset], list[Rrsigs]]]:
    """Yield (RRsets to be signed, present RRSIGs) for each name of the span that has either."""
    groups = groupby(old.rrsig_scan(start, stop), key=itemgetter(0))
    held = next(groups, None)
    for content in standing_scan(new, start, stop):
        owner = content[0]
        while held is not None and held[0] < owner:
            yield [], list(held[1])
            held = next(groups, None)
        sigs: list[Rrsigs] = []
        if held is not None and held[0] == owner:
            sigs = list(held[1])
            held = next(groups, None)
        yield signed_rrsets(content), sigs
    while held is not None:
        yield [], list(held[1])
        held = next(groups, None)


def _name_steps(
    wanted: list[RRset], sigs: list[Rrsigs], changed: Set[Place], due: Set[Place], judge: SignatureJudge
) -> Iterator[SignNeed | Drop]:
    present = {s.covered: s for s in sigs if s.covered not in _DENIAL_TYPES}
    for rrset in wanted:
        sig = present.pop(rrset.rtype, None)
        place = (rrset.owner, rrset.rtype)
        if sig is None or place in changed or place in due or not judge.good(sig):
            yield SignNeed(rrset, sig)
    for sig in present.values():
        yield Drop(sig)
