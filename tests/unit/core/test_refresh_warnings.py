"""What a zone's own times make of the policy's: rejected, an alert, or a note in `status`."""

from __future__ import annotations

import dns.rdata
import dns.rdataclass
import dns.rdatatype
import msgspec
import pytest

from dnssecd.core.dns.names import APEX, text_to_wire
from dnssecd.core.dns.rrset import RRset, pack
from dnssecd.core.dns.rrtypes import SOA
from dnssecd.daemon.zones.outcome_events import WARNING_EVENTS
from dnssecd.pipeline.jobs.job import Report
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.jobs.timing import check_timing
from dnssecd.pipeline.version.draft import Input
from dnssecd.pipeline.version.rejected import Rejected

DAY = 86_400
SPEC = ZoneSpec(
    name="z.", origin=text_to_wire("z."), database="", signer_socket="", keystore="local", keys=()
)


def given(expire: int, largest_ttl: int) -> Input:
    text = f"ns.z. host.z. 1 3600 900 {expire} 300"
    rdata = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.SOA, text).to_wire()
    assert rdata is not None
    return Input([], RRset(APEX, SOA, 3600, pack([rdata])), largest_ttl, 1)


@pytest.mark.parametrize(
    ("expire", "event", "says"),
    [
        (7 * DAY, "", ""),
        (14 * DAY, "", ""),
        (14 * DAY + DAY // 2, "refresh-halved", "renewed 15d before they expire"),
        (28 * DAY, "refresh-short", "shorter than SOA expire (28d) plus the largest TTL (1h)"),
        (3_600_000, "refresh-short", "that gets no new version for 15d can serve expired RRSIGs"),
    ],
)
def test_a_capped_refresh_of_the_default_policy_is_a_note(expire: int, event: str, says: str) -> None:
    """14 days of SOA expire are covered; RIPE-203's 1000 h are not, but leave 15 days to act: no alert for either."""
    report = Report()
    check_timing(SPEC, given(expire, 3600), report)
    assert [warning.event for warning in report.warnings] == ([event] if event else [])
    assert says in "".join(warning.cause for warning in report.warnings)
    assert event not in WARNING_EVENTS


@pytest.mark.parametrize(
    ("validity", "configured", "expire", "event"),
    [
        (14 * DAY - 1, None, 14 * DAY, "refresh-capped"),
        (14 * DAY, None, 14 * DAY, "refresh-short"),
        (14 * DAY - 1, None, 6 * DAY, ""),
        (14 * DAY - 1, None, 6 * DAY + DAY // 2, "refresh-halved"),
        (30 * DAY, 7 * DAY - 1, 7 * DAY, "refresh-capped"),
        (30 * DAY, 7 * DAY, 7 * DAY, "refresh-short"),
        (30 * DAY, 3 * DAY, 2 * DAY, ""),
    ],
)
def test_less_than_a_week_that_is_not_covered_is_an_alert(
    validity: int, configured: int | None, expire: int, event: str
) -> None:
    report = Report()
    spec = msgspec.structs.replace(SPEC, validity_s=validity, refresh_s=configured)
    check_timing(spec, given(expire, 3600), report)
    assert [warning.event for warning in report.warnings] == ([event] if event else [])
    assert (event in WARNING_EVENTS) == (event == "refresh-capped")


def test_a_ttl_as_long_as_the_refresh_rejects_the_input() -> None:
    with pytest.raises(Rejected, match=r"largest TTL, 1296000 s \(15d\)"):
        check_timing(SPEC, given(14 * DAY, 15 * DAY), Report())
