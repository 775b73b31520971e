"""Whether a zone's TTLs and SOA expire suit the times of its signatures."""

from dnssecd.core.dns.names import key_to_text
from dnssecd.core.dns.rrtypes import type_text
from dnssecd.core.signing.lifetimes import DAY_S, refresh_s
from dnssecd.core.utc import about
from dnssecd.pipeline.jobs.job import Report
from dnssecd.pipeline.jobs.outcome import Problem
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version.apex import soa_expire
from dnssecd.pipeline.version.draft import Input
from dnssecd.pipeline.version.rejected import Rejected

#: A refresh below this, and below SOA expire + largest TTL, causes an alert: a secondary that is cut off
#: before a long holiday would serve expired RRSIGs before an operator can act.
REFRESH_ALERT_S = 7 * DAY_S
#: A refresh that half of the validity limits is noted if it exceeds SOA expire + largest TTL by less than this. The
#: usual SOA expire of two weeks with the default validity leaves a day but for the TTL, which is worth no note.
RESERVE_S = DAY_S // 2


def check_timing(spec: ZoneSpec, given: Input, report: Report) -> None:
    """Raise Rejected if the largest TTL is not below the signature refresh; note a short refresh."""
    soa, largest_ttl = given.soa, max(given.largest_ttl, spec.dnskey_ttl)
    refresh, capped = refresh_s(spec.refresh_s, spec.validity_s, soa_expire(soa), largest_ttl)
    if refresh <= largest_ttl:
        raise Rejected(
            "ttl-rejected",
            f"the zone's largest TTL, {largest_ttl} s ({about(largest_ttl)}){_largest(spec, given)}, "
            f"is not below the signature refresh, "
            f"{refresh} s ({about(refresh)}): caches would keep RRsets longer than their RRSIGs are valid",
            "lower the TTL, or raise signature_validity or signature_refresh in the policy; the published "
            "version is still served and its signatures are renewed",
        )
    _note_refresh(refresh, soa_expire(soa), largest_ttl, report, capped=capped)


def _note_refresh(refresh: int, expire: int, largest_ttl: int, report: Report, *, capped: bool) -> None:
    """Note a refresh that does not cover SOA expire + largest TTL; raise an alert if it leaves no time to act.

    The SOA expire of 1000 h that RIPE-203 recommends exceeds half of the default validity: two weeks remain
    to repair a secondary.
    """
    needed = expire + largest_ttl
    times = f"SOA expire ({about(expire)}) plus the largest TTL ({about(largest_ttl)})"
    remedy = "lower the SOA's expire or raise signature_validity"
    if refresh < needed:
        event = "refresh-capped" if refresh < REFRESH_ALERT_S else "refresh-short"
        cause = (
            f"signatures are renewed {about(refresh)} before they expire, which is shorter than {times}: a secondary "
            f"that gets no new version for {about(refresh)} can serve expired RRSIGs"
        )
        report.warnings.append(Problem(event, cause, remedy))
    elif capped and refresh - needed < RESERVE_S:
        cause = (
            f"signatures are renewed {about(refresh)} before they expire, half of signature_validity: that is "
            f"{about(needed + DAY_S - refresh)} short of {times} plus a day"
        )
        report.warnings.append(Problem("refresh-halved", cause, remedy))


def _largest(spec: ZoneSpec, given: Input) -> str:
    """Return which RRset has the largest TTL, if the content is known."""
    if spec.dnskey_ttl >= given.largest_ttl:
        return " of dnskey_ttl in the policy"
    for owner, rtype, ttl, _ in given.rrsets or ():
        if ttl == given.largest_ttl:
            return f" of {key_to_text(owner, spec.origin)} {type_text(rtype)}"
    return ""
