"""The denial chains that the apex declares: NSEC, NSEC3 with its parameters, or several during a change."""

from typing import NamedTuple

from dnssecd.core.dns import rrtypes
from dnssecd.core.dns.names import APEX
from dnssecd.core.verify.expectation import DenialExpectation
from dnssecd.core.verify.violations import Report
from dnssecd.core.verify.walk import rdatas_at
from dnssecd.core.zone.zoneview import ZoneView

#: RFC 5155 §10.3 allows no more for any key size; RFC 9276 asks for 0. More would take too long to hash.
ITERATIONS_MAX = 2500
#: A change of salt or iterations needs two NSEC3 chains (RFC 5155 §10.4); checking more is useless work.
NSEC3_CHAINS_MAX = 4

NSEC = DenialExpectation("nsec")


class Chains(NamedTuple):
    """The chains to judge; if there are none, that has been reported.

    ``foreign``: the zone may have chains side by side, and NSEC3 RRs that no server uses. ``mixed``: it has NSEC
    and NSEC3 RRs.
    """

    judged: tuple[DenialExpectation, ...]
    foreign: bool = False
    mixed: bool = False


def chains_of(report: Report, view: ZoneView, expected: DenialExpectation | None) -> Chains:
    """Return the chains of the zone: the one expected, or those that it declares."""
    published = _nsec3params(report, view)
    chains = (
        _published_chains(report, view, published)
        if expected is None
        else _planned(report, published, expected)
    )
    return chains._replace(judged=tuple(chain for chain in chains.judged if _is_bounded(report, chain)))


def declared(view: ZoneView) -> DenialExpectation | None:
    """Return the one chain that a version signed by dnssecd declares; None when that is not clear."""
    published = _nsec3params(Report(view.origin, 1 << 30), view)
    first = view.denial_from(b"")
    if first is None or first.rtype == rrtypes.NSEC:
        return NSEC
    found = published[0] if published else None
    return None if found is None or found.iterations > ITERATIONS_MAX else found


def _is_bounded(report: Report, chain: DenialExpectation) -> bool:
    if chain.iterations <= ITERATIONS_MAX:
        return True
    detail = f"{chain.iterations} iterations: more than {ITERATIONS_MAX} (RFC 5155 §10.3), chain not checked"
    report.add("nsec3-parameters", APEX, rrtypes.NSEC3PARAM, detail)
    return False


def _planned(report: Report, published: list[DenialExpectation], expected: DenialExpectation) -> Chains:
    if expected.kind == "nsec":
        if published:
            report.add("nsec3param-extra", APEX, rrtypes.NSEC3PARAM, "the zone is expected to have NSEC")
        return Chains((expected,))
    wanted = (expected.iterations, expected.salt)
    if not any((found.iterations, found.salt) == wanted for found in published):
        detail = f"none with {parameters_text(expected)}"
        report.add("nsec3param-missing", APEX, rrtypes.NSEC3PARAM, detail)
    if any((found.iterations, found.salt) != wanted for found in published):
        report.add("nsec3param-extra", APEX, rrtypes.NSEC3PARAM, "parameters of no chain in the zone")
    return Chains((expected,))


def _published_chains(report: Report, view: ZoneView, published: list[DenialExpectation]) -> Chains:
    """Return the chains that servers may use: NSEC if the apex has it, and NSEC3 by each NSEC3PARAM RR."""
    apex_nsec = view.denial(APEX) is not None
    has_nsec3 = any(rrset.rtype == rrtypes.NSEC3 for rrset in view.denial_scan())
    if not has_nsec3:
        if published:
            report.add("nsec3param-extra", APEX, rrtypes.NSEC3PARAM, "the zone has no NSEC3 RR")
        return Chains((NSEC,), foreign=True)
    has_nsec = apex_nsec or any(rrset.rtype == rrtypes.NSEC for rrset in view.denial_scan())
    if has_nsec:
        detail = "NSEC and NSEC3 RRs side by side" + ("" if apex_nsec else ", no NSEC RR at the apex")
        report.add("denial-mixed", APEX, rrtypes.NSEC, detail)
    if not published and not apex_nsec:
        report.add("nsec3param-missing", APEX, rrtypes.NSEC3PARAM, "NSEC3 RRs without NSEC3PARAM")
        return Chains((), foreign=True, mixed=has_nsec)
    if len(published) > NSEC3_CHAINS_MAX:
        detail = (
            f"{len(published)} NSEC3PARAM RRs: chains beyond the first {NSEC3_CHAINS_MAX} are not checked"
        )
        report.add("nsec3-parameters", APEX, rrtypes.NSEC3PARAM, detail)
    nsec3 = published[:NSEC3_CHAINS_MAX]
    return Chains((*([NSEC] if apex_nsec else []), *nsec3), foreign=True, mixed=has_nsec)


def _nsec3params(report: Report, view: ZoneView) -> list[DenialExpectation]:
    """Return the usable NSEC3PARAM RRs: known algorithm and no flags (RFC 5155 §4.1.2)."""
    out = []
    for rdata in rdatas_at(view, rrtypes.NSEC3PARAM):
        if len(rdata) < 5 or len(rdata) != 5 + rdata[4]:
            report.add("rdata-malformed", APEX, rrtypes.NSEC3PARAM, "wrong length")
        elif rdata[0] != 1:
            detail = f"hash algorithm {rdata[0]} is not known"
            report.add("nsec3param-ignored", APEX, rrtypes.NSEC3PARAM, detail)
        elif rdata[1] != 0:
            report.add("nsec3param-ignored", APEX, rrtypes.NSEC3PARAM, f"flags are {rdata[1]}, not 0")
        else:
            out.append(DenialExpectation("nsec3", rdata[2] << 8 | rdata[3], rdata[5:]))
    return out


def parameters_text(chain: DenialExpectation) -> str:
    """Return the parameters of an NSEC3 chain for a message."""
    return f"{chain.iterations} iterations and salt {chain.salt.hex() or '-'}"
