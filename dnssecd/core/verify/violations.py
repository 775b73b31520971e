"""The verifier's findings: stable codes, their meaning and rank, and the report that collects findings.

Codes are part of the interface (command output, events, tests): a code is never renamed or given a new meaning.
"""

from enum import StrEnum
from typing import NamedTuple

from dnssecd.core.dns import names
from dnssecd.core.dns.rrtypes import type_text

CODES: dict[str, str] = {
    "apex-missing": "the zone has no SOA or no NS RRset at its apex",
    "algorithm-missing": "an RRset lacks an RRSIG by an algorithm of the DNSKEY RRset (RFC 4035 §2.2, RFC 6840 §5.11)",
    "algorithm-unsupported": "a DNSKEY or RRSIG uses an algorithm that cannot be checked here",
    "bitmap-wrong": "the type bit maps of an NSEC or NSEC3 RR do not list exactly the types at the name",
    "cdnskey-mismatch": "a CDNSKEY RR equals no DNSKEY RR and is not the delete form (RFC 7344 §4.1, RFC 8078 §4)",
    "cds-alone": "of CDS and CDNSKEY the zone has one only: a parent may look for the other (RFC 7344 §4)",
    "cds-cdnskey-differ": "CDS and CDNSKEY do not stand for the same keys (RFC 7344 §4)",
    "cds-continuity": "a DS RRset made of CDS or CDNSKEY would lead to no key that signs (RFC 7344 §4.1)",
    "cds-delete-form": "a CDS or CDNSKEY RR has algorithm 0 but is not exactly the delete form (RFC 8078 §4)",
    "cds-delete-mixed": "a CDS or CDNSKEY delete form stands beside other RRs (RFC 8078 §4)",
    "cds-mismatch": "a CDS RR matches no DNSKEY RR and is not the delete form (RFC 7344 §4.1, RFC 8078 §4)",
    "cds-signer": "CDS or CDNSKEY is signed by no key that the DS RRset stands for (RFC 7344 §4.1)",
    "class-wrong": "a record is not of class IN",
    "cname-and-other-data": "a CNAME RRset stands beside other data (RFC 2181 §10.1)",
    "cname-multiple": "a name has more than one CNAME or DNAME RR (RFC 2181 §10.1, RFC 6672 §2.4)",
    "content-differs": "unsigned content differs from the input",
    "denial-mixed": "NSEC and NSEC3 RRs stand in one zone, as they may while denial changes (RFC 5155 §10.4)",
    "denial-ttl": "the TTL of an NSEC or NSEC3 RR is not min(SOA minimum, SOA TTL) (RFC 9077)",
    "dnskey-malformed": "a DNSKEY RR or the public key in it cannot be decoded",
    "dnskey-missing": "the zone has no DNSKEY RRset",
    "dnskey-not-apex": "DNSKEY, CDS, CDNSKEY, NSEC3PARAM or SOA stands below the apex",
    "dnskey-unexpected": "the DNSKEY RRset is not the one planned",
    "ds-insecure": "no DS given has an algorithm and a digest type known here: the zone is insecure (RFC 4035 §5.2)",
    "ds-mismatch": "no DS given matches a DNSKEY that signs the DNSKEY RRset (RFC 4035 §5.2)",
    "ds-without-ns": "a DS RRset stands where there is no delegation (RFC 4035 §2.4)",
    "duplicate-rr": "an RR is given more than once (RFC 2181 §5)",
    "key-tag-collision": "keys of one algorithm share a key tag, more of them than planned or than can be "
    "checked",
    "ksk-missing": "the DNSKEY RRset is not signed by any of its SEP keys (RFC 6781 §3.1)",
    "limit-reached": "there are more violations than are listed",
    "nsec-extra": "an NSEC RR stands at a name that has no authoritative data (RFC 4035 §2.3)",
    "nsec-missing": "a name with authoritative data or a delegation has no NSEC RR (RFC 4035 §2.3)",
    "nsec-next": "an NSEC RR does not point to the next name of the chain (RFC 4034 §4.1.1)",
    "nsec3-chain-unused": "NSEC3 RRs have parameters of no NSEC3PARAM RR: no server uses them (RFC 5155 §7.3)",
    "nsec3-ent-missing": "an empty non-terminal lacks its NSEC3 RR though a delegation below has one (RFC 5155 §7.1)",
    "nsec3-extra": "an NSEC3 RR belongs to no name of the zone (RFC 5155 §7.1)",
    "nsec3-flags": "an NSEC3 RR has an unknown flag, or its opt-out flag is not as planned (RFC 5155 §3.1.2)",
    "nsec3-missing": "a name has no NSEC3 RR, and no opt-out span may cover it (RFC 5155 §7.1)",
    "nsec3-next": "an NSEC3 RR does not hold the next hashed owner name (RFC 5155 §3.1.7)",
    "nsec3-opt-out": "a name without NSEC3 RR lies in a span without the opt-out flag (RFC 5155 §6)",
    "nsec3-owner": "the owner of an NSEC3 RR is not a hash directly below the apex (RFC 5155 §3)",
    "nsec3-parameters": "hash algorithm, iterations or salt of an NSEC3 or NSEC3PARAM RR are not the zone's",
    "nsec3param-ignored": "an NSEC3PARAM RR has an unknown hash algorithm or flags: no server uses it (RFC 5155 §4.1)",
    "nsec3param-missing": "a zone with NSEC3 RRs has no usable NSEC3PARAM RR (RFC 5155 §4)",
    "nsec3param-extra": "NSEC3PARAM stands in a zone without that NSEC3 chain (RFC 5155 §4)",
    "occluded-nsec": "an NSEC RR stands below a zone cut or DNAME (RFC 4035 §2.3)",
    "occluded-signed": "glue or other occluded data is signed (RFC 4035 §2.2)",
    "out-of-zone": "a record does not belong to the zone",
    "rdata-malformed": "RDATA cannot be decoded",
    "rrset-multiple": "an RRset that must be a single RR has several",
    "rrset-order": "an RRset is not in canonical order without duplicates (RFC 4034 §6.3)",
    "rrset-too-large": "the signed form of an RRset exceeds 65,535 octets, which validators refuse (RFC 4034 §3.1.8.1)",
    "rrset-ttl-unequal": "the RRs of a set have different TTLs (RFC 2181 §5.2)",
    "rrset-unsigned": "an authoritative RRset has no RRSIG (RFC 4035 §2.2)",
    "rrsig-bad": "a signature does not verify with the published DNSKEY (RFC 4035 §5.3.3)",
    "rrsig-dangling": "an RRSIG covers an RRset that does not exist",
    "rrsig-expired": "an RRSIG has expired (RFC 4035 §5.3.1)",
    "rrsig-key-unusable": "an RRSIG is by a key that may not sign it: not a zone key, or revoked (RFC 4034 §2.1.1)",
    "rrsig-labels": "the labels field of an RRSIG is wrong (RFC 4034 §3.1.3)",
    "rrsig-malformed": "the RDATA of an RRSIG cannot be decoded",
    "rrsig-not-yet-valid": "an RRSIG is not valid yet (RFC 4035 §5.3.1)",
    "rrsig-original-ttl": "the original TTL field of an RRSIG is not the TTL of the set (RFC 4034 §3.1.4)",
    "rrsig-over-rrsig": "an RRSIG covers RRSIGs (RFC 4035 §2.2)",
    "rrsig-period": "an RRSIG expires before its inception",
    "rrsig-signer": "the signer name of an RRSIG is not the zone (RFC 4035 §5.3.1)",
    "rrsig-ttl": "the TTL of an RRSIG is not that of the set it covers (RFC 4035 §2.2)",
    "rrsig-unknown-key": "an RRSIG names a key that is not in the DNSKEY RRset",
    "rrsig-validity-short": "an RRSIG stays valid for less time than demanded",
    "serial-not-forward": "the SOA serial is not after the previous one (RFC 1982)",
    "serial-unexpected": "the SOA serial is not the one planned",
    "soa-malformed": "the SOA RDATA cannot be decoded",
    "ttl-too-large": "a TTL is larger than allowed",
    "unsigned-zone-signed": "a zone that must be unsigned has DNSSEC records",
    "delegation-signed": "the NS RRset of a delegation is signed (RFC 4035 §2.2)",
    "zone-file": "the zone file cannot be read",
    "zonemd-mismatch": "a ZONEMD digest does not match the zone (RFC 8976 §4)",
    "zonemd-missing": "the zone has no ZONEMD RRset that can be checked (RFC 8976 §4)",
    "zonemd-repeated": "two ZONEMD RRs have the same scheme and hash algorithm (RFC 8976 §2)",
    "zonemd-serial": "the serial of a ZONEMD RR is not that of the SOA (RFC 8976 §4)",
}


class Rank(StrEnum):
    """How much a finding harms.

    BOGUS: some validator fails, a server refuses the zone, or one of them does once the parent follows the zone's CDS.
    VIOLATION: an RFC says MUST, but names resolve and validate. ADVICE: the zone is sound.
    """

    BOGUS = "bogus"
    VIOLATION = "violation"
    ADVICE = "advice"


_VIOLATIONS = frozenset({
    "algorithm-unsupported", "cds-signer", "class-wrong", "delegation-signed", "dnskey-not-apex", "ds-without-ns",
    "nsec3-ent-missing", "nsec3-extra", "nsec3-owner", "nsec3param-ignored", "occluded-signed", "rrset-ttl-unequal",
    "rrsig-dangling", "rrsig-over-rrsig", "rrsig-ttl", "ttl-too-large", "zonemd-repeated",
})  # fmt: skip
_ADVICE = frozenset({
    "cds-alone", "denial-mixed", "denial-ttl", "ds-insecure", "duplicate-rr", "nsec3-chain-unused", "out-of-zone",
})  # fmt: skip

#: The rank of each code. A finding may have a lower one if other records compensate for the fault, and a higher one in
#: a zone that must be secure here (Expectation.checkable).
RANKS: dict[str, Rank] = {
    code: Rank.VIOLATION if code in _VIOLATIONS else Rank.ADVICE if code in _ADVICE else Rank.BOGUS
    for code in CODES
}


class Violation(NamedTuple):
    """One finding. ``owner`` and ``type`` are presentation text; the type is that of the RRset (or covered)."""

    code: str
    owner: str
    type: str
    detail: str
    rank: Rank

    def __str__(self) -> str:
        return f"{self.owner} {self.type}: {self.code}: {self.detail}"


def violation(code: str, owner: str, rtype: str, detail: str, rank: Rank | None = None) -> Violation:
    """Return a finding; ``rank`` None: that of its code. Raises KeyError for a code that is not registered."""
    return Violation(code, owner, rtype, detail, rank or RANKS[code])


class LimitReached(Exception):
    """More violations were found than asked for; the list is closed."""


class Report:
    """Gathers violations of one zone; raises LimitReached past ``limit``."""

    def __init__(self, origin: bytes, limit: int) -> None:
        self.origin = origin
        self.limit = limit
        self.violations: list[Violation] = []
        self._seen: set[Violation] = set()

    def add(self, code: str, owner: bytes, rtype: int, detail: str, rank: Rank | None = None) -> None:
        """Record a finding at owner key ``owner``; the same finding is listed once. ``rank`` None: that of its code."""
        found = violation(code, owner_text(owner, self.origin), type_text(rtype), detail, rank)
        if found in self._seen:
            return
        if len(self.violations) >= self.limit:
            limit = violation("limit-reached", owner_text(b"", self.origin), "-", CODES["limit-reached"])
            if limit not in self._seen:
                self._seen.add(limit)
                self.violations.append(limit)
            raise LimitReached
        self._seen.add(found)
        self.violations.append(found)


def owner_text(owner: bytes, origin: bytes) -> str:
    """Return an owner key as absolute text, even one that is no proper key."""
    try:
        return names.key_to_text(owner, origin)
    except (ValueError, IndexError):
        return f"(bad owner key {owner.hex()})"
