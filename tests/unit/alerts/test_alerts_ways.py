"""Webhook and command against real sockets and processes, each in its good and bad ways."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from dnssecd.config.model import Secret, WebhookConfig
from dnssecd.ops.alerts.channel_command import CommandChannel
from dnssecd.ops.alerts.channel_webhook import WebhookChannel
from dnssecd.ops.alerts.channels import REASON_MAX, ChannelDown, Deferred, Parcel, Rejected

PARCEL = Parcel("<id@example.com>", b'{"kind":"test"}')
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def http(handler: Handler) -> AsyncIterator[int]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def answering(answer: bytes, seen: list[bytes]) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        seen.append(head + await reader.readexactly(length))
        writer.write(answer)
        await writer.drain()
        writer.close()

    return handler


def webhook(
    port: int, path: str = "/hook?token=geheim", bearer: bytes = b"s3cret", **more: float
) -> WebhookChannel:
    return WebhookChannel(WebhookConfig(f"http://127.0.0.1:{port}{path}", Secret(bearer)), **more)  # type: ignore[arg-type]


async def test_webhook_posts_json_with_its_token() -> None:
    seen: list[bytes] = []
    async with http(answering(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", seen)) as port:
        await webhook(port, "/hook ü?a=b c").send(PARCEL)
    head, _, body = seen[0].partition(b"\r\n\r\n")
    lines = head.decode("ascii").split("\r\n")
    assert lines[0] == "POST /hook%20%C3%BC?a=b%20c HTTP/1.1"
    assert {"Authorization: Bearer s3cret", f"Host: 127.0.0.1:{port}", "Connection: close"} <= set(lines)
    assert "Idempotency-Key: <id@example.com>" in lines
    assert body == PARCEL.body


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\n\r\n", ChannelDown, "redirects"),
        (b"HTTP/1.1 401 No\r\n\r\n", ChannelDown, "token"),
        (b"HTTP/1.1 404 No\r\n\r\n", ChannelDown, "404"),
        (b"HTTP/1.1 422 No\r\n\r\n", Rejected, "422"),
        (b"HTTP/1.1 500 Oops\r\n\r\n", Deferred, "500"),
        (b"HTTP/1.1 503 Busy\r\n\r\n", ChannelDown, "503"),
        (b"220 mail.example.com ESMTP\r\n\r\n", ChannelDown, "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 50_000, ChannelDown, "too long"),
        (b"HTTP/1.1 2", ChannelDown, "without an answer"),
        (b"", ChannelDown, "without an answer"),
    ],
)
async def test_webhook_judges_answers(answer: bytes, error: type[Exception], says: str) -> None:
    async with http(answering(answer, [])) as port:
        with pytest.raises(error, match=says) as raised:
            await webhook(port).send(PARCEL)
    assert "geheim" not in str(raised.value), "the URL's token"
    assert "s3cret" not in str(raised.value)


async def test_webhook_waits_as_long_as_requested() -> None:
    async with http(answering(b"HTTP/1.1 429 Slow\r\nRetry-After: 99999999\r\n\r\n", [])) as port:
        with pytest.raises(ChannelDown) as raised:
            await webhook(port).send(PARCEL)
    assert raised.value.retry_after_s == 3600


async def test_webhook_that_says_nothing_or_drips_ends_at_the_deadline() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while not writer.is_closing():
                writer.write(b"H")
                await writer.drain()
                await asyncio.sleep(0.01)

    async with http(drip) as port:
        with pytest.raises(ChannelDown, match="did not answer"):
            await webhook(port, deadline_s=0.2).send(PARCEL)


async def test_webhook_down_and_bad_token() -> None:
    async with http(answering(b"", [])) as port:
        pass
    with pytest.raises(ChannelDown):
        await webhook(port).send(PARCEL)
    async with http(answering(b"", [])) as port:
        with pytest.raises(ChannelDown, match="token contains"):
            await webhook(port, bearer=b"a\r\nX: y").send(PARCEL)


def script(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-I", "-c", code, *arguments]


async def test_command_gets_json_and_no_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/x")
    out = tmp_path / "out"
    code = "import sys, os, json\n"
    code += "json.dump([json.load(sys.stdin), sys.argv[2], sorted(os.environ)], open(sys.argv[1],'w'))"
    await CommandChannel(script(code, str(out), "$(id); `id`")).send(PARCEL)
    body, argument, environment = json.loads(out.read_text())
    assert body == {"kind": "test"}
    assert argument == "$(id); `id`"
    assert not {"CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET"} & set(environment)


async def test_command_need_not_read_and_may_say_much() -> None:
    big = Parcel("<x>", b"x" * 2**20)
    await CommandChannel(script("print('x' * 3_000_000)")).send(big)
    with pytest.raises(Deferred) as raised:
        await CommandChannel(script("print('y' * 3_000_000); raise SystemExit(3)")).send(big)
    assert "status 3: yyy" in str(raised.value)
    assert len(str(raised.value)) == REASON_MAX


async def test_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = (
        "import os,sys,time\nchild = os.fork()\n"
        "open(sys.argv[1], 'a').write(f'{os.getpid()}\\n')\n"
        "time.sleep(60)"
    )
    way = CommandChannel(script(code, str(pids)), deadline_s=2.0)
    with pytest.raises(Deferred, match="was killed"):
        await way.send(PARCEL)
    patience = time.monotonic() + 10  # a process that got SIGKILL is gone when the kernel gets round to it
    while running := [pid for pid in pids.read_text().split() if _runs(int(pid))]:
        assert time.monotonic() < patience, running
        await asyncio.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text() and os.kill(pid, 0) is None
    except OSError:
        return False


async def test_command_that_is_not_there() -> None:
    with pytest.raises(ChannelDown, match="/nonexistent/page cannot be run"):
        await CommandChannel(["/nonexistent/page", "token"]).send(PARCEL)
