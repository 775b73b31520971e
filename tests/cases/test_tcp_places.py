"""Strangers that take all TCP places, and a secondary that takes all transfers, keep no other secondary out."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dnssecd.core.dns.tsig import TsigKey, sign_request
from dnssecd.server.acl import ZoneAccess
from dnssecd.server.limits import Limits
from dnssecd.server.listener import DnsServer
from tests.unit.server.fakes import KEY, OTHER_KEY, FakeVersion, FakeZone, small_zone
from tests.unit.server.test_server_listener import AXFR, SOA, fat_zone, framed, host, message, serving

STRANGERS = [f"127.0.0.1{number}" for number in range(1, 5)]
SECONDARY = "127.0.0.200"
BY_KEY = ZoneAccess.make(allow_transfer=["transfer.", "other."])
#: A quarter of the real bounds, so that the crowd is quickly there.
SMALL = Limits(connections_max=128)
#: In a second a client has long got what it asks for, even on a loaded machine.
PATIENCE_S = 5.0


def zone() -> FakeZone:
    return FakeZone(FakeVersion(small_zone(5) + [host(n) for n in range(100)]), BY_KEY)


def open_one(server_port: int, source: str, octets: bytes) -> socket.socket:
    sock = socket.socket()
    sock.settimeout(1.0)
    sock.bind((source, 0))
    sock.connect(("127.0.0.1", server_port))
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        sock.send(octets)
    return sock


@contextmanager
def crowd(port: int, octets: bytes, each: int = 48) -> Iterator[list[int]]:
    """Keep ``each`` connections from every stranger open, with some octets sent: closed ones are opened again.

    Yields a list whose length counts the connections opened.
    """
    over, opened = threading.Event(), list[int]()

    def keep(source: str) -> None:
        held: list[socket.socket] = []
        while not over.is_set():
            kept = []
            for sock in held:
                try:
                    alive = sock.recv(1, socket.MSG_PEEK) != b""
                except BlockingIOError:
                    alive = True
                except OSError:
                    alive = False
                kept += [sock] if alive else []
                if not alive:
                    sock.close()
            held = kept
            while len(held) < each and not over.is_set():
                with contextlib.suppress(OSError):
                    held.append(open_one(port, source, octets))
                opened.append(1)
            over.wait(0.1)
        for sock in held:
            sock.close()

    threads = [threading.Thread(target=keep, args=(source,)) for source in STRANGERS]
    for thread in threads:
        thread.start()
    try:
        yield opened
    finally:
        over.set()
        for thread in threads:
            thread.join()


async def ask(server: DnsServer, wire: bytes, key: TsigKey = KEY, source: str = SECONDARY) -> int:
    """The RCODE of the first message of the answer."""
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection(*server.addresses[0], local_addr=(source, 0))
        writer.write(framed(sign_request(wire, key, int(time.time()))[0]))
        answer = await message(reader)
        writer.close()
    return answer[3] & 15


@pytest.mark.parametrize(
    "octets",
    [b"", b"\x00", framed(SOA)[:-1], framed(SOA)],
    ids=["nothing", "one octet", "nearly a message", "a message"],
)
async def test_strangers_with_all_connections_do_not_keep_a_secondary_out(octets: bytes) -> None:
    async with serving(zone(), SMALL) as server:
        with crowd(server.addresses[0][1], octets) as opened:
            async with asyncio.timeout(30):
                while len(opened) < 150:
                    await asyncio.sleep(0.01)
            for _ in range(8):
                assert await ask(server, AXFR) == 0
                await asyncio.sleep(0.05)
            assert len(server.ledger) <= 65


async def test_strangers_that_never_read_do_not_keep_a_secondary_out() -> None:
    async with serving(zone(), SMALL) as server:
        with crowd(server.addresses[0][1], framed(SOA) * 1000) as opened:
            async with asyncio.timeout(30):
                while len(opened) < 150:
                    await asyncio.sleep(0.01)
            for _ in range(10):
                assert await ask(server, AXFR) == 0


async def test_a_secondary_with_many_slow_transfers_leaves_another_its_own() -> None:
    limits = Limits(transfers_max=8, transfer_yield_s=0.2, transfer_wait_s=PATIENCE_S)
    async with serving(FakeZone(fat_zone(), BY_KEY), limits) as server:
        slow = [
            await asyncio.open_connection(*server.addresses[0], local_addr=("127.0.0.50", 0), limit=1024)
            for _ in range(12)
        ]
        for number, (_, writer) in enumerate(slow):
            signed = sign_request(number.to_bytes(2, "big") + AXFR[2:], OTHER_KEY, int(time.time()))[0]
            writer.write(framed(signed))
        async with asyncio.timeout(PATIENCE_S):
            while len(server.slots._running) < 8:
                await asyncio.sleep(0.01)

        async def drip() -> None:
            while True:
                for reader, _ in slow:
                    await asyncio.wait([asyncio.ensure_future(reader.read(1))], timeout=0.001)
                await asyncio.sleep(0.05)

        dripping = asyncio.ensure_future(drip())
        for _ in range(3):
            assert await ask(server, AXFR) == 0
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
        assert len([one for one in server.slots._running if "127.0.0.50" in one.client]) >= 4, (
            "its share stays"
        )
        for _, writer in slow:
            writer.transport.abort()


async def test_places_are_kept_for_addresses_of_peers() -> None:
    """All other places are taken by clients that an access list lets in: they are no strangers."""
    open_to_all = FakeZone(zone().version, ZoneAccess.make(["127.0.0.0/8"], ["transfer."]))
    async with serving(
        open_to_all, Limits(connections_max=16), known=lambda a: str(a) == SECONDARY
    ) as server:
        held = []
        for number in range(20):
            # Half of a second message follows, so that none is idle.
            held.append(open_one(server.addresses[0][1], f"127.0.{number}.1", framed(SOA) + b"\x00"))
            await asyncio.sleep(0.01)
        assert len(server.ledger) == 12
        assert await ask(server, AXFR) == 0
        for sock in held:
            sock.close()
