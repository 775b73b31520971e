"""What a zone's own times make of the policy's: rejected, warned of as an alert, or noted in `status`."""

from __future__ import annotations

import dns.rdata
import dns.rdataclass
import dns.rdatatype
import pytest

from dnssecd.core.dns.names import APEX, text_to_wire
from dnssecd.core.dns.rrset import RRset, pack
from dnssecd.core.dns.rrtypes import SOA
from dnssecd.pipeline.jobs.load import Report, check_timing
from dnssecd.pipeline.jobs.spec import ZoneSpec
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
        (14 * DAY, "refresh-halved", "renewed 15d before they expire"),
        (28 * DAY, "refresh-capped", "shorter than SOA expire (28d) plus the largest TTL (1h)"),
    ],
)
def test_an_automatic_refresh_that_is_capped_is_told_as_it_is(expire: int, event: str, says: str) -> None:
    """14 days of SOA expire are usual and covered: no alert; only what leaves secondaries uncovered is one."""
    report = Report()
    check_timing(SPEC, given(expire, 3600), report)
    assert [warning.event for warning in report.warnings] == ([event] if event else [])
    assert says in "".join(warning.cause for warning in report.warnings)


def test_a_ttl_as_long_as_the_refresh_rejects_the_input() -> None:
    with pytest.raises(Rejected, match=r"largest TTL, 1296000 s \(15d\)"):
        check_timing(SPEC, given(14 * DAY, 15 * DAY), Report())
