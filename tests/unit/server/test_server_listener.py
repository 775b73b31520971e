"""The listening server over real loopback sockets, with dnspython as the peer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import dns.asyncquery
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.tsig
import dns.xfr
import dns.zone

from dnssecd.core.rrset import RRset, pack
from dnssecd.publish import xfrout
from dnssecd.server.acl import ZoneAccess
from dnssecd.server.interfaces import Hooks
from dnssecd.server.limits import Limits
from dnssecd.server.listener import DnsServer
from tests.unit.server.fakes import KEY, KEYS, FakeVersion, FakeZone, small_zone, step

DNS_KEY = dns.tsig.Key("transfer.", KEY.secret, "hmac-sha256")


def host(number: int, octet: int = 1) -> RRset:
    return RRset(b"h%06d\x00" % number, 1, 3600, pack([bytes([10, octet, number >> 8 & 255, number & 255])]))


def access() -> ZoneAccess:
    return ZoneAccess.make(["127.0.0.1"], ["transfer."])


class Recorder(Hooks):
    def __init__(self) -> None:
        self.events: list[tuple] = []

    def dropped(self, reason: str) -> None:
        self.events.append(("dropped", reason))

    def transfer_ended(self, zone, kind, address, serial, messages, octets, seconds, outcome) -> None:
        self.events.append(("ended", kind, outcome))

    def failed(self, zone, kind, error) -> None:
        self.events.append(("failed", kind, repr(error)))


@asynccontextmanager
async def serving(zone: FakeZone, limits: Limits | None = None, **handlers) -> AsyncIterator[DnsServer]:
    server = DnsServer(
        [("127.0.0.1", 0)],
        {zone.origin: zone}.get,
        lambda: KEYS,
        xfrout,
        time.time,
        Recorder(),
        limits,
        **handlers,
    )
    await server.start()
    try:
        yield server
    finally:
        await server.close(0.2)


def fetch(
    port: int, kind: str = "AXFR", serial: int = 0, key: dns.tsig.Key | None = DNS_KEY
) -> list[dns.message.Message]:
    """All messages of a transfer, TSIG verified by dnspython."""
    query = dns.message.make_query("example.", kind)
    if kind == "IXFR":
        query.authority = [dns.rrset.from_text("example.", 0, "IN", "SOA", f". . {serial} 0 0 0 0")]
    if key is not None:
        query.use_tsig(key)
    return list(_messages(port, query))


def _messages(port: int, query: dns.message.Message) -> Iterator[dns.message.Message]:
    import socket

    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        dns.query.send_tcp(sock, query)
        context, soas = None, 0
        while True:
            answer, _ = (
                dns.query.receive_tcp(sock, time.time() + 10, True, query.keyring, query.mac, False)
                if context is None
                else (_next(sock, query, context), 0)
            )
            context = answer.tsig_ctx
            yield answer
            soas += sum(rr.rdtype == 6 for rrset in answer.answer for rr in rrset)
            if answer.rcode() or soas >= 2 or (query.question[0].rdtype == 251 and soas == 1):
                return


def _next(sock, query, context):
    size = int.from_bytes(_exactly(sock, 2), "big")
    return dns.message.from_wire(
        _exactly(sock, size),
        keyring=query.keyring,
        request_mac=query.mac,
        xfr=True,
        tsig_ctx=context,
        multi=True,
        one_rr_per_rrset=False,
    )


def _exactly(sock, size: int) -> bytes:
    out = b""
    while len(out) < size:
        part = sock.recv(size - len(out))
        assert part, "connection closed"
        out += part
    return out


async def test_soa_over_udp_and_tcp() -> None:
    async with serving(FakeZone(FakeVersion(small_zone(7)), access())) as server:
        port = server.addresses[0][1]
        query = dns.message.make_query("example.", "SOA")
        for ask in (dns.asyncquery.udp, dns.asyncquery.tcp):
            answer = await ask(query, "127.0.0.1", port=port, timeout=5)
            assert answer.rcode() == dns.rcode.NOERROR
            assert answer.answer[0][0].serial == 7


async def test_axfr_and_ixfr_by_dnspython() -> None:
    old = small_zone(1) + [host(n) for n in range(3000)]
    new = small_zone(2) + [host(n) for n in range(1, 3001)]
    journal = [step(1, 2, [host(0)], [host(3000)])]
    async with serving(FakeZone(FakeVersion(old), access())) as server:
        port = server.addresses[0][1]
        zone = dns.zone.Zone("example.")
        query, _ = dns.xfr.make_query(zone, keyring=DNS_KEY)
        await dns.asyncquery.inbound_xfr("127.0.0.1", zone, query, port=port, timeout=10, lifetime=20)
        assert len(zone.nodes) == 3002
        server_zone = server.dispatcher._zones(b"\x07example\x00")
        server_zone.version = FakeVersion(new, steps=journal)
        query, _ = dns.xfr.make_query(zone, keyring=DNS_KEY)
        await dns.asyncquery.inbound_xfr("127.0.0.1", zone, query, port=port, timeout=10, lifetime=20)
        assert zone.get_soa().serial == 2
        assert dns.name.from_text("h000000", None) not in zone
        assert dns.name.from_text("h003000", None) in zone
        async with asyncio.timeout(5):
            while len(server.hooks.events) < 2:
                await asyncio.sleep(0)
        kinds = [event[1] for event in server.hooks.events if event[0] == "ended"]
        assert kinds == ["axfr", "ixfr"]
