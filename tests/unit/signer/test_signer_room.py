"""A user that sends much at once: its requests are bounded in memory, and others are answered in between."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from dnssecd import keyservice_protocol as wp
from dnssecd.signer import server as server_module
from dnssecd.signer.preimage import RRS_MAX, Permit
from dnssecd.signer.room import Room
from dnssecd.signer.server import Server
from dnssecd.signer.signing import IN_TURN_OCTETS
from tests.unit.signer.preimages import INCEPTION, empty_rrs, wire
from tests.unit.signer.service_world import DAEMON, Bench

ZONE = wire("a.test.")


async def test_more_waits_in_order_until_there_is_room() -> None:
    room, began = Room(10), list[str]()

    async def take(name: str, octets: int) -> None:
        await room.take(octets)
        began.append(name)

    waiting = [asyncio.create_task(take(*each)) for each in (("a", 6), ("b", 6), ("c", 1), ("huge", 50))]
    await asyncio.sleep(0)
    assert began == ["a"], "a small one does not overtake: b would wait without an end"
    room.give(6)
    await asyncio.sleep(0)
    assert began == ["a", "b", "c"]
    room.give(7)
    await asyncio.gather(*waiting)
    assert began[-1] == "huge", "alone"


async def test_room_of_one_that_left_is_given_on() -> None:
    room = Room(10)
    await room.take(10)
    gone, granted = asyncio.create_task(room.take(10)), asyncio.create_task(room.take(10))
    await asyncio.sleep(0)
    room.give(10)
    gone.cancel()
    async with asyncio.timeout(5):
        await granted


async def test_a_large_request_is_checked_in_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)
    bench.time = INCEPTION
    await bench.open()
    key = await bench.key(ZONE)
    large = empty_rrs(key, ZONE, 500, bench.time)
    checked, most = 0, 0
    check: Callable[[Permit, bytes, int], str] = Permit.check

    def count(permit: Permit, preimage: bytes, now: int) -> str:
        nonlocal checked, most
        checked += len(preimage)
        most = max(most, checked)
        return check(permit, preimage, now)

    async def others() -> None:
        nonlocal checked
        while True:
            checked = 0
            await asyncio.sleep(0)

    monkeypatch.setattr(Permit, "check", count)
    turn = asyncio.create_task(others())
    reply = await bench.ask(wp.SignRequest(1, ZONE, key.id, [large] * 200), DAEMON)
    assert isinstance(reply, wp.SignReply)
    refused = await bench.refused(wp.SignRequest(1, ZONE, key.id, [*[large] * 200, large + b"x"]), DAEMON)
    assert refused.code == "refused"
    assert most <= IN_TURN_OCTETS + 2 * len(large)
    turn.cancel()
    await bench.close()


async def test_an_rrset_that_no_message_can_hold_is_refused_soon(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.time = INCEPTION
    await bench.open()
    key = await bench.key(ZONE)
    request = wp.SignRequest(1, ZONE, key.id, [empty_rrs(key, ZONE, RRS_MAX, bench.time)])
    assert isinstance(await bench.ask(request, DAEMON), wp.SignReply)
    request = wp.SignRequest(1, ZONE, key.id, [empty_rrs(key, ZONE, RRS_MAX + 1, bench.time)])
    assert "which no DNS message can hold" in (await bench.refused(request, DAEMON)).message
    await bench.close()


class Service:
    """Answers nothing until it is told; counts what it works on."""

    def __init__(self) -> None:
        self.begun = 0
        self.go_on = asyncio.Event()

    def at_once(self, request: wp.Request) -> None:
        return None

    async def answer(self, request: wp.Request, lane: int, peer: object) -> wp.Reply:
        self.begun += 1
        await self.go_on.wait()
        return wp.DoneReply(request.id, "")


class Busy:
    """A server with room for 1 MiB, and clients that send a frame again and again."""

    def __init__(self, home: Path, frame: bytes, clients: int, frames: int) -> None:
        self.service, self._stop = Service(), asyncio.Event()
        own = frozenset({os.geteuid()})
        server = Server(cast(Any, self.service), cast(Any, None), own, -1)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(home / "s"))
        listener.listen()
        self._running = asyncio.create_task(server.run(listener, self._stop))
        self.clients = [
            asyncio.create_task(self._send(str(home / "s"), frame, frames)) for _ in range(clients)
        ]

    @staticmethod
    async def _send(path: str, frame: bytes, frames: int) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        sending = asyncio.gather(*(_write(writer, frame) for _ in range(frames)))
        for _ in range(frames):
            await reader.readexactly(int.from_bytes(await reader.readexactly(4)))
        await sending
        writer.close()

    async def end(self) -> None:
        self._stop.set()
        await self._running


async def _write(writer: asyncio.StreamWriter, frame: bytes) -> None:
    writer.write(frame)
    await writer.drain()


@pytest.fixture
def small_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "Room", partial(Room, 1 << 20))


@pytest.mark.usefixtures("small_room")
async def test_what_waits_on_all_connections_of_a_user_is_bounded(tmp_path: Path) -> None:
    """It was 4 MiB for each of 16 places of each connection, while requests wait for their check or for one another."""
    frame = wp.encode_frame(wp.SignRequest(1, ZONE, "a" * 32, [bytes(300_000)]))
    busy = Busy(tmp_path, frame, 6, 4)
    await _quiet(busy.service)
    assert busy.service.begun == 3
    busy.service.go_on.set()
    async with asyncio.timeout(10):
        await asyncio.gather(*busy.clients)
    assert busy.service.begun == 24
    await busy.end()


@pytest.mark.usefixtures("small_room")
async def test_replies_that_may_be_large_have_room_reserved(tmp_path: Path) -> None:
    busy = Busy(tmp_path, wp.encode_frame(wp.AuditRequest(1)), 4, 4)
    await _quiet(busy.service)
    assert busy.service.begun == 1, "more than all of the room is alone"
    busy.service.go_on.set()
    async with asyncio.timeout(10):
        await asyncio.gather(*busy.clients)
    await busy.end()


@pytest.mark.usefixtures("small_room")
async def test_requests_that_need_more_room_than_their_frames_do_not_wait_for_one_another(
    tmp_path: Path,
) -> None:
    """Else a client could leave the key service without room for its user, and end."""
    frame = wp.encode_frame(wp.KeysRequest(1, ZONE, also=(ZONE,) * 40_000))
    busy = Busy(tmp_path, frame, 6, 3)
    busy.service.go_on.set()
    async with asyncio.timeout(10):
        await asyncio.gather(*busy.clients)
    await busy.end()


async def _quiet(service: Service) -> None:
    """Wait until nothing more begins."""
    before = -1
    while before < service.begun or not before:
        before = service.begun
        await asyncio.sleep(0.2)
