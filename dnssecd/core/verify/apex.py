"""What is judged at the apex: SOA and serial, DNSKEY with DS, CDS and CDNSKEY, NSEC3PARAM."""

from typing import NamedTuple

from dnssecd.core import rrtypes, serial
from dnssecd.core.names import APEX
from dnssecd.core.verify.expectation import DenialExpectation, Expectation
from dnssecd.core.verify.keys import KeyRing, ZoneKey, ds_matches
from dnssecd.core.verify.violations import Report
from dnssecd.core.verify.wire import Malformed, Soa, split
from dnssecd.core.zoneview import ZoneView


class Apex(NamedTuple):
    """What the apex says about the zone; ``denial_ttl`` None when the SOA is unusable."""

    ring: KeyRing
    algorithms: frozenset[int]
    denial: DenialExpectation | None
    denial_ttl: int | None
    serial: int | None


def rdatas_at(view: ZoneView, rtype: int) -> list[bytes]:
    """Return the RDATAs of an apex RRset, none if it is absent or does not decode."""
    rrset = view.rrset(APEX, rtype)
    if rrset is None:
        return []
    try:
        return split(rrset.rdata)
    except Malformed:
        return []


def read_apex(report: Report, view: ZoneView, expectation: Expectation) -> Apex:
    """Judge the apex RRsets (but for their signatures) and return what the rest is judged by."""
    denial_ttl, soa_serial = judge_soa(report, view, expectation)
    ring = KeyRing(_dnskey(report, view, expectation), expectation.unpublished_keys)
    for key in ring.published:
        if key.problem:
            report.add(key.problem_code, APEX, rrtypes.DNSKEY, f"{key.text}: {key.problem}")
    _collisions(report, ring, expectation.dnskeys is not None or ring.is_crowded)
    algorithms = ring.algorithms | (expectation.algorithms or frozenset())
    known = [*(key.rdata for key in ring.published), *expectation.standby_keys]
    _cds(report, view, known)
    _cdnskey(report, view, known)
    denial = _denial(report, view, expectation.denial)
    return Apex(ring, algorithms, denial, denial_ttl, soa_serial)


def judge_soa(report: Report, view: ZoneView, expectation: Expectation) -> tuple[int | None, int | None]:
    """Judge SOA and serial; returns the TTL denial RRs must have (RFC 9077) and the serial."""
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
    """Report keys that share algorithm and tag: lawful (RFC 4034 §5.3), but validators have failed on them."""
    if planned and (shared := ring.shared_tags()):
        detail = ", ".join(f"tag {tag} (algorithm {algorithm})" for algorithm, tag in shared)
        report.add("key-tag-collision", APEX, rrtypes.DNSKEY, f"several keys share {detail}")


def judge_ksk_signers(
    report: Report, ring: KeyRing, signers: dict[int, list[ZoneKey]], expectation: Expectation
) -> None:
    """Check who signs DNSKEY, CDS and CDNSKEY: a SEP key if there is any, and a key that some DS given is of.

    For CDS and CDNSKEY see RFC 7344 §4.1. ``signers``: the keys with an RRSIG right in every field, by type.
    """
    seps = {key.rdata: key for key in ring.published if key.is_sep and key.is_zone_key and not key.is_revoked}
    for rtype, keys in signers.items():
        if seps and not any(key.rdata in seps for key in keys):
            detail = "no RRSIG by any of " + ", ".join(key.text for key in seps.values())
            report.add("ksk-missing", APEX, rtype, detail)
    _ds(report, [key.rdata for key in signers.get(rrtypes.DNSKEY, ())], expectation.ds)


def _ds(report: Report, signing: list[bytes], given: tuple[bytes, ...]) -> None:
    """Check that each algorithm among the DS leads to a key that signs the DNSKEY RRset (RFC 4035 §2.2)."""
    wanted = {ds[2] for ds in given if len(ds) > 4}
    led = {ds[2] for ds in given if any(ds_matches(ds, report.origin, rdata) for rdata in signing)}
    if given and not led:
        report.add("ds-mismatch", APEX, rrtypes.DS, "no DS given is of a key that signs the DNSKEY RRset")
        return
    for algorithm in sorted(wanted - led):
        detail = f"no DS given of algorithm {algorithm} is of a key that signs the DNSKEY RRset"
        report.add("ds-mismatch", APEX, rrtypes.DS, detail)


def _cds(report: Report, view: ZoneView, known: list[bytes]) -> None:
    rdatas = rdatas_at(view, rrtypes.CDS)
    for rdata in rdatas:
        if rdata[:4] == b"\0\0\0\0":
            if len(rdatas) > 1:
                report.add("cds-delete-mixed", APEX, rrtypes.CDS, "the delete form must stand alone")
        elif all(ds_matches(rdata, report.origin, key) is False for key in known):
            tag = int.from_bytes(rdata[:2], "big")
            report.add("cds-mismatch", APEX, rrtypes.CDS, f"CDS with tag {tag} is of no DNSKEY of the zone")


def _cdnskey(report: Report, view: ZoneView, known: list[bytes]) -> None:
    rdatas = rdatas_at(view, rrtypes.CDNSKEY)
    for rdata in rdatas:
        if rdata[:4] == b"\0\0\3\0":
            if len(rdatas) > 1:
                report.add("cds-delete-mixed", APEX, rrtypes.CDNSKEY, "the delete form must stand alone")
        elif rdata not in known:
            detail = f"{ZoneKey(rdata).text} is no DNSKEY of the zone"
            report.add("cdnskey-mismatch", APEX, rrtypes.CDNSKEY, detail)


#: RFC 5155 §10.3 allows no more for any key size; RFC 9276 asks for 0. Hashing more would take for ever.
ITERATIONS_MAX = 2500


def _denial(report: Report, view: ZoneView, expected: DenialExpectation | None) -> DenialExpectation | None:
    """Return the denial parameters; None when the chain cannot be judged, which is then reported."""
    found = _denial_of(report, view, expected)
    if found is not None and found.iterations > ITERATIONS_MAX:
        detail = (
            f"{found.iterations} iterations: more than {ITERATIONS_MAX} (RFC 5155 §10.3), chain not checked"
        )
        report.add("nsec3-parameters", APEX, rrtypes.NSEC3PARAM, detail)
        return None
    return found


def _denial_of(
    report: Report, view: ZoneView, expected: DenialExpectation | None
) -> DenialExpectation | None:
    published = _nsec3params(report, view)
    first = view.denial_from(b"")
    has_nsec3 = first is not None and (first.rtype == rrtypes.NSEC3 or view.denial(APEX) is None)
    if expected is None:
        if published and has_nsec3:
            return published[0]
        if has_nsec3:
            report.add("nsec3param-missing", APEX, rrtypes.NSEC3PARAM, "NSEC3 RRs without NSEC3PARAM")
            return None
        expected = DenialExpectation("nsec")
    if expected.kind == "nsec":
        if published:
            report.add("nsec3param-extra", APEX, rrtypes.NSEC3PARAM, "the zone is to have NSEC")
        return expected
    wanted = (expected.iterations, expected.salt)
    if not any((found.iterations, found.salt) == wanted for found in published):
        detail = f"none with {expected.iterations} iterations and salt {expected.salt.hex() or '-'}"
        report.add("nsec3param-missing", APEX, rrtypes.NSEC3PARAM, detail)
    if any((found.iterations, found.salt) != wanted for found in published):
        report.add("nsec3param-extra", APEX, rrtypes.NSEC3PARAM, "parameters of no chain in the zone")
    return expected


def _nsec3params(report: Report, view: ZoneView) -> list[DenialExpectation]:
    """Return the usable NSEC3PARAM RRs: known algorithm and no flags (RFC 5155 §4.1.2)."""
    out = []
    for rdata in rdatas_at(view, rrtypes.NSEC3PARAM):
        if len(rdata) < 5 or len(rdata) != 5 + rdata[4]:
            report.add("rdata-malformed", APEX, rrtypes.NSEC3PARAM, "wrong length")
        elif rdata[0] != 1:
            detail = f"hash algorithm {rdata[0]} is not known"
            report.add("nsec3-parameters", APEX, rrtypes.NSEC3PARAM, detail)
        elif rdata[1] != 0:
            detail = f"flags are {rdata[1]}, so the RR is to be ignored"
            report.add("nsec3-parameters", APEX, rrtypes.NSEC3PARAM, detail)
        else:
            out.append(DenialExpectation("nsec3", rdata[2] << 8 | rdata[3], rdata[5:]))
    return out
