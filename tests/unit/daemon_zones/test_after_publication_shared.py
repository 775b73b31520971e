"""What follows a publication: by the owner of a zone that nodes share, and of very many zones at a time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dnssecd.daemon.zones import after_publication
from dnssecd.daemon.zones.after_publication import POSTS_MAX, FollowUpRoom, FollowUps
from dnssecd.daemon.zones.mailbox import Mailbox


def zone(*, owned: bool, file: Path | None = None) -> Any:
    config = SimpleNamespace(published=("/bin/false",), output_file=file)
    return SimpleNamespace(config=config, owned=owned, serial=7, gone=False, name="a.", published_at=1.0)


def follow_ups() -> FollowUps:
    return FollowUps(SimpleNamespace(), SimpleNamespace(), SimpleNamespace(), Mailbox())  # type: ignore[arg-type]


@pytest.mark.parametrize("owned", [True, False])
def test_the_owner_runs_the_command(owned: bool) -> None:
    assert follow_ups()._is_due(zone(owned=owned), FollowUpRoom()) is owned


def test_a_follower_writes_its_file_and_runs_nothing() -> None:
    follower = zone(owned=False, file=Path("/f"))
    room = FollowUpRoom()
    assert follow_ups()._is_due(follower, room)
    assert asyncio.run(follow_ups()._tell(follower, room))
    assert room.told is None, "if it takes the zone over, it runs the command"


@pytest.mark.parametrize(("word", "posted"), [("https://h.example/", True), ("httpd-note", False)])
def test_only_a_url_is_a_webhook(monkeypatch: pytest.MonkeyPatch, word: str, posted: bool) -> None:
    done: list[str] = []

    async def post(command: tuple[str, ...], document: object) -> str:
        done.append("posted")
        return ""

    async def run(command: tuple[str, ...], document: object) -> str:
        done.append("run")
        return ""

    events = SimpleNamespace(resolve=lambda *_: None)
    told = FollowUps(SimpleNamespace(), events, SimpleNamespace(), Mailbox())  # type: ignore[arg-type]
    monkeypatch.setattr(after_publication, "_post", post)
    monkeypatch.setattr(told, "_run", run)
    published = zone(owned=True)
    published.config.published = (word,)
    assert asyncio.run(told._tell(published, FollowUpRoom()))
    assert done == ["posted" if posted else "run"]


async def test_a_server_that_hangs_gets_a_limited_number_of_messages_at_a_time() -> None:
    hanging = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal hanging
        hanging += 1
        await reader.read()  # to its end: it never answers
        writer.close()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    hangs = await asyncio.start_server(serve, "127.0.0.1", 0)
    works = await asyncio.start_server(answer, "127.0.0.1", 0)
    told = follow_ups()

    def posted(server: asyncio.Server) -> asyncio.Task[str]:
        port = server.sockets[0].getsockname()[1]
        return asyncio.create_task(told._post((f"http://127.0.0.1:{port}/",), {"zone": "z.", "serial": 1}))

    waiting = [posted(hangs) for _ in range(3 * POSTS_MAX)]
    async with asyncio.timeout(30):
        while hanging < POSTS_MAX:
            await asyncio.sleep(0.01)
        assert await posted(works) == "", "another server does not wait behind it"
    assert hanging == POSTS_MAX
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for server in (hangs, works):
        server.close()
