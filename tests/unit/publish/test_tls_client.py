"""Questions to peers over TLS: who is trusted, what failed, and what is reused."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import dns.name
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from dnssecd.publish import tls_client
from dnssecd.publish.exchange import Outcome, Peer, exchange, question
from dnssecd.publish.tls_client import TlsClient, TlsTarget, client
from dnssecd.server.acl import ZoneAccess
from dnssecd.server.limits import Limits
from dnssecd.tls import (
    Identity,
    PeerCheck,
    TlsFault,
    judge_client,
    judge_verified,
    pin_of,
    server_context,
)
from tests.peers.certificates import Authority, Certificate, self_signed
from tests.peers.tls_servers import stalling_server
from tests.unit.server.fakes import FakeVersion, FakeZone, small_zone
from tests.unit.server.test_server_listener import serving

NAME = dns.name.from_text("example.")


def identity(certificate: Certificate) -> Identity:
    return Identity(str(certificate.certificate), str(certificate.key))


@asynccontextmanager
async def tls_server(
    certificate: Certificate, limits: Limits | None = None, requires: Path | None = None
) -> AsyncIterator[int]:
    """Yield the port of a server for ``example.``; requires: it wants client certificates of this authority."""
    zone = FakeZone(FakeVersion(small_zone(5)), ZoneAccess.make(["127.0.0.1"]))
    context = server_context(identity(certificate), () if requires is None else (str(requires),))
    if requires is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    async with serving(zone, limits, tls_listen=[("127.0.0.1", 0)], tls_context=lambda: context) as server:
        yield server.tls_addresses[0][1]
        await client().close()


async def ask(port: int, check: PeerCheck, shown: Identity | None = None) -> Outcome:
    peer = Peer("up", "127.0.0.1", 53, tls=TlsTarget("127.0.0.1", port, check, shown))
    return await exchange(peer, question(NAME, dns.rdatatype.SOA))


async def test_authority_and_name_or_pin(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    ours = authority.issue("up.test")
    ca = str(authority.path)
    async with tls_server(ours) as port:
        for good in (
            PeerCheck("up.test", ca),
            PeerCheck(pins=("A" * 43 + "=", ours.pin)),
            PeerCheck("up.test", ca, (ours.pin,)),
        ):
            outcome = await ask(port, good)
            assert outcome.rcode == "NOERROR", outcome
        for bad, words in (
            (PeerCheck("down.test", ca), "Hostname mismatch"),
            (PeerCheck("up.test", str(other.path)), "unable to get local issuer certificate"),
            (PeerCheck("up.test"), "unable to get local issuer certificate"),
            (PeerCheck(pins=("A" * 43 + "=",)), f"has the pin {ours.pin}, which is not configured"),
            (PeerCheck("up.test", ca, ("A" * 43 + "=",)), ours.pin),
        ):
            outcome = await ask(port, bad)
            assert (outcome.answer, outcome.tls_fault) == (None, TlsFault.CERTIFICATE)
            assert words in outcome.failure


async def test_dates(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    late = authority.issue("up.test", begins=timedelta(days=-9), ends=timedelta(hours=-1), file="late")
    early = authority.issue("up.test", begins=timedelta(days=1), file="early")
    for certificate, words in ((late, "certificate has expired"), (early, "certificate is not yet valid")):
        async with tls_server(certificate) as port:
            outcome = await ask(port, PeerCheck("up.test", str(authority.path)))
            assert outcome.tls_fault is TlsFault.CERTIFICATE
            assert words in outcome.failure
            # RFC 7858: a pinned key is the peer's, whatever the dates.
            assert (await ask(port, PeerCheck(pins=(certificate.pin,)))).rcode == "NOERROR"


async def test_a_peer_s_own_certificate_can_be_its_authority(tmp_path: Path) -> None:
    own = self_signed(tmp_path, "up.test")
    async with tls_server(own) as port:
        assert (await ask(port, PeerCheck("up.test", str(own.certificate)))).rcode == "NOERROR"


async def test_the_peer_refuses_our_certificate(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    there, good, bad = authority.issue("up.test"), authority.issue("us.test"), other.issue("bad.test")
    check = PeerCheck("up.test", str(authority.path))
    async with tls_server(there, requires=authority.path) as port:
        assert (await ask(port, check, identity(good))).rcode == "NOERROR"
        outcome = await ask(port, check)
        assert outcome.answer is None
        assert outcome.tls_fault in (TlsFault.OUR_CERTIFICATE, TlsFault.CLOSED)
        assert (await ask(port, check, identity(bad))).answer is None
        gone = Identity(str(tmp_path / "gone"), str(tmp_path / "gone"))
        outcome = await ask(port, check, gone)
        assert outcome.tls_fault is TlsFault.NO_IDENTITY
        assert outcome.failure.startswith("on this host: ")


async def test_a_peer_that_stalls_or_speaks_no_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tls_client, "HANDSHAKE_S", 0.2)
    with stalling_server() as port:
        outcome = await ask(port, PeerCheck("up.test"))
        assert (outcome.tls_fault, outcome.failure) == (
            TlsFault.STALLED,
            "the TLS handshake was not finished in time",
        )
    outcome = await ask(port, PeerCheck("up.test"))  # nothing listens there now
    assert outcome.tls_fault is None
    assert "refused" in outcome.failure
    zone = FakeZone(FakeVersion(small_zone(5)), ZoneAccess.make(["127.0.0.1"]))
    async with serving(zone) as plain:
        outcome = await ask(plain.addresses[0][1], PeerCheck("up.test"))
        assert outcome.tls_fault in (TlsFault.STALLED, TlsFault.CLOSED)


async def test_connections_and_sessions_are_reused(tmp_path: Path) -> None:
    own = self_signed(tmp_path, "up.test")
    wire = question(NAME, dns.rdatatype.SOA).to_wire()
    async with tls_server(own) as port:
        target = TlsTarget("127.0.0.1", port, PeerCheck(pins=(own.pin,)))
        tls = TlsClient(lambda: 0.0)
        assert [(await tls.ask(target, wire, 4096))[1] for _ in range(3)] == [False, True, True]
        await tls.close()
        async with tls.connection(target) as again:
            assert (again.used, again.resumed) == (False, True)
        await tls.close()


async def test_a_kept_connection_that_was_closed_is_replaced(tmp_path: Path) -> None:
    own = self_signed(tmp_path, "up.test")
    async with tls_server(own, Limits(idle_s=0.05)) as port:
        check = PeerCheck(pins=(own.pin,))
        for _ in range(3):
            assert (await ask(port, check)).rcode == "NOERROR"
            await asyncio.sleep(0.1)


def test_certificates_of_any_octets_are_judged_in_words(tmp_path: Path) -> None:
    """Whatever a peer shows, the judgement is a text, and only the pinned key is accepted."""
    own = self_signed(tmp_path, "up.test")
    pem = own.certificate.read_bytes()
    der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    checks = PeerCheck(pins=(own.pin,)), PeerCheck("up.test", str(own.certificate))
    rng = random.Random(1)
    for number in range(1500):
        octets = bytearray(der)
        for _ in range(1 + number % 4):
            octets[rng.randrange(len(octets))] = rng.randrange(256)
        shown = bytes(octets[: rng.choice((len(octets), rng.randrange(len(octets))))])
        for check in checks:
            for judge in (judge_client, judge_verified):
                verdict = judge(shown, check, 0.0)
                assert isinstance(verdict, str)
                assert verdict or pin_of(shown) == own.pin


async def test_a_connection_that_ends_with_the_request_is_replaced_once(tmp_path: Path) -> None:
    """The peer closes as the second request comes: it is sent again on a new connection, not lost."""
    own = self_signed(tmp_path, "up.test")
    served: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(served)
        served.append(0)
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while served[number] < 1 or number:
                size = int.from_bytes(await reader.readexactly(2), "big")
                wire = await reader.readexactly(size)
                writer.write(size.to_bytes(2, "big") + wire)
                served[number] += 1
            await reader.readexactly(2)
        writer.transport.abort()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context(identity(own), ()))
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        tls, target = (
            TlsClient(lambda: 0.0),
            TlsTarget("127.0.0.1", port, PeerCheck(pins=(own.pin,))),
        )
        for _ in range(3):
            assert (await tls.ask(target, b"id and more", 4096))[0] == b"id and more"
        assert served == [1, 2]
        await tls.close()


async def test_a_renewed_file_counts_at_once(tmp_path: Path) -> None:
    """A connection by the earlier authority is not used again."""
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.path.read_bytes())
    async with tls_server(authority.issue("up.test")) as port:
        check = PeerCheck("up.test", str(ca))
        assert (await ask(port, check)).rcode == "NOERROR"
        ca.write_bytes(other.path.read_bytes())
        assert (await ask(port, check)).tls_fault is TlsFault.CERTIFICATE
