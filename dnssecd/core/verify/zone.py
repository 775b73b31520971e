"""Judging a whole zone in one ordered walk (plus a second over the NSEC3 chain); memory does not grow with RRs."""

from collections.abc import Iterable, Iterator

from dnssecd.core import rrtypes
from dnssecd.core.names import APEX, key_to_wire
from dnssecd.core.rrset import RRset
from dnssecd.core.verify.apex import Apex, judge_ksk_signers, judge_soa, read_apex
from dnssecd.core.verify.checker import SignatureChecker, inline_checker
from dnssecd.core.verify.expectation import Expectation
from dnssecd.core.verify.name import NameJudge
from dnssecd.core.verify.nsec import NsecChain
from dnssecd.core.verify.nsec3 import Nsec3Chain, name_hash
from dnssecd.core.verify.signatures import Known, SignatureJudge
from dnssecd.core.verify.unsigned import Comparison
from dnssecd.core.verify.violations import LimitReached, Report, Violation
from dnssecd.core.verify.walk import OCCLUDED, CutWalker, EmptyNonTerminals, NameGroup, Standing, groups
from dnssecd.core.verify.zonemd import judge_zonemd
from dnssecd.core.zoneview import ZoneView

DEFAULT_LIMIT = 1000


def verify_zone(
    view: ZoneView,
    expectation: Expectation,
    limit: int = DEFAULT_LIMIT,
    verify_signatures: SignatureChecker = inline_checker,
    *,
    known: Known | None = None,
    trusted_keys: frozenset[bytes] = frozenset(),
    content: Iterable[RRset] | None = None,
) -> list[Violation]:
    """Return every violation in the zone, at most ``limit``; an empty list means verified.

    content: the unsigned RRsets that the zone must have, and no others (see :mod:`.unsigned`); None: any.

    known: tells which sets need no cryptography, since the same octets were verified before with a key (DNSKEY
    RDATA) of ``trusted_keys``; all other checks are made on them too.
    """
    if view.origin != expectation.origin:
        raise ValueError(f"zone {view.origin!r} judged by what is expected of {expectation.origin!r}")
    report = Report(view.origin, limit)
    comparison = None if content is None else Comparison(report, content)
    try:
        if expectation.dnskeys == b"":
            _verify_unsigned(report, view, expectation)
        else:
            _ZoneWalk(report, view, expectation, verify_signatures, known, trusted_keys, comparison).run()
        if comparison is not None:
            comparison.run(view)
    except LimitReached:
        pass
    return report.violations


def _verify_unsigned(report: Report, view: ZoneView, expectation: Expectation) -> None:
    """Judge a zone that is to have no DNSSEC records at all."""
    read_apex_unsigned(report, view, expectation)
    for group in groups(view):
        for rrset in group.denial:
            report.add("unsigned-zone-signed", group.owner, rrset.rtype, "denial RR in an unsigned zone")
        for sigs in group.rrsigs:
            report.add("unsigned-zone-signed", group.owner, sigs.covered, "RRSIG in an unsigned zone")
    judge_zonemd(report, view, expectation)


def read_apex_unsigned(report: Report, view: ZoneView, expectation: Expectation) -> None:
    """Judge SOA and serial, and that no DNSSEC RRset is left at the apex."""
    judge_soa(report, view, expectation)
    for rtype in (rrtypes.DNSKEY, rrtypes.NSEC3PARAM):
        if view.rrset(APEX, rtype) is not None:
            report.add("unsigned-zone-signed", APEX, rtype, "in an unsigned zone")


class _ZoneWalk:
    def __init__(
        self,
        report: Report,
        view: ZoneView,
        expectation: Expectation,
        checker: SignatureChecker,
        known: Known | None,
        trusted_keys: frozenset[bytes],
        comparison: Comparison | None,
    ) -> None:
        self.comparison = comparison
        self.report, self.view, self.expectation = report, view, expectation
        self.checker, self.known, self.trusted_keys = checker, known, trusted_keys

    def run(self) -> None:
        apex = read_apex(self.report, self.view, self.expectation)
        judge_zonemd(self.report, self.view, self.expectation)
        if not apex.ring.published:
            return
        judge = make_judge(self.report, apex, self.expectation, self.checker)
        judge.signatures.known = self.known
        judge.signatures.trusted_keys = self.trusted_keys
        if apex.denial is None or apex.denial.kind == "nsec":
            self._walk_nsec(judge, apex)
        else:
            self._walk_nsec3(judge, apex)
        judge_ksk_signers(self.report, apex.ring, judge.ksk_signers, self.expectation)
        judge.signatures.finish()

    def _walk_nsec(self, judge: NameJudge, apex: Apex) -> None:
        chain = NsecChain(self.report) if apex.denial is not None else None
        judge.nsec3 = apex.denial is None
        for group, standing, types, wire in self._names(judge):
            if standing is OCCLUDED or chain is None:
                continue
            if not types:
                for rrset in group.denial:
                    if rrset.rtype == rrtypes.NSEC:
                        self.report.add("nsec-extra", group.owner, rrset.rtype, "no other data at the name")
                continue
            nsec = next((found for found in group.denial if found.rtype == rrtypes.NSEC), None)
            chain.visit(group.owner, wire, judge.need(types, standing).types, nsec)
        if chain is not None:
            chain.finish()

    def _walk_nsec3(self, judge: NameJudge, apex: Apex) -> None:
        assert apex.denial is not None
        chain = Nsec3Chain(self.report, apex.denial)
        judge.nsec3 = True
        origin = self.view.origin
        empty = EmptyNonTerminals(lambda key, secure: chain.visit(key_to_wire(key, origin), (), not secure))
        for group, standing, types, wire in self._names(judge):
            if types and standing is not OCCLUDED:
                need = judge.need(types, standing)
                empty.visit(group.owner, not need.optional)
                chain.visit(wire, need.types, need.optional)
        empty.finish()
        records = (rrset for rrset in self.view.denial_scan() if rrset.rtype == rrtypes.NSEC3)
        chain.finish(records, self.view.denial_last())
        if chain.missing:
            self._name_missing(chain.missing, apex)

    def _names(self, judge: NameJudge) -> Iterator[tuple[NameGroup, Standing, tuple[int, ...], bytes]]:
        """Judge all names in order; yield each with its standing, the types of its content and its wire form.

        The wire form is empty for names that nothing depends on: those occluded.
        """
        walker = CutWalker()
        origin = self.view.origin
        content = None if self.comparison is None else self.comparison.along(self.view.scan())
        for group in groups(self.view, contents=content):
            owner = group[0]
            types = tuple([rrset[1] for rrset in group[1]])
            if types:
                standing = walker.step(owner, types)
                judge.content_rules(owner, types, standing)
            else:
                standing = walker.peek(owner, group.denial)
            wire = key_to_wire(owner, origin) if standing is not OCCLUDED or group[2] else b""
            judge.judge(group, standing, wire)
            yield group, standing, types, wire

    def _name_missing(self, missing: dict[bytes, str], apex: Apex) -> None:
        """Walk once more to learn which names the hashes without NSEC3 RR belong to."""
        assert apex.denial is not None
        parameters, origin = apex.denial, self.view.origin

        def look(key: bytes, _secure: bool = True) -> None:
            digest = name_hash(key_to_wire(key, origin), parameters.iterations, parameters.salt)
            code = missing.get(digest)
            if code is not None:
                self.report.add(code, key, rrtypes.NSEC3, f"no NSEC3 RR for hash {digest.hex()}")

        walker = CutWalker()
        empty = EmptyNonTerminals(look)
        for group in groups(self.view):
            types = tuple([rrset[1] for rrset in group[1]])
            if types and walker.step(group.owner, types) is not OCCLUDED:
                empty.visit(group.owner, True)
                look(group.owner)
        empty.finish()


def make_judge(report: Report, apex: Apex, expectation: Expectation, checker: SignatureChecker) -> NameJudge:
    """Return the judge of names for a zone with this apex."""
    signatures = SignatureJudge(
        report, apex.ring, apex.algorithms, expectation.now, expectation.min_validity, checker
    )
    return NameJudge(report, signatures, apex.denial_ttl, expectation.max_ttl)
