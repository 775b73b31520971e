"""The listening server over real loopback sockets, with dnspython as the peer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache

import dns.asyncquery
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rrset
import dns.tsig
import dns.xfr
import dns.zone
import pytest

from dnssecd.core.dns.rrset import RRset, pack
from dnssecd.core.dns.tsig import sign_request
from dnssecd.publish import xfrout
from dnssecd.server.acl import ZoneAccess
from dnssecd.server.drains import Shut
from dnssecd.server.interfaces import EndedTransfer, Hooks
from dnssecd.server.limits import Limits
from dnssecd.server.listener import DnsServer
from dnssecd.server.reasons import Refusal
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

    def transfer_ended(self, transfer: EndedTransfer) -> None:
        self.events.append(("ended", transfer.kind, transfer.outcome))

    def failed(self, zone, kind, error) -> None:
        self.events.append(("failed", kind, repr(error)))

    def refused(self, zone, kind, address, key, reason, detail="") -> None:
        self.events.append(("refused", kind, reason))


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


async def test_a_small_difference_waits_for_no_thread() -> None:
    """Bulk transfers may keep all threads busy: who follows updates gets the difference all the same."""
    old, new = small_zone(1), [*small_zone(2), host(3000)]
    big = [step(0, 1, [host(n) for n in range(1000)], []), step(1, 2, [], [host(3000)])]
    async with serving(FakeZone(FakeVersion(old), access())) as server:
        port = server.addresses[0][1]
        zone = dns.zone.Zone("example.")
        query, _ = dns.xfr.make_query(zone, keyring=DNS_KEY)
        await dns.asyncquery.inbound_xfr("127.0.0.1", zone, query, port=port, timeout=10, lifetime=20)
        server.dispatcher._zones(b"\x07example\x00").version = FakeVersion(new, steps=big)
        server.pool.shutdown()
        query, _ = dns.xfr.make_query(zone, keyring=DNS_KEY)
        await dns.asyncquery.inbound_xfr("127.0.0.1", zone, query, port=port, timeout=10, lifetime=20)
        assert zone.get_soa().serial == 2
        behind = dns.message.make_query("example.", "IXFR")
        behind.authority.append(dns.rrset.from_text("example.", 0, "IN", "SOA", ". . 0 1 1 1 1"))
        behind.use_tsig(DNS_KEY)
        answer = await dns.asyncquery.tcp(behind, "127.0.0.1", port=port, timeout=5)
        assert answer.rcode() == dns.rcode.SERVFAIL, "a large one is made in a thread, and there is none"


def signed_update(number: int) -> bytes:
    """An UPDATE by the key; each number makes another message."""
    return sign_request(number.to_bytes(2, "big") + b"\x28" + SOA[3:], KEY, int(time.time()))[0]


AXFR = dns.message.make_query("example.", "AXFR").to_wire()
SOA = dns.message.make_query("example.", "SOA").to_wire()
OPEN = ZoneAccess.make(["127.0.0.0/8"], ["127.0.0.0/8"])


def framed(wire: bytes) -> bytes:
    return len(wire).to_bytes(2, "big") + wire


def update(number: int) -> bytes:
    return framed(signed_update(number))


def big_zone(records: int = 40_000) -> FakeVersion:
    return FakeVersion(small_zone(5) + [host(n) for n in range(records)])


async def connect(server: DnsServer, **options) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*server.addresses[0], **options)


async def message(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(10):
        return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))


async def transfer(reader: asyncio.StreamReader, records: int) -> None:
    """Read the messages of one transfer of so many RRs."""
    while records > 0:
        wire = await message(reader)
        assert wire[3] & 15 == 0
        records -= int.from_bytes(wire[6:8], "big")
    assert records == 0


@cache
def fat_zone() -> FakeVersion:
    """20 MB in 5,004 RRs: more than the kernel takes in for a client that does not read."""
    fat = [RRset(b"h%06d\x00" % n, 65280, 60, pack([bytes(4000)])) for n in range(5000)]
    return FakeVersion([*small_zone(5), *fat])


FAT = 5004


async def ended(server: DnsServer, count: int = 1) -> list[tuple]:
    """The first ``count`` ends of transfers, as reported."""
    async with asyncio.timeout(10):
        while True:
            found = [event for event in server.hooks.events if event[0] == "ended"]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.005)


async def closed(reader: asyncio.StreamReader) -> None:
    async with asyncio.timeout(10):
        try:
            while await reader.read(65536):
                pass
        except ConnectionError:
            pass


async def test_hundred_pipelined_transfers_hold_one_snapshot() -> None:
    zone = FakeZone(big_zone(2000), OPEN)
    async with serving(zone) as server:
        reader, writer = await connect(server)
        writer.write(framed(AXFR) * 100 + framed(SOA))
        for _ in range(100):
            await transfer(reader, 2004)
        assert zone.held_max == 1
        assert int.from_bytes((await message(reader))[6:8], "big") == 1
        writer.close()


async def test_client_that_stops_reading_is_cut_off_and_others_are_served() -> None:
    zone = FakeZone(fat_zone(), OPEN)
    async with serving(zone, Limits(write_s=0.5)) as server:
        reader, writer = await connect(server, limit=1024)
        writer.write(framed(AXFR))
        await reader.readexactly(2)
        other_reader, other_writer = await connect(server)
        other_writer.write(framed(AXFR))
        await transfer(other_reader, FAT)
        (_, _, slow), (_, _, done) = sorted(await ended(server, 2), key=lambda event: event[2] == "done")
        assert (slow, done) == ("TCP peer does not read", "done")
        assert zone.held == 0
        await closed(reader)
        writer.close()
        other_writer.close()


async def test_client_that_resets_during_a_transfer() -> None:
    zone = FakeZone(fat_zone(), OPEN)
    async with serving(zone) as server:
        reader, writer = await connect(server)
        writer.write(framed(AXFR))
        await reader.readexactly(100)
        writer.transport.abort()
        assert [event[2] for event in await ended(server)] == ["connection lost"]
        assert zone.held == 0


async def test_octets_that_trickle_in_and_half_a_prefix() -> None:
    async with serving(FakeZone(big_zone(10), OPEN), Limits(message_s=0.3)) as server:
        half, half_writer = await connect(server)
        half_writer.write(b"\x00")
        reader, writer = await connect(server)
        started = time.monotonic()
        try:
            for octet in framed(SOA):
                writer.write(bytes([octet]))
                await writer.drain()
                await asyncio.sleep(0.05)
        except ConnectionError:
            pass
        await closed(reader)
        await closed(half)
        assert time.monotonic() - started < 3
        assert server.hooks.events.count(("dropped", "TCP message too slow")) == 2


async def test_idle_connections_are_closed() -> None:
    async with serving(FakeZone(big_zone(10), OPEN), Limits(idle_s=0.1)) as server:
        reader, writer = await connect(server)
        writer.write(framed(SOA))
        await message(reader)
        await closed(reader)
        assert len(server.ledger) == 0
        writer.close()


async def test_connections_of_one_client_are_bounded() -> None:
    async with serving(FakeZone(big_zone(10), OPEN), Limits(connections_per_client_max=3)) as server:
        peers = [await connect(server) for _ in range(3)]
        for _, writer in peers:
            writer.write(framed(SOA))
        for reader, _ in peers:
            await message(reader)
        reader, writer = await connect(server)
        await closed(reader)
        other, other_writer = await connect(server, local_addr=("127.0.0.2", 0))
        other_writer.write(framed(SOA))
        assert await message(other)
        for _, one in [*peers, (reader, writer), (other, other_writer)]:
            one.close()


async def test_longest_idle_connection_makes_room() -> None:
    async with serving(FakeZone(big_zone(10), OPEN), Limits(connections_max=2)) as server:
        peers = []
        for _ in range(3):
            reader, writer = await connect(server)
            writer.write(framed(SOA))
            await message(reader)
            peers.append((reader, writer))
        await closed(peers[0][0])
        peers[1][1].write(framed(SOA))
        assert await message(peers[1][0])
        for _, writer in peers:
            writer.close()


async def test_transfers_are_bounded_and_a_stalled_one_gives_way() -> None:
    limits = Limits(transfers_max=1, transfer_wait_s=1.0, transfer_stall_s=0.2)
    async with serving(FakeZone(fat_zone(), OPEN), limits) as server:
        stalled, stalled_writer = await connect(server, limit=1024)
        stalled_writer.write(framed(AXFR))
        await stalled.readexactly(2)
        reader, writer = await connect(server)
        writer.write(framed(AXFR))
        answer = await message(reader)
        assert answer[3] & 15 == 2, "SERVFAIL while the place is taken"
        writer.write(framed(AXFR))
        await transfer(reader, FAT)
        writer.close()
        stalled_writer.close()


async def test_a_transfer_waits_while_its_zone_is_shut_and_a_small_difference_does_not() -> None:
    zone = FakeZone(FakeVersion(small_zone(2), steps=[step(1, 2, [], [host(1)])]), OPEN)
    behind = dns.message.make_query("example.", "IXFR")
    behind.authority.append(dns.rrset.from_text("example.", 0, "IN", "SOA", ". . 1 1 1 1 1"))
    async with serving(zone, Limits(transfer_wait_s=0.2)) as server:
        server.drains.shut(zone, Shut.ALL)
        reader, writer = await connect(server)
        writer.write(framed(AXFR))
        assert (await message(reader))[3] & 15 == 2, "SERVFAIL"
        assert ("refused", "transfer", Refusal.LOG_TOO_LONG) in server.hooks.events, "not: too many transfers"
        wire = behind.to_wire()
        writer.write(len(wire).to_bytes(2, "big") + wire)
        assert (await message(reader))[3] & 15 == 0
        writer.write(framed(AXFR))
        await asyncio.sleep(0.05)
        server.drains.open(zone)
        assert (await message(reader))[3] & 15 == 0, "it had to wait for a moment"
        writer.close()


async def test_transfer_is_one_snapshot_while_the_zone_changes_and_goes() -> None:
    zone = FakeZone(fat_zone(), OPEN)
    async with serving(zone) as server:
        reader, writer = await connect(server)
        writer.write(framed(AXFR))
        first = await message(reader)
        zone.version = FakeVersion(small_zone(6))
        assert int.from_bytes(first[6:8], "big") > 1
        await transfer(reader, FAT - int.from_bytes(first[6:8], "big"))
        zone.version = None
        writer.write(framed(AXFR))
        assert (await message(reader))[3] & 15 == 2
        writer.close()


async def test_event_loop_continues_during_transfers() -> None:
    """Five big transfers at once: the loop's own wake-ups come in time."""
    async with serving(FakeZone(big_zone(40_000), OPEN)) as server:
        peers = [await connect(server) for _ in range(5)]
        for _, writer in peers:
            writer.write(framed(AXFR))
        readers = asyncio.gather(*(transfer(reader, 40_004) for reader, _ in peers))
        lags = []
        while not readers.done():
            started = time.monotonic()
            await asyncio.sleep(0.001)
            lags.append(time.monotonic() - started - 0.001)
        await readers
        assert sorted(lags)[int(len(lags) * 0.95)] < 0.1
        for _, writer in peers:
            writer.close()


async def test_pipelined_questions_leave_others_their_turn() -> None:
    """However many messages lie ready on a connection, the event loop turns after each few of them."""
    handled, most = 0, 0

    class Zone(FakeZone):
        def snapshot(self):
            nonlocal handled
            handled += 1
            return super().snapshot()

    async with serving(Zone(FakeVersion(small_zone(7)), access())) as server:
        reader, writer = await asyncio.open_connection(*server.addresses[0][:2])
        query = dns.message.make_query("example.", "SOA").to_wire()
        writer.write((len(query).to_bytes(2, "big") + query) * 1000)
        async with asyncio.timeout(20):
            while handled < 1000:
                before = handled
                await asyncio.sleep(0)
                most = max(most, handled - before)
            for _ in range(1000):
                await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        writer.close()
    assert most <= 4


async def test_deferred_answers_are_bounded_and_pipelined_out_of_order() -> None:
    gate = asyncio.Event()
    working = 0

    async def on_update(zone, request) -> int:
        nonlocal working
        working += 1
        await gate.wait()
        return 0

    limits = Limits(deferred_max=9, deferred_per_connection_max=3)
    async with serving(FakeZone(big_zone(10), OPEN), limits, on_update=on_update) as server:
        reader, writer = await connect(server)
        writer.write(framed(SOA) + update(1) + framed(SOA) + b"".join(map(update, range(2, 6))))
        assert (await message(reader))[2] & 0x78 == 0
        assert (await message(reader))[2] & 0x78 == 0, "the answer to the query overtakes that to the update"
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(5):
            while working < 3:
                await asyncio.sleep(0.005)
        udp, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=server.addresses[0]
        )
        for number in range(10, 20):
            udp.sendto(signed_update(number))
        async with asyncio.timeout(5):
            while server.hooks.events.count(("dropped", "too many requests under way")) < 8:
                await asyncio.sleep(0.005)
        assert working == 5
        gate.set()
        for _ in range(5):
            assert (await message(reader))[2] & 0x78 == 0x28
        udp.close()
        writer.close()


async def test_a_dropped_update_may_be_sent_again() -> None:
    """Nothing was done of it, so its repetition is no replay and gets an answer."""
    gate = asyncio.Event()

    async def on_update(zone, request) -> int:
        await gate.wait()
        return 0

    limits = Limits(deferred_max=2)
    async with serving(FakeZone(big_zone(10), OPEN), limits, on_update=on_update) as server:
        loop = asyncio.get_running_loop()
        answers: asyncio.Queue[bytes] = asyncio.Queue()

        class Client(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: object) -> None:
                answers.put_nowait(data)

        udp, _ = await loop.create_datagram_endpoint(Client, remote_addr=server.addresses[0])
        first, second = signed_update(1), signed_update(2)
        udp.sendto(first)
        udp.sendto(second)
        async with asyncio.timeout(5):
            while ("dropped", "too many requests under way") not in server.hooks.events:
                await asyncio.sleep(0.005)
            gate.set()
            assert (await answers.get())[:2] == first[:2]
            udp.sendto(second)
            assert (await answers.get())[:2] == second[:2]
        udp.close()


async def test_an_answer_by_udp_is_still_sent_while_the_server_stops() -> None:
    """The update is committed: without an answer its client would send it again to a server that is gone."""
    working, gate = asyncio.Event(), asyncio.Event()

    async def on_update(zone, request) -> int:
        working.set()
        await gate.wait()
        return 0

    async with serving(FakeZone(big_zone(10), OPEN), on_update=on_update) as server:
        answers: asyncio.Queue[bytes] = asyncio.Queue()

        class Client(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: object) -> None:
                answers.put_nowait(data)

        loop = asyncio.get_running_loop()
        udp, _ = await loop.create_datagram_endpoint(Client, remote_addr=server.addresses[0])
        udp.sendto(signed_update(1))
        async with asyncio.timeout(10):
            await working.wait()
            closing = asyncio.create_task(server.close(5))
            await asyncio.sleep(0.01)
            udp.sendto(signed_update(2))
            await asyncio.sleep(0.01)
            gate.set()
            assert (await answers.get())[:2] == signed_update(1)[:2]
            await closing
        assert answers.empty(), "no further request was read"
        udp.close()


async def test_a_client_that_waits_for_a_long_update_keeps_its_connection() -> None:
    """Neither the bound on idle connections nor that on writing ends it while its update is carried out."""
    gate = asyncio.Event()

    async def on_update(zone, request) -> int:
        await gate.wait()
        return 0

    limits = Limits(idle_s=0.1, write_s=0.1)
    async with serving(FakeZone(big_zone(10), OPEN), limits, on_update=on_update) as server:
        reader, writer = await connect(server)
        writer.write(update(1))
        await asyncio.sleep(0.5)
        gate.set()
        async with asyncio.timeout(5):
            assert (await message(reader))[2] & 0x78 == 0x28
            assert await reader.read() == b"", "and then the connection ends"
        writer.close()


async def test_a_client_that_only_listens_any_more_gets_its_answers() -> None:
    """It closed its side after its updates, as named and knotd allow."""
    gate = asyncio.Event()
    working = 0

    async def on_update(zone, request) -> int:
        nonlocal working
        working += 1
        await gate.wait()
        return 0

    async with serving(FakeZone(big_zone(10), OPEN), on_update=on_update) as server:
        reader, writer = await connect(server)
        writer.write(update(1) + update(2))
        writer.write_eof()
        async with asyncio.timeout(5):
            while working < 2:
                await asyncio.sleep(0.005)
        gate.set()
        async with asyncio.timeout(5):
            for _ in range(2):
                assert (await message(reader))[2] & 0x78 == 0x28
            assert await reader.read() == b"", "and then the connection ends"
        writer.close()


async def test_closing_ends_a_stalled_transfer_and_lets_the_snapshot_go() -> None:
    zone = FakeZone(fat_zone(), OPEN)
    async with serving(zone) as server:
        reader, writer = await connect(server, limit=1024)
        writer.write(framed(AXFR))
        await reader.readexactly(2)
        started = time.monotonic()
        await server.close(0.2)
        assert time.monotonic() - started < 2
        async with asyncio.timeout(5):
            while zone.held:
                await asyncio.sleep(0.005)
        writer.close()


async def test_error_in_the_middle_of_a_transfer_closes_the_connection() -> None:
    class Broken(FakeVersion):
        def scan(self, start: bytes = b"", stop: bytes | None = None):
            yield from list(super().scan(start, stop))[:50_000]
            raise OSError("disk")

    zone = FakeZone(Broken(small_zone(5) + [host(n) for n in range(60_000)]), OPEN)
    async with serving(zone) as server:
        reader, writer = await connect(server)
        writer.write(framed(AXFR))
        await closed(reader)
        assert ("failed", "axfr", "OSError('disk')") in server.hooks.events
        assert zone.held == 0
        writer.close()


async def test_address_that_is_taken_is_named() -> None:
    async with serving(FakeZone(big_zone(10), OPEN)) as server:
        host_port = server.addresses[0]
        other = DnsServer([("127.0.0.1", 0), host_port], {}.get, dict, xfrout, time.time)
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1 port {host_port[1]}"):
            await other.start()


async def test_ipv6() -> None:
    zone = FakeZone(big_zone(10), ZoneAccess.make(["::1"]))
    server = DnsServer([("::1", 0)], {zone.origin: zone}.get, dict, xfrout, time.time)
    await server.start()
    answer = await dns.asyncquery.udp(
        dns.message.make_query("example.", "SOA"), "::1", 5, server.addresses[0][1]
    )
    assert answer.rcode() == dns.rcode.NOERROR
    await server.close(0.1)


@pytest.mark.parametrize(("listen", "asked"), [("0.0.0.0", "127.0.0.3"), ("::", "::1")])
async def test_wildcard_socket_answers_from_the_address_that_was_asked(listen: str, asked: str) -> None:
    zone = FakeZone(big_zone(10), ZoneAccess.make(["127.0.0.0/8", "::1"]))
    server = DnsServer([(listen, 0)], {zone.origin: zone}.get, dict, xfrout, time.time)
    await server.start()
    query = dns.message.make_query("example.", "SOA")
    # dnspython raises UnexpectedSource if the answer comes from elsewhere.
    answer = await dns.asyncquery.udp(query, asked, 5, server.addresses[0][1])
    assert answer.rcode() == dns.rcode.NOERROR
    await server.close(0.1)
