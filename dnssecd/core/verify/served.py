"""Does what one server answers validate? A validator's first steps: DS, DNSKEY RRset, SOA (RFC 4035 §5)."""

from collections.abc import Sequence
from typing import NamedTuple

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import RRset, Rrsigs, pack_one, unpack
from dnssecd.core.verify.checker import inline_checker
from dnssecd.core.verify.keys import DS_DIGESTS, SUPPORTED, KeyRing, ZoneKey, ds_matches
from dnssecd.core.verify.signatures import SignatureJudge
from dnssecd.core.verify.violations import CODES, Rank, Report

#: A server that answers with more signatures over one RRset is not checked further: the work is bounded.
SIGNATURES_MAX = 16


class ServedApex(NamedTuple):
    """The answers of a server. None: the server has no such RRset, or no signatures over it."""

    dnskey: RRset | None
    dnskey_sigs: Rrsigs | None
    soa: RRset | None
    soa_sigs: Rrsigs | None


def judge_served(origin: bytes, ds: Sequence[bytes], served: ServedApex, now: int) -> str:
    """Return why a validator that has these DS (RDATA) does not trust the answers; "" if it does.

    Without a DS that can be used, the zone is insecure for validators, so that nothing is wrong.
    """
    usable = [one for one in ds if len(one) > 3 and one[3] in DS_DIGESTS and one[2] in SUPPORTED]
    if not usable:
        return ""
    if served.dnskey is None:
        return "there is no DNSKEY RRset, although the parent has a DS"
    ring = KeyRing(unpack(served.dnskey.rdata))
    signers, fault = _find_signers(origin, ring, served.dnskey, served.dnskey_sigs, now)
    if not signers:
        return f"the DNSKEY RRset does not validate: {fault}"
    if not any(ds_matches(one, origin, key.rdata) for one in usable for key in signers):
        return "no DS at the parent is of a key that signs the DNSKEY RRset"
    if served.soa is None:
        return "there is no SOA"
    signers, fault = _find_signers(origin, ring, served.soa, served.soa_sigs, now)
    return "" if signers else f"the SOA does not validate: {fault}"


def _find_signers(
    origin: bytes, ring: KeyRing, rrset: RRset, sigs: Rrsigs | None, now: int
) -> tuple[list[ZoneKey], str]:
    """Return the keys that made valid signatures over an RRset, and a fault of another one, without times."""
    if sigs is None:
        return [], "it is not signed"
    signers: list[ZoneKey] = []
    fault = ""
    for rdata in unpack(sigs.rdata)[:SIGNATURES_MAX]:
        report = Report(origin, SIGNATURES_MAX)
        judge = SignatureJudge(report, ring, frozenset(), now, 0, inline_checker)
        keys = judge.check(rrset, origin, Rrsigs(APEX, rrset.rtype, sigs.ttl, pack_one(rdata)))
        judge.finish()
        faults = [
            one for one in report.violations if one.rank is Rank.BOGUS and one.code != "algorithm-missing"
        ]
        signers += [] if faults else keys
        fault = CODES[faults[0].code] if faults else fault
    return signers, fault
