"""DNS over TLS at the listener: who may transfer, and what a peer that stalls, or a flood, costs."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import dns.message
import pytest

from dnssecd.config.model import Address, Peer
from dnssecd.config.tls_model import PeerTls
from dnssecd.core.dns.message import REFUSED
from dnssecd.core.dns.rrset import RRset, pack
from dnssecd.core.dns.tsig import sign_request
from dnssecd.daemon.zones.specs import _tls_only
from dnssecd.server.acl import ZoneAccess
from dnssecd.server.limits import Limits
from dnssecd.server.listener import DnsServer
from dnssecd.server.reasons import Drop, Refusal
from dnssecd.tls import Identity, TlsFailed, TlsFault, server_context
from tests.peers.certificates import Authority, Certificate
from tests.unit.server.fakes import KEY, FakeVersion, FakeZone, small_zone
from tests.unit.server.test_server_listener import Recorder, serving

LIMITS = Limits(idle_s=1.0, handshake_s=0.3, message_s=1.0)


class Handshakes(Recorder):
    def handshake(self, address: object, failure: TlsFailed | None) -> None:
        self.events.append(("handshake", None if failure is None else failure.fault))


def identity(certificate: Certificate) -> Identity:
    return Identity(str(certificate.certificate), str(certificate.key))


class World:
    """A listener with a certificate, a secondary that must use TLS, and an authority for both."""

    def __init__(self, home: Path) -> None:
        self.authority = Authority(home)
        self.ours = self.authority.issue("signer.test")
        self.context: ssl.SSLContext | None = server_context(identity(self.ours), (str(self.authority.path),))

    def zone(self, *, mutual: bool) -> FakeZone:
        tls = PeerTls("ns1.test", self.authority.path, mutual=mutual)
        peer = Peer("ns1", Address("127.0.0.1", 53), "transfer.", tls=tls)
        access = ZoneAccess.make(tls_only=[_tls_only(peer, tls)])
        return FakeZone(FakeVersion(small_zone(5)), access)

    def client(self, shown: Certificate | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.path))
        context.set_alpn_protocols(["dot"])
        if shown is not None:
            context.load_cert_chain(shown.certificate, shown.key)
        return context


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def listening(world: World, zone: FakeZone, limits: Limits = LIMITS, **more: object):
    return serving(zone, limits, tls_listen=[("127.0.0.1", 0)], tls_context=lambda: world.context, **more)


@pytest.fixture(autouse=True)
def _hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.server.test_server_listener.Recorder", Handshakes)


async def ask(server: DnsServer, context: ssl.SSLContext | None, qtype: str) -> dns.message.Message:
    """The first message of an answer, over TLS (or TCP) and signed."""
    wire, _ = sign_request(dns.message.make_query("example.", qtype).to_wire(), KEY, 0)
    return await ask_wire(server, context, wire)


async def ask_wire(server: DnsServer, context: ssl.SSLContext | None, wire: bytes) -> dns.message.Message:
    host, port = (server.addresses if context is None else server.tls_addresses)[0]
    name = None if context is None else "signer.test"
    reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=name)
    try:
        writer.write(len(wire).to_bytes(2, "big") + wire)
        size = int.from_bytes(await reader.readexactly(2), "big")
        return dns.message.from_wire(await reader.readexactly(size), keyring=False)
    finally:
        writer.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def now_is_signed(server: DnsServer) -> None:
    """TSIG is signed at 0: the server's clock is there too."""
    server.dispatcher._now = lambda: 0


async def test_transfers_use_tls_and_queries_need_not(world: World) -> None:
    async with listening(world, world.zone(mutual=False)) as server:
        now_is_signed(server)
        answer = await ask(server, world.client(), "AXFR")
        assert len(answer.answer) == 3 or len(answer.answer) == 4
        assert (await ask(server, None, "AXFR")).rcode() == REFUSED
        assert (await ask(server, None, "SOA")).answer
        assert ("refused", "axfr", Refusal.NOT_OVER_TLS) in server.hooks.events


async def test_the_certificate_of_the_secondary_itself_is_needed(world: World) -> None:
    mine, other = world.authority.issue("ns1.test"), world.authority.issue("ns2.test")
    async with listening(world, world.zone(mutual=True)) as server:
        now_is_signed(server)
        assert (await ask(server, world.client(mine), "AXFR")).answer
        for shown in (None, other):
            assert (await ask(server, world.client(shown), "AXFR")).rcode() == REFUSED
        assert server.hooks.events.count(("refused", "axfr", Refusal.CERTIFICATE)) == 2


async def test_the_key_counts_besides_the_certificate(world: World) -> None:
    mine = world.authority.issue("ns1.test")
    async with listening(world, world.zone(mutual=True)) as server:
        answer = await ask_wire(
            server, world.client(mine), dns.message.make_query("example.", "AXFR").to_wire()
        )
        assert answer.rcode() == REFUSED


async def test_an_expired_client_certificate_ends_the_handshake(world: World) -> None:
    late = world.authority.issue("ns1.test", ends=timedelta(hours=-1))
    async with listening(world, world.zone(mutual=True)) as server:
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await ask(server, world.client(late), "SOA")
        await until(lambda: ("handshake", TlsFault.CERTIFICATE) in server.hooks.events)
        await until(lambda: not len(server.ledger))


async def test_only_tls_1_3(world: World) -> None:
    context = world.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with listening(world, world.zone(mutual=False)) as server:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await ask(server, context, "SOA")
        await until(lambda: ("handshake", TlsFault.PROTOCOL) in server.hooks.events)


@pytest.mark.parametrize("octets", [b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"])
async def test_a_peer_that_stalls_in_the_handshake(world: World, octets: bytes) -> None:
    """Its place is free again after the deadline; other connections are served meanwhile."""
    async with listening(world, world.zone(mutual=False)) as server:
        reader, writer = await asyncio.open_connection(*server.tls_addresses[0])
        writer.write(octets)
        await until(lambda: len(server.ledger))
        now_is_signed(server)
        assert (await ask(server, world.client(), "SOA")).answer
        async with asyncio.timeout(10):
            while await reader.read(1024):
                pass
        await until(lambda: not len(server.ledger))
        writer.close()
        if octets:
            wanted = TlsFault.STALLED if octets[0] == 0x16 else TlsFault.PROTOCOL
            assert ("handshake", wanted) in server.hooks.events


async def test_a_peer_that_does_not_read_its_transfer_is_cut_off(world: World) -> None:
    """As by TCP: what is buffered for it is bounded, and it does not keep its place."""
    zone = world.zone(mutual=False)
    text = pack([b"\xff" + bytes((n,)) * 255 for n in range(60)])
    zone.version = FakeVersion(
        [
            *small_zone(5),
            *(RRset(b"h%06d\x00" % number, 16, 300, text) for number in range(1000)),
        ]
    )
    async with listening(world, zone, Limits(write_s=0.3)) as server:
        now_is_signed(server)
        address, port = server.tls_addresses[0]
        reader, writer = await asyncio.open_connection(
            address, port, ssl=world.client(), server_hostname="signer.test", limit=1024
        )
        wire, _ = sign_request(dns.message.make_query("example.", "AXFR").to_wire(), KEY, 0)
        writer.write(len(wire).to_bytes(2, "big") + wire)
        await until(lambda: ("dropped", Drop.NOT_READING) in server.hooks.events)
        await until(lambda: not len(server.ledger))
        assert server.slots.zones() == []
        writer.transport.abort()
        assert reader.exception() is None


async def test_an_evicted_handshake_is_closed(world: World) -> None:
    limits = Limits(idle_s=30, handshake_s=30)
    async with listening(world, world.zone(mutual=False), limits) as server:
        reader, writer = await asyncio.open_connection(*server.tls_addresses[0])
        writer.write(b"\x16\x03\x01\x02\x00\x01")
        await until(lambda: len(server.ledger) and next(iter(server.ledger._open)).idle_since is None)
        server.ledger.abort_all()
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()
        await until(lambda: not len(server.ledger))


async def test_a_flood_of_handshakes_does_not_keep_a_peer_out(world: World) -> None:
    limits = Limits(network_handshakes_burst=2, network_handshakes_per_s=0)
    known = False
    async with listening(world, world.zone(mutual=False), limits, known=lambda _: known) as server:
        now_is_signed(server)
        for _ in range(2):
            await ask(server, world.client(), "SOA")
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await ask(server, world.client(), "SOA")
        assert ("handshake", TlsFault.FLOOD) in server.hooks.events
        assert ("dropped", Drop.HANDSHAKES) in server.hooks.events
        known = True
        assert (await ask(server, world.client(), "SOA")).answer


async def test_a_new_certificate_counts_for_the_next_connection(world: World) -> None:
    async with listening(world, world.zone(mutual=False)) as server:
        now_is_signed(server)
        other = Authority(world.authority.path.parent / "other")
        world.context = server_context(identity(other.issue("signer.test")), ())
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(server, world.client(), "SOA")
        await until(lambda: ("handshake", TlsFault.CLOSED) in server.hooks.events)  # asyncio sends no alert
        context = ssl.create_default_context(cafile=str(other.path))
        assert (await ask(server, context, "SOA")).answer
        world.context = None
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await ask(server, context, "SOA")
        assert ("handshake", TlsFault.NO_IDENTITY) in server.hooks.events
        assert (await ask(server, None, "SOA")).answer
