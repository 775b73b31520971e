"""Content that comes by transfer: what is refused, what is overlooked, and that IXFR is judged as AXFR is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cases.upstreams import input_serial, reload, upstreams, wait_events
from tests.peers.process import Servers
from tests.peers.tsig import TsigKey
from tests.unit.xfrin import streams as s

pytestmark = pytest.mark.integration

NS = [s.NS_RR, s.a("ns", 1)]
CUT = s.RR(s.name("sub"), s.NS, s.name("ns.sub"))
BELOW = [CUT, s.a("ns.sub", 9)]
HIDDEN = s.RR(s.name("k.sub"), s.DS, b"\x30\x39\x0d\x02" + bytes(32))


def test_differences_are_judged_with_the_cuts_above(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    """A DS RRset below a zone cut is a warning, by AXFR and IXFR. Without the cut it is the input's fault."""
    with upstreams(servers, peer_dir, tsig_key, [*NS, *BELOW]) as (upstream, [primary]):
        primary.offer(8, [*NS, *BELOW, HIDDEN])
        primary.offer_difference(7, [], [HIDDEN])
        reload(upstream)
        assert input_serial(upstream) == 8
        assert "axfr" not in primary.asked
        warnings = upstream.daemon.zone_status(s.ZONE)["warnings"]
        assert any("hidden by the delegation" in warning for warning in warnings), warnings
        primary.offer(9, [*NS, s.a("ns.sub", 9), HIDDEN])
        primary.offer_difference(8, [CUT], [])
        reload(upstream)
        assert input_serial(upstream) == 8
        assert "not delegated" in wait_events(upstream, {"input-error"})["input-error"]


def test_an_rrset_that_no_validator_takes_is_refused(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    owner = ".".join(["x" * 60] * 3 + ["y" * 40])
    many = [s.RR(s.name(owner), s.A, bytes((10, 0, n // 250, n % 250))) for n in range(300)]
    with upstreams(servers, peer_dir, tsig_key, NS) as (upstream, [primary]):
        primary.offer(8, [*NS, *many])
        primary.offer_difference(7, [], many)
        reload(upstream)
        assert input_serial(upstream) == 7
        assert "signed form" in wait_events(upstream, {"input-error"})["input-error"]


def test_what_all_servers_overlook_is_overlooked(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    outside = s.RR(b"\x03www\x05other\x00", s.A, bytes(4))
    odd = s.RR(s.name("h"), 65, bytes.fromhex("000003666f6f0000010003026832"))
    with upstreams(servers, peer_dir, tsig_key, NS) as (upstream, [primary]):
        added = [outside, s.a("t", 1, 2**31 + 5), odd]
        primary.offer(8, [*NS, *added])
        primary.offer_difference(7, [], added)
        reload(upstream)
        assert input_serial(upstream) == 8
        warnings = "\n".join(upstream.daemon.zone_status(s.ZONE)["warnings"])
        assert "outside the zone" in warnings
        assert "counts as 0" in warnings
        assert "AliasMode" in warnings
        assert any("\t0\t" in line or " 0 " in line for line in upstream.daemon.zone_content(s.ZONE))
        assert upstream.events() == {}
