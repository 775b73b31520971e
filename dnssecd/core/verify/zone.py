"""Verify a whole zone in one ordered walk (plus one over the NSEC3 chain), in memory that does not grow with RRs."""

from collections.abc import Iterable, Iterator

from dnssecd.core.dns import rrtypes
from dnssecd.core.dns.names import APEX, key_to_wire
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.verify.apex import Apex, judge_soa, read_apex
from dnssecd.core.verify.chains import Chains
from dnssecd.core.verify.checker import SignatureChecker, inline_checker
from dnssecd.core.verify.delegation import judge_delegation
from dnssecd.core.verify.expectation import Expectation
from dnssecd.core.verify.name import NameJudge, nsec3_need, nsec_types
from dnssecd.core.verify.nsec import NsecChain
from dnssecd.core.verify.nsec3 import Nsec3Chain, judge_unused, name_hash, owner_of_hash
from dnssecd.core.verify.signatures import Known, SignatureJudge
from dnssecd.core.verify.unsigned import Comparison
from dnssecd.core.verify.violations import LimitReached, Report, Violation
from dnssecd.core.verify.walk import OCCLUDED, CutWalker, EmptyNonTerminals, NameGroup, Standing, groups
from dnssecd.core.verify.zonemd import judge_zonemd
from dnssecd.core.zone.zoneview import ZoneView

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

    known: tells which sets need no cryptography, because the same octets were verified before with a key
    (DNSKEY RDATA) of ``trusted_keys``; all other checks apply to them too.
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
    """Judge a zone that must have no DNSSEC records."""
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
        self._walk(judge, apex.chains)
        judge_delegation(self.report, self.view, apex.ring, judge.apex_signers, self.expectation)
        judge.signatures.finish()

    def _walk(self, judge: NameJudge, chains: Chains) -> None:
        report, origin = self.report, self.view.origin
        nsec = NsecChain(report) if any(chain.kind == "nsec" for chain in chains.judged) else None
        nsec3 = [Nsec3Chain(report, chain, chains) for chain in chains.judged if chain.kind == "nsec3"]
        judge.denial_types = _denial_types(nsec is not None, chains)

        def take_empty(key: bytes, secure: bool) -> None:
            wire = key_to_wire(key, origin)
            for chain in nsec3:
                chain.visit_empty(wire, not secure)

        empty = EmptyNonTerminals(take_empty)
        for group, standing, types, wire in self._names(judge):
            if standing is OCCLUDED:
                continue
            if not types:
                if nsec is not None:
                    self._without_content(group)
                continue
            if nsec is not None:
                own = next((found for found in group.denial if found.rtype == rrtypes.NSEC), None)
                nsec.visit(group.owner, wire, nsec_types(types, standing), own)
            if nsec3:
                need = nsec3_need(types, standing)
                empty.visit(group.owner, not need.optional)
                for chain in nsec3:
                    chain.visit(wire, need.types, need.optional)
        if nsec is not None:
            nsec.finish()
        empty.finish()
        self._finish_nsec3(nsec3, chains)

    def _without_content(self, group: NameGroup) -> None:
        for rrset in group.denial:
            if rrset.rtype == rrtypes.NSEC:
                self.report.add("nsec-extra", group.owner, rrset.rtype, "no other data at the name")

    def _finish_nsec3(self, nsec3: list[Nsec3Chain], chains: Chains) -> None:
        for chain in nsec3:
            chain.finish(self.view)
            if chain.missing or chain.may_lack_empty:
                self._name_missing(chain)
        if chains.foreign and (any(chain.has_others for chain in nsec3) if nsec3 else chains.mixed):
            judge_unused(self.report, self.view, chains.judged)

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

    def _name_missing(self, chain: Nsec3Chain) -> None:
        """Walk once more to find which names lack NSEC3 RRs, and which empty non-terminals must have one.

        An empty non-terminal may lack it only if all names below are insecure delegations that lack theirs
        (RFC 5155 §7.1).
        """
        origin, parameters = self.view.origin, chain.parameters

        def digest_of(key: bytes) -> bytes:
            return name_hash(key_to_wire(key, origin), parameters.iterations, parameters.salt)

        def has_nsec3(key: bytes) -> bool:
            return self.view.denial(owner_of_hash(digest_of(key))) is not None

        def look(key: bytes, shown: bool) -> None:
            digest = digest_of(key)
            code = chain.missing.get(digest)
            if code is not None:
                self.report.add(code, key, rrtypes.NSEC3, f"no NSEC3 RR for hash {digest.hex()}")
            elif shown and self.view.denial(owner_of_hash(digest)) is None:
                detail = "an empty non-terminal above a delegation that has an NSEC3 RR has none"
                self.report.add("nsec3-ent-missing", key, rrtypes.NSEC3, detail)

        walker = CutWalker()
        empty = EmptyNonTerminals(look)
        for group in groups(self.view):
            types = tuple([rrset[1] for rrset in group[1]])
            if not types or (standing := walker.step(group.owner, types)) is OCCLUDED:
                continue
            optional = nsec3_need(types, standing).optional
            empty.visit(group.owner, optional and chain.may_lack_empty and has_nsec3(group.owner))
            look(group.owner, False)
        empty.finish()


def _denial_types(has_nsec: bool, chains: Chains) -> frozenset[int]:
    """Return which denial RRs the zone may have."""
    if chains.mixed:
        return frozenset({rrtypes.NSEC, rrtypes.NSEC3})
    return frozenset({rrtypes.NSEC if has_nsec else rrtypes.NSEC3})


def make_judge(report: Report, apex: Apex, expectation: Expectation, checker: SignatureChecker) -> NameJudge:
    """Return the judge of names for a zone with this apex."""
    signatures = SignatureJudge(
        report, apex.ring, apex.algorithms, expectation.now, expectation.min_validity, checker
    )
    return NameJudge(report, signatures, apex.denial_ttl, expectation.max_ttl)
