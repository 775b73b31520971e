"""The history of acts: what goes into it, what never does, and what a broken disk does to it."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dnssecd.clock import FakeClock
from dnssecd.control.client import Failed, call
from dnssecd.control.command import Call, Command, CommandTable, Refused
from dnssecd.control.server import ControlServer
from dnssecd.daemon.commands.history import Acts, arguments
from dnssecd.ops.events import EventCore
from dnssecd.store import operator_log as store
from dnssecd.store.operator_log import Act, ActLog
from tests.commands import Anything, request_named

Z = "example.com."


def an_act(number: int) -> Act:
    return Act(1000 + number, "root", 0, f"act {number}", "")


def test_secrets_are_never_written_down() -> None:
    shown = arguments(
        {"zone": Z, "passphrase": "hunter2", "pin": "1234", "Secret": "s", "role": "ksk", "x": None}
    )
    assert shown == "Secret=(not recorded) passphrase=(not recorded) pin=(not recorded) role=ksk"


def test_the_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "ACTS_KEPT", 500)
    acts = ActLog(tmp_path / "acts.sqlite")
    for number in range(1, 1001):
        acts.record(an_act(number), [(Z, number)] if number % 2 else [])
    assert len(acts.of_daemon(10_000)) == 250
    kept = acts.of_zone(Z, 10_000)
    assert (kept[0]["what"], kept[-1]["what"], kept[0]["serial"]) == ("act 999", "act 501", 999)
    acts.close()
    assert os.stat(tmp_path / "acts.sqlite").st_mode & 0o777 == 0o600


def test_what_is_kept_of_the_zones_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "ZONES_KEPT", 3_000)
    acts = ActLog(tmp_path / "acts.sqlite")
    for number in range(10):
        acts.record(an_act(number), [(f"z{zone}.", number) for zone in range(1_000)])
    acts.record(an_act(10), [])
    assert [entry["what"] for entry in acts.of_zone("z7.", 100)] == ["act 9", "act 8", "act 7"]
    assert [entry["what"] for entry in acts.of_daemon(100)] == ["act 10"], (
        "acts on zones are none on the daemon"
    )
    acts.close()


class Office:
    """Acts behind a control socket, with one zone."""

    def __init__(self, home: Path) -> None:
        self.events = EventCore(home / "events.sqlite", FakeClock())
        self.log = ActLog(home / "acts.sqlite")
        zones = {Z: SimpleNamespace(serial=5)}
        self.acts = Acts(self.log, cast(Any, zones), self.events, FakeClock(1_790_000_000))
        self.path = home / "c"

    def server(self, **handlers: Any) -> ControlServer:
        commands = [Command(request_named(name, changes=True), handler) for name, handler in handlers.items()]
        return ControlServer(self.path, CommandTable(commands), record=self.acts.record)

    def close(self) -> None:
        self.log.close()
        self.events.close()


async def test_an_action_that_fails_or_is_cancelled_is_recorded_too(tmp_path: Path) -> None:
    office = Office(tmp_path)
    begun = asyncio.Event()

    async def faulty(call: Call[Any]) -> object:
        raise RuntimeError("our own bug")

    async def refuse(call: Call[Any]) -> object:
        raise Refused("not now", "wait")

    async def endless(call: Call[Any]) -> object:
        begun.set()
        await asyncio.Event().wait()
        return None

    server = office.server(faulty=faulty, refuse=refuse, endless=endless)
    await server.start()
    for command in ("faulty", "refuse"):
        with pytest.raises(Failed):
            await asyncio.to_thread(call, str(office.path), command, {"zone": "EXAMPLE.com"})
    _, writer = await asyncio.open_unix_connection(str(office.path))
    body = b'{"command": "endless", "args": {}}'
    writer.write(len(body).to_bytes(4, "big") + body)
    await begun.wait()
    writer.close()
    async with asyncio.timeout(20):
        while not office.log.of_daemon(10):
            await asyncio.sleep(0.05)
    await server.stop()
    assert [entry["detail"] for entry in office.log.of_zone(Z, 10)] == [
        "refused: not now",
        "failed: RuntimeError: our own bug",
    ]
    assert [entry["serial"] for entry in office.log.of_zone(Z, 10)] == [5, 5]
    assert "client disconnected" in str(office.log.of_daemon(10)[0]["detail"])
    office.close()


async def test_what_cannot_be_recorded_is_an_event_and_the_act_is_answered(tmp_path: Path) -> None:
    office = Office(tmp_path)

    async def done(call: Call[Any]) -> object:
        return Anything(done=True)

    server = office.server(done=done)
    await server.start()
    office.log.close()
    assert await asyncio.to_thread(call, str(office.path), "done", {}) == {"done": True}
    assert office.events.is_firing("store-failed", None, "acts")
    await server.stop()
    office.events.close()


async def test_what_a_command_notes_is_recorded_with_it_even_if_it_fails_then(tmp_path: Path) -> None:
    office = Office(tmp_path)

    async def generate(call: Call[Any]) -> object:
        call.note("key generated", "zsk 4711 in key store local")
        raise Refused("the key store is full", "make room")

    server = office.server(generate=generate)
    await server.start()
    with pytest.raises(Failed):
        await asyncio.to_thread(call, str(office.path), "generate", {"zone": Z})
    await server.stop()
    assert [(entry["what"], entry["detail"]) for entry in await office.acts.of(Z, 10)] == [
        ("generate", "refused: the key store is full"),
        ("key generated", "zsk 4711 in key store local"),
    ]
    office.close()


def test_threads_that_record_at_once_wait_for_one_another(tmp_path: Path) -> None:
    with closing(ActLog(tmp_path / "acts.sqlite")) as log, ThreadPoolExecutor(4) as pool:
        one = Act(1, "root", 0, "config reload", "")
        list(pool.map(lambda number: log.record(one, [(f"z{number}.", number)]), range(200)))
        assert len(log.of_zone("z7.", 5)) == 1
