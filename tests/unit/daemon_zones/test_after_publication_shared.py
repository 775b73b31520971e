"""Of a zone that several nodes share only the owner runs the command ``published``; each node writes its own file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dnssecd.daemon.zones import after_publication
from dnssecd.daemon.zones.after_publication import FollowUpRoom, FollowUps
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
