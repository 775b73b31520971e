"""Judge one name of the zone: its RRsets, their signatures, and its denial records."""

from itertools import pairwise
from typing import NamedTuple

from dnssecd.core.dns import rrtypes
from dnssecd.core.dns.rrset import RRset, Rrsigs
from dnssecd.core.verify.keys import ZoneKey
from dnssecd.core.verify.signatures import SignatureJudge
from dnssecd.core.verify.violations import Report
from dnssecd.core.verify.walk import AUTHORITATIVE, DELEGATION, OCCLUDED, NameGroup, Standing
from dnssecd.core.verify.wire import CHECKED_TYPES, FIXED_SIZES, MINIMUM_SIZES, Malformed, check_form, split

_KSK_SIGNED = frozenset({rrtypes.DNSKEY, rrtypes.CDS, rrtypes.CDNSKEY})
#: RR types that may stand beside a CNAME: SIG, KEY, NXT and their successors (RFC 3007 §3.1.1, RFC 4034 §3 and §4).
_BESIDE_CNAME = frozenset({rrtypes.CNAME, 24, 25, 30, rrtypes.RRSIG, rrtypes.NSEC})
_SINGLETONS = frozenset({rrtypes.SOA, rrtypes.CNAME, rrtypes.DNAME})


#: Smallest and largest RDATA, in octets, of types for which only the size is checked.
_PLAIN_SIZES = {
    **{rtype: (size, size) for rtype, size in FIXED_SIZES.items()},
    **{rtype: (size, 65535) for rtype, size in MINIMUM_SIZES.items()},
    rrtypes.NSEC3: (1, 65535),  # its fields are judged with the chain
}
_NOT_PLAIN = (1, 0)


class DenialNeed(NamedTuple):
    """The types that denial must list for a name; ``optional``: opt-out may leave the name out."""

    types: tuple[int, ...]
    optional: bool


class NameJudge:
    """Judges names of one zone, each without its neighbours: chains are judged elsewhere."""

    def __init__(
        self, report: Report, signatures: SignatureJudge, denial_ttl: int | None, max_ttl: int | None
    ) -> None:
        self._report = report
        self.signatures = signatures
        self._denial_ttl = denial_ttl
        self._max_ttl = max_ttl if max_ttl is not None else 1 << 32
        #: Which of NSEC and NSEC3 the zone may have.
        self.denial_types: frozenset[int] = frozenset({rrtypes.NSEC})
        #: By type, the keys with an RRSIG right in every field over an apex RRset that KSKs sign.
        self.apex_signers: dict[int, list[ZoneKey]] = {}

    def judge(self, group: NameGroup, standing: Standing, owner_wire: bytes) -> None:
        """Judge content, denial RRs and signatures at one name."""
        owner, content, denial, rrsigs = group
        sigs = {found[1]: found for found in rrsigs} if rrsigs else {}
        for rrset in content:
            self._one(rrset, standing, owner_wire, sigs)
        if denial:
            self._denial_sets(denial, standing, owner_wire, sigs)
        for covered in sigs:
            self._leftover(owner, covered, standing)

    def _one(self, rrset: RRset, standing: Standing, wire: bytes, sigs: dict[int, Rrsigs]) -> None:
        owner, rtype, ttl, _ = rrset
        if ttl > self._max_ttl:
            self._report.add("ttl-too-large", owner, rtype, f"TTL {ttl}, at most {self._max_ttl} allowed")
        if not self._well_formed(rrset):
            sigs.pop(rtype, None)
            return
        if standing is AUTHORITATIVE or (standing is DELEGATION and rtype == rrtypes.DS):
            try:
                signers = self.signatures.check(rrset, wire, sigs.pop(rtype, None))
            except Malformed as error:
                self._report.add("rrsig-malformed", owner, rtype, str(error))
            else:
                if not owner and rtype in _KSK_SIGNED:
                    self.apex_signers[rtype] = signers

    def _well_formed(self, rrset: RRset) -> bool:
        """Report a set that does not decode, is out of order, or has too many RRs; False: no further checks."""
        owner, rtype, _, packed = rrset
        if len(packed) > 2 and len(packed) == 2 + (packed[0] << 8 | packed[1]):
            least, most = _PLAIN_SIZES.get(rtype, _NOT_PLAIN)
            if least <= len(packed) - 2 <= most:
                return True
        try:
            rdatas = split(packed)
            if rtype in CHECKED_TYPES:
                for rdata in rdatas:
                    check_form(rtype, rdata)
        except Malformed as error:
            code = "soa-malformed" if rtype == rrtypes.SOA and not owner else "rdata-malformed"
            self._report.add(code, owner, rtype, str(error))
            return False
        if len(rdatas) > 1:
            if any(a >= b for a, b in pairwise(rdatas)):
                self._report.add("rrset-order", owner, rtype, "RRs not in canonical order, or repeated")
            if rtype in _SINGLETONS:
                code = "rrset-multiple" if rtype == rrtypes.SOA else "cname-multiple"
                self._report.add(code, owner, rtype, "more than one RR")
        return True

    def _denial_sets(
        self, denial: list[RRset], standing: Standing, wire: bytes, sigs: dict[int, Rrsigs]
    ) -> None:
        for rrset in denial:
            owner, rtype, ttl, _ = rrset
            if rtype not in self.denial_types:
                kind = "NSEC3" if rtype == rrtypes.NSEC else "NSEC"
                self._report.add("denial-mixed", owner, rtype, f"the chain of the zone is {kind}")
            elif rtype == rrtypes.NSEC and standing is OCCLUDED:
                self._report.add("occluded-nsec", owner, rtype, "name is glue or occluded")
                sigs.pop(rtype, None)
                continue
            if ttl != self._denial_ttl and self._denial_ttl is not None:
                self._report.add("denial-ttl", owner, rtype, f"TTL {ttl}, not {self._denial_ttl}")
            found = sigs.pop(rtype, None)
            if not self._well_formed(rrset):
                continue
            try:
                self.signatures.check(rrset, wire, found)
            except Malformed as error:
                self._report.add("rrsig-malformed", owner, rtype, str(error))

    def _leftover(self, owner: bytes, covered: int, standing: Standing) -> None:
        """Report an RRSIG that should not be there."""
        report = self._report
        if covered == rrtypes.RRSIG:
            report.add("rrsig-over-rrsig", owner, covered, "RRSIGs are not signed")
        elif standing is OCCLUDED:
            report.add("occluded-signed", owner, covered, "RRSIG at a name that is glue or occluded")
        elif standing is DELEGATION and covered == rrtypes.NS:
            report.add("delegation-signed", owner, covered, "RRSIG over the NS RRset of a delegation")
        elif standing is DELEGATION and covered not in (rrtypes.DS, rrtypes.NSEC):
            report.add("occluded-signed", owner, covered, "RRSIG over glue at a delegation")
        else:
            report.add("rrsig-dangling", owner, covered, "covers an RRset that does not exist")

    def content_rules(self, owner: bytes, types: tuple[int, ...], standing: Standing) -> None:
        """Check which types may stand together at a name; at an occluded name only what loaders refuse."""
        if len(types) > 1 and rrtypes.CNAME in types and not _BESIDE_CNAME.issuperset(types):
            self._report.add("cname-and-other-data", owner, rrtypes.CNAME, "CNAME beside other types")
        if standing is OCCLUDED:
            return
        if rrtypes.DS in types and standing is not DELEGATION:
            self._report.add("ds-without-ns", owner, rrtypes.DS, "DS where there is no delegation")
        if owner and (rrtypes.SOA in types or (rrtypes.DNSKEY in types and standing is AUTHORITATIVE)):
            rtype = rrtypes.SOA if rrtypes.SOA in types else rrtypes.DNSKEY
            self._report.add("dnskey-not-apex", owner, rtype, "belongs to the apex only")


def nsec_types(types: tuple[int, ...], standing: Standing) -> tuple[int, ...]:
    """Return the types that NSEC must list for a name that is not occluded, sorted."""
    if standing is DELEGATION:
        return _SECURE_NSEC if rrtypes.DS in types else _INSECURE_NSEC
    return (*types, rrtypes.RRSIG, rrtypes.NSEC)


def nsec3_need(types: tuple[int, ...], standing: Standing) -> DenialNeed:
    """Return the types, sorted, that NSEC3 must list for a name that is not occluded."""
    if standing is DELEGATION:
        return _SECURE if rrtypes.DS in types else _INSECURE
    return DenialNeed((*types, rrtypes.RRSIG), False)


_SECURE = DenialNeed((rrtypes.NS, rrtypes.DS, rrtypes.RRSIG), False)
_INSECURE = DenialNeed((rrtypes.NS,), True)
_SECURE_NSEC = (rrtypes.NS, rrtypes.DS, rrtypes.RRSIG, rrtypes.NSEC)
_INSECURE_NSEC = (rrtypes.NS, rrtypes.RRSIG, rrtypes.NSEC)
