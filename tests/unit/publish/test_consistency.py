"""NOTIFY(CDS) is sent when the parent will find all servers alike (RFC 9975)."""

from __future__ import annotations

from contextlib import AsyncExitStack

import dns.name
import dns.rdatatype
import dns.rrset
import pytest

from dnssecd.core.dns.rrset import RRset, pack
from dnssecd.core.dns.rrtypes import CDNSKEY, CDS
from dnssecd.publish.consistency import find_inconsistency
from dnssecd.publish.dsync import Found, notify_parent
from dnssecd.publish.exchange import Peer, Timing
from tests.unit.publish.test_publish_peers import ACCESS, closed_port, serving
from tests.unit.server.fakes import FakeVersion, FakeZone, small_zone

QUICK = Timing(udp_s=0.2, udp_attempts=1, tcp_s=1.0)


def digest(octet: int) -> RRset:
    return RRset(b"", CDS, 300, pack([b"\0\1\x0d\2" + bytes((octet,)) * 32]))


def key(octet: int) -> RRset:
    return RRset(b"", CDNSKEY, 300, pack([b"\1\1\3\x0d" + bytes((octet,)) * 64]))


async def judged(*contents: list[RRset] | None, silent: bool = False) -> str:
    """The judgement on servers with these RRsets (None: they do not have the zone)."""
    async with AsyncExitStack() as stack:
        peers = []
        for number, content in enumerate(contents):
            zone = None if content is None else FakeZone(FakeVersion([*small_zone(), *content]), ACCESS)
            found = await stack.enter_async_context(serving(zone))
            peers.append(Peer(f"ns{number}", found.host, found.port))
        if silent:
            peers.append(Peer("gone", "127.0.0.1", closed_port()))
        return await find_inconsistency("example.", peers, QUICK)


async def test_alike() -> None:
    both = [digest(1), key(1)]
    assert await judged(both, both) == ""
    assert await judged([digest(1)], [digest(1)]) == "", "a zone may have CDS alone"
    assert await judged() == "", "no server may be queried: nothing to compare"


async def test_differences_are_named() -> None:
    assert await judged([digest(1)], [digest(2)]) == "ns0 and ns1 serve different CDS RRsets"
    assert await judged([digest(1), key(1)], [digest(1)]) == "ns0 and ns1 serve different CDNSKEY RRsets"
    assert await judged([digest(1)], []) == "ns0 and ns1 serve different CDS RRsets"
    assert await judged([], []) == "ns0 serves no CDS"
    assert await judged([digest(1)], None) == "ns1 gives no CDS RRset: REFUSED"
    assert (await judged([digest(1)], silent=True)).startswith("gone gives no CDS RRset: ")


@pytest.mark.parametrize("endpoint", [True, False])
async def test_nothing_is_sent_while_they_differ(endpoint: bool) -> None:
    """A parent without endpoint is not a reason to query the servers."""
    asked = []

    async def lookup(name: dns.name.Name, rtype: dns.rdatatype.RdataType) -> Found:
        if rtype == dns.rdatatype.DSYNC and endpoint:
            text = "CDS NOTIFY 53 cds.example."
            return Found(dns.rrset.from_text_list(name, 300, "IN", rtype, [text]))
        assert rtype == dns.rdatatype.DSYNC, "no address is looked up, as nothing is sent"
        return Found(soa=dns.name.from_text("example."))

    async def differences() -> str:
        asked.append(True)
        return "ns0 and ns1 serve different CDS RRsets"

    done = await notify_parent("child.example.", lookup, differences=differences)
    assert (done.offered, bool(asked)) == (endpoint, endpoint)
    assert done.ok is not endpoint
    if endpoint:
        assert done.detail == "not sent: ns0 and ns1 serve different CDS RRsets"
