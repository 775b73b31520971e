"""What a web server gives out is compared, and no server can hold the look up."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from dnssecd.config.model import SmimeConfig
from dnssecd.daemon.anchors import look
from dnssecd.daemon.anchors.files import directory_name, write_files
from tests.peers.certificates import Authority

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
CONTENT = b"small. IN DS 1 13 2 00\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    found = tmp_path / directory_name("small.test.")
    assert write_files(found, {"anchors.ds": CONTENT}, SmimeConfig(), 0)
    return found


def differences(directory: Path, answer: Answer) -> list[str]:
    """What is found at a server that answers so."""

    async def work() -> list[str]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            return await look.differences(f"http://127.0.0.1:{port}/a%20b/small.test", directory)

    return asyncio.run(work())


def answering(text: bytes, *, close: bool = True) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        assert request.startswith(b"GET /a%20b/small.test/anchors.ds HTTP/1.0\r\nHost: 127.0.0.1:")
        writer.write(text)
        await writer.drain()
        if not close:
            await reader.read()  # until the client leaves: Python 3.13 closes a writer that nothing refers to
        writer.close()

    return answer


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n" + CONTENT, ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(CONTENT), CONTENT), ""),
        (b"HTTP/1.0 200 OK\r\n\r\n" + CONTENT[:-1], "is not what dnssecd wrote"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + CONTENT + b"x", "is not what dnssecd wrote"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + bytes(2 << 20), "is not what dnssecd wrote"),
        (b"HTTP/1.0 404 Not Found\r\n\r\n", "the server answers 404"),
        (b"HTTP/1.0 301 Moved\r\nLocation: http://127.0.0.1/\r\n\r\n", "the server answers 301"),
    ],
)
def test_what_is_served_is_compared(directory: Path, text: bytes, found: str) -> None:
    faults = differences(directory, answering(text))
    assert len(faults) == (1 if found else 0)
    assert found in "".join(faults)


def test_a_content_length_ends_the_content(directory: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CONTENT)
    assert differences(directory, answering(head + CONTENT, close=False)) == []


@pytest.mark.parametrize(
    "text", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nxx", b"220 mail\r\n\r\n", b"x" * 20_000]
)
def test_a_server_that_speaks_otherwise_does_not_answer(directory: Path, text: bytes) -> None:
    with pytest.raises(look.Unreachable):
        differences(directory, answering(text))


def test_a_server_that_drips_is_left(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "DEADLINE_S", 0.2)
    with pytest.raises(look.Unreachable, match="no answer within"):
        differences(directory, answering(b"HTTP/1.0 200 OK\r\n", close=False))


@pytest.mark.parametrize("trusted", [True, False])
def test_the_certificate_is_checked(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool
) -> None:
    authority = Authority(tmp_path / "ca")
    certificate = authority.issue("127.0.0.1")
    other = Authority(tmp_path / "other")
    monkeypatch.setenv("SSL_CERT_FILE", str((authority if trusted else other).path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)

    async def work() -> list[str]:
        answer = answering(b"HTTP/1.0 200 OK\r\n\r\n" + CONTENT)
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        async with server:
            return await look.differences(f"https://127.0.0.1:{port}/a%20b/small.test", directory)

    if trusted:
        assert asyncio.run(work()) == []
    else:
        with pytest.raises(look.Unreachable, match="its certificate is not trusted"):
            asyncio.run(work())


def test_no_server(directory: Path) -> None:
    with pytest.raises(look.Unreachable):
        asyncio.run(look.differences("http://127.0.0.1:1/x", directory))


def test_a_directory_has_a_name_of_its_own() -> None:
    names = [directory_name(zone) for zone in (".", "root.", "a/b.test.", "a.b.test.", "%2E.")]
    assert len(set(names)) == len(names)
    assert not any("/" in name for name in names)
