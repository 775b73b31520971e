"""First messages of TCP connections: answered at once where nothing has to be waited for, else by a session."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dns.message
import dns.rcode
import dns.rrset
import pytest

from dnssecd.server import first_answer
from dnssecd.server.drains import Shut
from dnssecd.server.limits import Limits
from dnssecd.server.listener import DnsServer
from dnssecd.server.reasons import TransferEnd
from tests.unit.server.fakes import FakeVersion, FakeZone, small_zone, step
from tests.unit.server.test_server_listener import DNS_KEY, access, host, serving


def soa_query() -> bytes:
    return dns.message.make_query("example.", "SOA").to_wire()


def ixfr_query(serial: int = 1) -> bytes:
    query = dns.message.make_query("example.", "IXFR")
    query.authority.append(dns.rrset.from_text("example.", 0, "IN", "SOA", f". . {serial} 1 1 1 1"))
    query.use_tsig(DNS_KEY)
    return query.to_wire()


def framed(*wires: bytes) -> bytes:
    return b"".join(len(wire).to_bytes(2, "big") + wire for wire in wires)


def followed_zone() -> FakeZone:
    """At serial 2, with the difference from 1 in its journal."""
    return FakeZone(FakeVersion([*small_zone(2), host(7)], steps=[step(1, 2, [], [host(7)])]), access())


class Client:
    """A TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def receive(self) -> bytes:
        size = int.from_bytes(await self.reader.readexactly(2), "big")
        return await self.reader.readexactly(size)

    async def ask(self, wire: bytes) -> bytes:
        self.writer.write(framed(wire))
        return await self.receive()


@asynccontextmanager
async def connected(server: DnsServer) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(*server.addresses[0])
    try:
        async with asyncio.timeout(10):
            yield Client(reader, writer)
    finally:
        writer.close()


def sessions(server: DnsServer) -> int:
    return len(server._service._tasks)


def is_difference(answer: bytes) -> bool:
    """Whether an answer has the IXFR from 1 to 2: four SOAs and the address."""
    return int.from_bytes(answer[6:8], "big") == 5


async def test_a_small_difference_needs_no_session() -> None:
    async with serving(followed_zone()) as server, connected(server) as client:
        assert is_difference(await client.ask(ixfr_query()))
        assert sessions(server) == 0
        assert server.hooks.events == [("ended", "ixfr", TransferEnd.DONE)]
        assert len(server.slots.zones()) == 0
        # What the connection asks next is answered by a session.
        answer = dns.message.from_wire(await client.ask(soa_query()))
        assert answer.answer[0][0].serial == 2
        assert sessions(server) == 1


async def test_several_messages_at_once_are_all_answered() -> None:
    async with serving(followed_zone()) as server, connected(server) as client:
        client.writer.write(framed(soa_query(), soa_query(), soa_query()))
        for _ in range(3):
            assert dns.message.from_wire(await client.receive()).rcode() == dns.rcode.NOERROR


async def test_the_zone_is_not_sent_at_once() -> None:
    async with serving(followed_zone()) as server, connected(server) as client:
        assert dns.message.from_wire(await client.ask(ixfr_query(0)), keyring=False).answer
        assert [event[1] for event in server.hooks.events] == ["axfr-style"]


async def test_a_transfer_without_a_place_or_in_a_drain_waits_in_a_session() -> None:
    zone = followed_zone()
    async with serving(zone, Limits(transfers_max=1)) as server, connected(server) as client:
        slot = server.slots.acquire_now("other", lambda: None, zone)
        assert slot is not None
        client.writer.write(framed(ixfr_query()))
        while not sessions(server):
            await asyncio.sleep(0)
        server.slots.release(slot)
        assert is_difference(await client.receive())
    zone = followed_zone()
    async with serving(zone) as server, connected(server) as client:
        server.drains.shut(zone, Shut.LONG)
        assert is_difference(await client.ask(ixfr_query()))
        assert sessions(server) == 1


@pytest.mark.parametrize("taken", [0, 1, 100])
async def test_what_the_connection_does_not_take_at_once_is_sent_later(
    taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send_part(sock: socket.socket, octets: bytes) -> bytes:
        assert sock.send(octets[:taken]) == taken
        return octets[taken:]

    monkeypatch.setattr(first_answer, "_send", send_part)
    async with serving(followed_zone()) as server, connected(server) as client:
        assert is_difference(await client.ask(ixfr_query()))
        assert dns.message.from_wire(await client.ask(soa_query())).rcode() == dns.rcode.NOERROR


async def test_a_zone_without_version_and_a_bug_are_servfail() -> None:
    zone = followed_zone()
    async with serving(zone) as server:
        zone.version = None
        async with connected(server) as client:
            answer = await client.ask(ixfr_query())
            assert answer[3] & 15 == dns.rcode.SERVFAIL
        zone.version = FakeVersion([*small_zone(2), host(7)], steps=[step(1, 2, [], [host(7)])])
        zone.version.journal = None
        async with connected(server) as client:
            answer = await client.ask(ixfr_query())
            assert answer[3] & 15 == dns.rcode.SERVFAIL
        kinds = [(event[0], event[-1]) for event in server.hooks.events]
        assert ("ended", TransferEnd.NO_VERSION) in kinds
        assert ("ended", TransferEnd.FAILED) in kinds
        assert len(server.slots.zones()) == 0


async def test_a_connection_that_is_lost_is_reported_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(sock: socket.socket, octets: bytes) -> bytes:
        sock.shutdown(socket.SHUT_RDWR)
        raise BrokenPipeError

    monkeypatch.setattr(first_answer, "_send", lost)
    async with serving(followed_zone()) as server:
        for wire in (ixfr_query(), soa_query()):
            async with connected(server) as client:
                with pytest.raises(asyncio.IncompleteReadError):
                    await client.ask(wire)
        assert server.hooks.events == [("ended", "ixfr", TransferEnd.BROKEN_OFF)]
        async with asyncio.timeout(5):
            while len(server.ledger):
                await asyncio.sleep(0.005)


async def test_a_client_that_is_gone_harms_nothing() -> None:
    async with serving(followed_zone()) as server:
        for _ in range(20):
            async with connected(server) as client:
                client.writer.write(framed(ixfr_query()))
                client.writer.transport.abort()
        async with connected(server) as client:
            assert is_difference(await client.ask(ixfr_query()))
            async with asyncio.timeout(5):
                while len(server.ledger) > 1:
                    await asyncio.sleep(0.005)
