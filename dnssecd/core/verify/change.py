"""Verify a change: the names that the unsigned difference affects, and all changed derived RRs.

The rest of the zone is correct by induction: it was verified before and did not change. The region is not
taken from the plan of the signing side, because a repair missing there would then be missed here too. The
cost grows with the change, not with the zone (except with ZONEMD, whose digest covers the whole zone).
"""

from collections.abc import Iterable
from contextlib import suppress

from dnssecd.core.dns import rrtypes
from dnssecd.core.dns.names import key_to_wire
from dnssecd.core.dns.rrset import RRset, Rrsigs
from dnssecd.core.verify.apex import judge_soa, read_apex
from dnssecd.core.verify.chains import declared
from dnssecd.core.verify.checker import SignatureChecker, inline_checker
from dnssecd.core.verify.delegation import judge_delegation
from dnssecd.core.verify.expectation import Expectation
from dnssecd.core.verify.links import ChainLinks, Nsec3Links, NsecLinks
from dnssecd.core.verify.name import DenialNeed, NameJudge, nsec3_need, nsec_types
from dnssecd.core.verify.region import affected_names
from dnssecd.core.verify.remember import remembered
from dnssecd.core.verify.signatures import Known
from dnssecd.core.verify.violations import LimitReached, Report, Violation
from dnssecd.core.verify.walk import NameGroup, Standing, Standings, rdatas_at
from dnssecd.core.verify.wire import Malformed, Nsec3, split
from dnssecd.core.verify.zone import DEFAULT_LIMIT, make_judge, verify_zone
from dnssecd.core.verify.zonemd import judge_zonemd
from dnssecd.core.zone.zoneview import ZoneView

#: From this many affected names on, a walk over the whole zone is cheaper than single look-ups.
REGION_MAX = 50_000


def verify_change(
    old: ZoneView,
    new: ZoneView,
    changed: Iterable[tuple[bytes, int]],
    expectation: Expectation,
    touched: Iterable[tuple[bytes, int]] = (),
    *,
    limit: int = DEFAULT_LIMIT,
    verify_signatures: SignatureChecker = inline_checker,
) -> list[Violation]:
    """Return every violation the change from ``old`` (verified before) to ``new`` may have made.

    changed: (owner, type) of each RRset of the unsigned difference. touched: (owner, type) of each denial RRset and
    (owner, type covered) of each RRSIG set written or deleted. Cryptography is done on what differs between the
    versions. When keys, denial parameters or the TTL of denial change, the whole zone is judged, as it is when more
    than REGION_MAX names are affected.
    """
    report = Report(new.origin, limit)
    old, new = remembered(old), remembered(new)
    known = _known(old, new)
    if expectation.dnskeys != b"" and not _same_frame(old, new, expectation):
        return verify_zone(
            new, expectation, limit, verify_signatures, known=known, trusted_keys=_trusted(old, new)
        )
    touched_names = {owner for owner, _ in touched}
    names = affected_names(old, new, changed, REGION_MAX)
    if names is None or expectation.dnskeys == b"" or len(touched_names) > REGION_MAX:
        return verify_zone(
            new, expectation, limit, verify_signatures, known=known, trusted_keys=_trusted(old, new)
        )
    with suppress(LimitReached):
        _ChangeJudge(report, old, new, expectation, verify_signatures, known).run(names, touched_names)
    return report.violations


def _known(old: ZoneView, new: ZoneView) -> Known:
    """Return a function that tells whether a set and its RRSIGs are the same octets in ``old``."""

    def known(rrset: RRset, sigs: Rrsigs) -> bool:
        if rrset.rtype in (rrtypes.NSEC, rrtypes.NSEC3):
            before = old.denial(rrset.owner)
        else:
            before = old.rrset(rrset.owner, rrset.rtype)
        return before == rrset and old.rrsigs(rrset.owner, rrset.rtype) == sigs

    return known


def _denial_ttl(view: ZoneView) -> int | None:
    """Return the TTL that denial RRs have, even if the SOA has faults."""
    return judge_soa(Report(view.origin, 1 << 30), view, Expectation(view.origin, 0))[0]


def _trusted(old: ZoneView, new: ZoneView) -> frozenset[bytes]:
    """Return the DNSKEY RDATAs published in both versions."""
    before, after = old.rrset(b"", rrtypes.DNSKEY), new.rrset(b"", rrtypes.DNSKEY)
    if before is None or after is None:
        return frozenset()
    try:
        return frozenset(split(before.rdata)) & frozenset(split(after.rdata))
    except Malformed:
        return frozenset()


def _same_frame(old: ZoneView, new: ZoneView, expectation: Expectation) -> bool:
    """Tell whether keys and denial parameters, on which every name depends, are unchanged."""
    if rdatas_at(old, rrtypes.DNSKEY) != rdatas_at(new, rrtypes.DNSKEY):
        return False
    before, after = declared(old), declared(new)
    if before is None or before != after or _denial_ttl(old) != _denial_ttl(new):
        return False
    planned = expectation.denial
    if planned is None:
        return True
    if (planned.kind, planned.iterations, planned.salt) != (before.kind, before.iterations, before.salt):
        return False
    return planned.opt_out is None or planned.kind == "nsec" or _opt_out(old) == planned.opt_out


def _opt_out(view: ZoneView) -> bool | None:
    """Return the opt-out flag of the first NSEC3 RR; a chain that was verified has the same on all."""
    first = view.denial_from(b"")
    try:
        return None if first is None else bool(Nsec3(split(first.rdata)[0]).flags & 1)
    except Malformed:
        return None


class _ChangeJudge:
    def __init__(
        self,
        report: Report,
        old: ZoneView,
        new: ZoneView,
        expectation: Expectation,
        checker: SignatureChecker,
        known: Known,
    ) -> None:
        self.report, self.old, self.new, self.expectation = report, old, new, expectation
        self.checker, self.known = checker, known
        self.standings = Standings(new)

    def run(self, names: set[bytes], touched: set[bytes]) -> None:
        """Judge the affected names and the touched derived RRs."""
        apex = read_apex(self.report, self.new, self.expectation)
        judge_zonemd(self.report, self.new, self.expectation)
        if len(apex.chains.judged) != 1:
            return
        (denial,) = apex.chains.judged
        judge = make_judge(self.report, apex, self.expectation, self.checker)
        judge.signatures.known = self.known
        judge.signatures.trusted_keys = frozenset(key.rdata for key in apex.ring.published)
        judge.denial_types = frozenset({rrtypes.NSEC3 if denial.kind == "nsec3" else rrtypes.NSEC})
        links: ChainLinks
        if denial.kind == "nsec3":
            links = Nsec3Links(self.report, self.old, self.new, denial)
        else:
            links = NsecLinks(self.report, self.old, self.new)
        for owner in sorted(names):
            self._name(judge, links, owner, True)
        pending = touched | links.neighbours
        seen = set(names)
        while pending := pending - seen:
            for owner in sorted(pending):
                self._name(judge, links, owner, False)
            seen |= pending
            pending = links.neighbours
        links.finish()
        judge_delegation(self.report, self.new, apex.ring, judge.apex_signers, self.expectation)
        judge.signatures.finish()

    def _name(self, judge: NameJudge, links: ChainLinks, owner: bytes, explained: bool) -> None:
        content = self.new.rrsets_at(owner)
        denial = self.new.denial(owner)
        group = NameGroup(owner, content, [] if denial is None else [denial], self.new.rrsigs_at(owner))
        types = tuple([rrset.rtype for rrset in content])
        standing = self.standings.of(owner, types)
        if (
            standing is Standing.OCCLUDED
            and not types
            and denial is not None
            and links.rtype == rrtypes.NSEC3
        ):
            standing = Standing.AUTHORITATIVE
        if types:
            judge.content_rules(owner, types, standing)
        wire = key_to_wire(owner, self.new.origin)
        judge.judge(group, standing, wire)
        need = _need(links.rtype, types, standing) if types and standing is not Standing.OCCLUDED else None
        links.visit(owner, wire, standing, need, explained)


def _need(chain: int, types: tuple[int, ...], standing: Standing) -> DenialNeed:
    if chain == rrtypes.NSEC3:
        return nsec3_need(types, standing)
    return DenialNeed(nsec_types(types, standing), False)
