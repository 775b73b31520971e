"""Checks at the apex, and the apex data that all other checks need: SOA and serial, DNSKEY, NSEC3PARAM."""

from typing import NamedTuple

from dnssecd.core.dns import rrtypes, serial
from dnssecd.core.dns.names import APEX
from dnssecd.core.verify.chains import Chains, chains_of
from dnssecd.core.verify.expectation import Expectation
from dnssecd.core.verify.keys import KeyRing, ZoneKey
from dnssecd.core.verify.violations import Rank, Report
from dnssecd.core.verify.walk import rdatas_at
from dnssecd.core.verify.wire import Malformed, Soa, split
from dnssecd.core.zone.zoneview import ZoneView


class Apex(NamedTuple):
    """The apex data that other checks need; ``denial_ttl`` is None when the SOA is unusable."""

    ring: KeyRing
    algorithms: frozenset[int]
    chains: Chains
    denial_ttl: int | None
    serial: int | None


def read_apex(report: Report, view: ZoneView, expectation: Expectation) -> Apex:
    """Judge the apex RRsets (except their signatures) and return the data for the other checks."""
    denial_ttl, soa_serial = judge_soa(report, view, expectation)
    ring = KeyRing(_dnskey(report, view, expectation), expectation.unpublished_keys)
    for key in ring.published:
        if key.problem:
            report.add(key.problem_code, APEX, rrtypes.DNSKEY, f"{key.text}: {key.problem}")
    if expectation.checkable and ring.published and not any(_checks(key) for key in ring.published):
        detail = "no key of the zone has an algorithm that can be checked here"
        report.add("algorithm-unsupported", APEX, rrtypes.DNSKEY, detail, Rank.BOGUS)
    _collisions(report, ring, expectation.dnskeys is not None or ring.is_crowded)
    algorithms = ring.algorithms | (expectation.algorithms or frozenset())
    chains = chains_of(report, view, expectation.denial)
    return Apex(ring, algorithms, chains, denial_ttl, soa_serial)


def _checks(key: ZoneKey) -> bool:
    return key.verify is not None and key.is_zone_key and not key.is_revoked


def judge_soa(report: Report, view: ZoneView, expectation: Expectation) -> tuple[int | None, int | None]:
    """Judge SOA and serial; return the TTL that denial RRs must have (RFC 9077) and the serial."""
    rrset = view.rrset(APEX, rrtypes.SOA)
    if rrset is None:
        report.add("apex-missing", APEX, rrtypes.SOA, "no SOA at the apex")
        return None, None
    if view.rrset(APEX, rrtypes.NS) is None:
        report.add("apex-missing", APEX, rrtypes.NS, "no NS at the apex")
    try:
        soa = Soa(split(rrset.rdata)[0])
    except Malformed as error:
        report.add("soa-malformed", APEX, rrtypes.SOA, str(error))
        return None, None
    before = expectation.previous_serial
    if before is not None and not serial.is_after(soa.serial, before):
        detail = f"serial {soa.serial} is not after {before}"
        report.add("serial-not-forward", APEX, rrtypes.SOA, detail)
    if expectation.serial is not None and soa.serial != expectation.serial:
        detail = f"serial {soa.serial}, planned {expectation.serial}"
        report.add("serial-unexpected", APEX, rrtypes.SOA, detail)
    return min(soa.minimum, rrset.ttl), soa.serial


def _dnskey(report: Report, view: ZoneView, expectation: Expectation) -> list[bytes]:
    rdatas = rdatas_at(view, rrtypes.DNSKEY)
    if not rdatas:
        report.add("dnskey-missing", APEX, rrtypes.DNSKEY, "no usable DNSKEY RRset at the apex")
    if expectation.dnskeys:
        planned = set(split(expectation.dnskeys))
        for rdata in sorted(planned - set(rdatas)):
            report.add("dnskey-unexpected", APEX, rrtypes.DNSKEY, f"{ZoneKey(rdata).text} is missing")
        for rdata in sorted(set(rdatas) - planned):
            report.add("dnskey-unexpected", APEX, rrtypes.DNSKEY, f"{ZoneKey(rdata).text} is not planned")
    return rdatas


def _collisions(report: Report, ring: KeyRing, planned: bool) -> None:
    """Report keys that share algorithm and tag: allowed (RFC 4034 §5.3), but some validators have failed on them."""
    if planned and (shared := ring.shared_tags()):
        detail = ", ".join(f"tag {tag} (algorithm {algorithm})" for algorithm, tag in shared)
        report.add("key-tag-collision", APEX, rrtypes.DNSKEY, f"several keys share {detail}")
