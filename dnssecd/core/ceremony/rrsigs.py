"""Every RRSIG of a response judged by the verifier, which shares no code with what signs."""

from collections.abc import Iterable

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import RRset, Rrsigs, pack
from dnssecd.core.dns.rrtypes import DNSKEY, RRSIG
from dnssecd.core.keys.signed_ahead import AheadSet, expiration, inception, signer_mark
from dnssecd.core.verify.checker import inline_checker
from dnssecd.core.verify.keys import SEP, KeyRing
from dnssecd.core.verify.signatures import SignatureJudge
from dnssecd.core.verify.violations import LimitReached, Report

FAULTS_MAX = 50


def rrsig_faults(zone: bytes, sets: Iterable[AheadSet], keys: Iterable[bytes], now: int) -> list[str]:
    """Return what is wrong with the RRSIGs of ``sets``, at most FAULTS_MAX lines; none: all are valid.

    ``keys`` (DNSKEY RDATA) may sign CDS and CDNSKEY; a DNSKEY RRset is signed by keys in it. Each RRSIG is judged at
    its own inception: whether it is of use now is another question. Only keys with the SEP flag count.
    """
    report = Report(zone, FAULTS_MAX)
    ksks = tuple(rdata for rdata in keys if rdata[1] & SEP)
    try:
        for each in sets:
            _judge(report, zone, each, each.rdatas if each.rtype == DNSKEY else ksks, now)
    except LimitReached:
        pass
    return [f"{fault.type}: {fault.detail} ({fault.code})" for fault in report.violations]


def _judge(report: Report, zone: bytes, each: AheadSet, keys: tuple[bytes, ...], now: int) -> None:
    ring = KeyRing(keys)
    for key in ring.published:
        if key.problem:
            report.add(key.problem_code, APEX, each.rtype, f"{key.text}: {key.problem}")
    rrset = RRset(APEX, each.rtype, each.ttl, pack(each.rdatas))
    if not each.rrsigs:
        report.add("rrset-unsigned", APEX, each.rtype, "an RRset without RRSIG")
    for times, rrsigs in _by_times(each, now).items():
        _only_ksks(report, each, rrsigs, ring)
        judge = SignatureJudge(report, ring, frozenset(), times[0], 0, inline_checker)
        judge.check(rrset, zone, Rrsigs(APEX, each.rtype, each.ttl, pack(rrsigs)))
        judge.finish()


def _by_times(each: AheadSet, now: int) -> dict[tuple[int, int], list[bytes]]:
    """Return the RRSIGs that were made together: those with the same inception and expiration."""
    found: dict[tuple[int, int], list[bytes]] = {}
    for rrsig in each.rrsigs:
        if len(rrsig) > 18:
            found.setdefault((inception(rrsig, now), expiration(rrsig, now)), []).append(rrsig)
    return found


def _only_ksks(report: Report, each: AheadSet, rrsigs: list[bytes], ring: KeyRing) -> None:
    for rrsig in rrsigs:
        if int.from_bytes(rrsig[:2]) in (0, RRSIG):
            continue
        if not any(key.is_sep for key in ring.find(*signer_mark(rrsig))):
            algorithm, tag = signer_mark(rrsig)
            detail = f"an RRSIG by key {tag} (algorithm {algorithm}), which is no KSK of the response"
            report.add("rrsig-unknown-key", APEX, each.rtype, detail)
