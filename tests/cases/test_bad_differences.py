"""Transfers whose content is not good: IXFR is followed by AXFR, that by the next primary, and no round is endless."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cases.upstreams import input_serial, reload, upstreams, wait_events
from tests.peers.process import Servers
from tests.peers.tsig import TsigKey
from tests.unit.xfrin import streams as s

pytestmark = pytest.mark.integration

NS = [s.NS_RR, s.a("ns", 1)]
CNAME = s.RR(s.name("www"), s.CNAME, s.name("ns"))


def test_a_damaged_journal_does_not_stop_a_sound_zone(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    with upstreams(servers, peer_dir, tsig_key, NS) as (upstream, [primary]):
        for serial in (8, 9):
            primary.offer(serial, [*NS, s.a("www", serial)])
            primary.offer_difference(serial - 1, [s.NS_RR], [s.a("x", 1)])
            primary.asked.clear()
            reload(upstream)
            assert input_serial(upstream) == serial
            assert primary.asked[:2] == ["ixfr", "axfr"]
        assert upstream.events() == {}


def test_a_bad_primary_does_not_stop_a_sound_one(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    with upstreams(servers, peer_dir, tsig_key, NS, 2) as (upstream, [bad, good]):
        bad.offer(9, [*NS, s.a("www", 1), CNAME])
        good.offer(8, [*NS, s.a("www", 2)])
        reload(upstream)
        assert input_serial(upstream) == 8
        assert bad.asked[:2] == ["ixfr", "axfr"]
        cause = wait_events(upstream, {"input-error"})["input-error"]
        assert "primary p0" in cause
        assert "CNAME" in cause
        good.offer(10, [*NS, s.a("www", 3)])
        reload(upstream)
        assert input_serial(upstream) == 10
        wait_events(upstream, set())


def test_a_round_ends_and_names_each_primary(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    with upstreams(servers, peer_dir, tsig_key, NS, 2) as (upstream, primaries):
        for primary in primaries:
            primary.offer(9, [*NS, s.a("www", 1), CNAME])
            primary.offer_difference(7, [s.NS_RR], [])
        told = reload(upstream)
        assert "primary p0" in told
        assert "primary p1" in told
        first, second = (primary.asked for primary in primaries)
        rounds = len(second)  # the daemon may have looked by itself before it was told to
        assert rounds in (1, 2)
        assert (first, second) == (["ixfr", "axfr"] * rounds, ["axfr"] * rounds)
        assert input_serial(upstream) == 7
        assert wait_events(upstream, {"input-error"})
