"""The control socket: answers, roles, and clients that misbehave."""

import asyncio
import contextlib
import json
import os
import socket
import stat
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dnssecd.control import peer as control_peer
from dnssecd.control import server as control
from dnssecd.control.client import Failed, Unreachable, call
from dnssecd.control.command import Call, Command, CommandTable, Refused
from dnssecd.control.messages.base import BadField, Request, read_request
from dnssecd.control.messages.keys import CheckAudit
from dnssecd.control.messages.zones import ShowHistory
from dnssecd.control.server import ControlServer
from tests.commands import Anything, request_named


async def echo(call: Call[Any]) -> Anything:
    return Anything(args=call.args, role=sorted(call.caller.roles), uid=call.caller.uid)


async def broken(call: Call[Any]) -> object:
    raise OSError("no space left")


async def refuse(call: Call[Any]) -> object:
    raise Refused("there is no zone x.", 'add [zone."x."]', detail=[1, 2])


async def stream(call: Call[Any]) -> object:
    await call.progress(1, 2, "half")
    await call.chunk("a" * 300_000)
    await call.chunk("end")
    return Anything(done=True)


async def opaque(call: Call[Any]) -> object:
    return object()


class Waiter:
    """A handler that waits until it is released, and knows whether it was given up."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.given_up = asyncio.Event()

    async def __call__(self, call: Call[Any]) -> object:
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.given_up.set()
        return None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c.sock"


@pytest.fixture
def seen() -> list[tuple[str, str]]:
    return []


@pytest.fixture
async def waiter() -> Waiter:
    return Waiter()


@pytest.fixture
async def server(path: Path, waiter: Waiter, seen: list[tuple[str, str]]) -> AsyncIterator[ControlServer]:
    commands = CommandTable(
        [
            Command(request_named("echo"), echo),
            Command(request_named("change", changes=True), echo),
            Command(request_named("broken"), broken),
            Command(request_named("refuse"), refuse),
            Command(request_named("stream"), stream),
            Command(request_named("opaque"), opaque),
            Command(request_named("wait"), waiter, timeout=None),
            Command(request_named("slow"), waiter, timeout=0.05),
        ]
    )
    server = ControlServer(path, commands, lambda command, result: seen.append((command, result)))
    await server.start()
    yield server
    await server.stop()


async def ask(path: Path, command: str, args: dict[str, Any] | None = None, **more: Any) -> Any:
    return await asyncio.to_thread(call, str(path), command, args, **more)


async def raw(path: Path, data: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(data)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


def frame(body: bytes) -> bytes:
    return struct.pack("!I", len(body)) + body


@pytest.mark.usefixtures("server")
async def test_a_request_is_answered(path: Path, seen: list[tuple[str, str]]) -> None:
    answer = await ask(path, "echo", {"zone": "example.com.", "n": 3, "list": ["a", None]})
    assert answer["args"] == {"zone": "example.com.", "n": 3, "list": ["a", None]}
    assert (answer["role"], answer["uid"]) == (sorted(control_peer.ALL_ROLES), os.getuid())
    assert seen == [("echo", "ok")]
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


@pytest.mark.usefixtures("server")
async def test_errors_say_what_and_what_next(path: Path, seen: list[tuple[str, str]]) -> None:
    with pytest.raises(Failed) as caught:
        await ask(path, "refuse")
    assert (caught.value.what, caught.value.exit, caught.value.detail) == ("there is no zone x.", 1, [1, 2])
    with pytest.raises(Failed, match="no space left"):
        await ask(path, "broken")
    with pytest.raises(Failed, match='no command "nonsense"'):
        await ask(path, "nonsense")
    with pytest.raises(Failed, match="opaque failed"):
        await ask(path, "opaque")
    with pytest.raises(Failed, match="did not finish within"):
        await ask(path, "slow")
    assert [pair[0] for pair in seen] == ["refuse", "broken", "OTHER", "opaque", "slow"]


@pytest.mark.usefixtures("server")
async def test_streams(path: Path) -> None:
    chunks: list[str] = []
    progress: list[tuple[float, float | None, str]] = []
    answer = await ask(
        path,
        "stream",
        on_chunk=chunks.append,
        on_progress=lambda *said: progress.append(said),
    )
    assert answer == {"done": True}
    assert "".join(chunks) == "a" * 300_000 + "end"
    assert progress == [(1, 2, "half")]


@pytest.mark.usefixtures("server")
async def test_several_requests_on_one_connection(path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(str(path))
    for number in range(3):
        writer.write(frame(json.dumps({"command": "echo", "args": {"n": number}}).encode()))
        (length,) = struct.unpack("!I", await reader.readexactly(4))
        assert json.loads(await reader.readexactly(length))["result"]["args"] == {"n": number}
    writer.close()


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("data", "what"),
    [
        (struct.pack("!I", 2**32 - 1), "too long"),
        (struct.pack("!I", control.REQUEST_MAX + 1), "too long"),
    ],
)
async def test_huge_lengths_are_refused_at_once(path: Path, data: bytes, what: str) -> None:
    answer = await raw(path, data + b"x" * 1000)
    assert what in json.loads(answer[4:])["error"]["what"]


DEEP = 200_000


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b"null",
        b'{"command": 1}',
        b'{"args": {}}',
        b'{"command": "echo", "args": {"x": [[1]]}}',
        b'{"command": "echo", "args": {"x": {"y": 1}}}',
        b'{"command": "echo", "extra": 1}',
        b'{"command": "echo", "args": ' + b"[" * DEEP + b"]" * DEEP + b"}",
        b'{"command": "echo", "args": {"x": ' + b"[" * DEEP + b"]" * DEEP + b"}}",
        b'{"command": "echo", "deep": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
        b'{"command": "\xff"}',
    ],
)
async def test_requests_that_cannot_be_read(path: Path, body: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(frame(body))
    (length,) = struct.unpack("!I", await asyncio.wait_for(reader.readexactly(4), 10))
    answer = json.loads(await reader.readexactly(length))
    assert answer["exit"] == 2
    assert answer["error"]["remedy"]
    writer.close()
    assert await ask(path, "echo")


@pytest.mark.usefixtures("server")
async def test_a_client_that_trickles_is_cut_off(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "IDLE_S", 0.1)
    assert await raw(path, struct.pack("!I", 100) + b"{") == b""
    assert await raw(path, b"\0") == b""
    assert await raw(path, b"") == b""


@pytest.mark.usefixtures("server")
async def test_clients_that_hang_do_not_hold_up_others(path: Path) -> None:
    hanging = [await asyncio.open_unix_connection(str(path)) for _ in range(control.CLIENTS_MAX - 1)]
    assert await ask(path, "echo")
    hanging.append(await asyncio.open_unix_connection(str(path)))
    await asyncio.sleep(0)
    with pytest.raises(Failed, match="too many"):
        await ask(path, "echo")
    for _, writer in hanging:
        writer.close()


@pytest.mark.usefixtures("server")
async def test_a_handler_is_given_up_when_its_client_goes(path: Path, waiter: Waiter) -> None:
    _, writer = await asyncio.open_unix_connection(str(path))
    writer.write(frame(b'{"command": "wait"}'))
    await asyncio.wait_for(waiter.started.wait(), 10)
    writer.close()
    await asyncio.wait_for(waiter.given_up.wait(), 10)


async def test_stopping_ends_handlers_and_removes_the_socket(
    path: Path, server: ControlServer, waiter: Waiter
) -> None:
    _, writer = await asyncio.open_unix_connection(str(path))
    writer.write(frame(b'{"command": "wait"}'))
    await asyncio.wait_for(waiter.started.wait(), 10)
    await asyncio.wait_for(server.stop(), 10)
    assert waiter.given_up.is_set()
    assert not path.exists()
    writer.close()
    with pytest.raises(Unreachable, match="no daemon answers"):
        await ask(path, "echo")


@pytest.mark.usefixtures("server")
async def test_readers_may_look_only(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def as_member(connection: socket.socket, groups: control_peer.Groups) -> control_peer.Caller:
        return control_peer.Caller(1, 12345, os.getegid(), frozenset({"viewer"}))

    monkeypatch.setattr(control, "identify", as_member)
    assert (await ask(path, "echo"))["role"] == ["viewer"]
    with pytest.raises(Failed, match="uid 12345 may look, not change; change"):
        await ask(path, "change")


@pytest.mark.usefixtures("server")
async def test_strangers_get_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "identify", lambda connection, groups: None)
    with pytest.raises(Failed, match="may not use this socket"):
        await ask(path, "echo")


VIEW, OPERATE, OFFICER, OWN = 1, 2, 3, 9


@pytest.mark.parametrize(
    ("of_user", "groups", "roles"),
    [
        ({OWN}, control_peer.Groups(), {"viewer"}),
        ({5}, control_peer.Groups(), set()),
        ({OWN}, control_peer.Groups(VIEW, OPERATE, OFFICER), set()),
        ({VIEW}, control_peer.Groups(VIEW, OPERATE, OFFICER), {"viewer"}),
        ({OPERATE}, control_peer.Groups(VIEW, OPERATE, OFFICER), {"viewer", "operator"}),
        ({OFFICER}, control_peer.Groups(VIEW, OPERATE, OFFICER), {"viewer", "key_officer"}),
        (
            {OPERATE, OFFICER},
            control_peer.Groups(VIEW, OPERATE, OFFICER),
            {"viewer", "operator", "key_officer"},
        ),
        ({OPERATE}, control_peer.Groups(operator=OPERATE), {"viewer", "operator", "key_officer"}),
        ({OFFICER}, control_peer.Groups(key_officer=OFFICER), {"viewer", "key_officer"}),
    ],
)
def test_roles_by_group(of_user: set[int], groups: control_peer.Groups, roles: set[str]) -> None:
    assert control_peer.assign_roles(of_user, groups, OWN) == roles


@pytest.mark.parametrize(
    ("roles", "allowed"),
    [
        ({"viewer"}, {"look"}),
        ({"viewer", "operator"}, {"look", "change"}),
        ({"viewer", "key_officer"}, {"look", "keys"}),
    ],
)
async def test_each_role_has_its_commands(
    path: Path, roles: set[control_peer.Role], allowed: set[str]
) -> None:
    requests = [
        request_named("look"),
        request_named("change", changes=True),
        request_named("keys", changes=True),
    ]
    requests[2].for_officers = True
    server = ControlServer(path, CommandTable([Command(one, echo) for one in requests]))
    await server.start()
    caller = control_peer.Caller(1, 12345, 1, frozenset(roles))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(control, "identify", lambda connection, groups: caller)
        done = set()
        for one in requests:
            with contextlib.suppress(Failed):
                await ask(path, one.command)
                done.add(one.command)
    await server.stop()
    assert done == allowed


@pytest.mark.parametrize(
    ("uid", "gid", "groups", "role"),
    [
        (0, 0, [], control_peer.ALL_ROLES),
        (54321, 54322, [], None),
        (54321, "own", [], {"viewer"}),
        (54321, 54322, ["own"], {"viewer"}),
    ],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_roles_of_real_processes(
    tmp_path: Path,
    uid: int,
    gid: int | str,
    groups: list[str],
    role: frozenset[str] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    own_group = 54399
    monkeypatch.setattr(os, "getegid", lambda: own_group)
    ours.close()
    theirs.close()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        os.chmod(tmp_path / "s", 0o777)
        os.chmod(tmp_path, 0o755)
        listening.listen()
        before = os.getcwd()
        os.chdir(tmp_path)  # parents of tmp_path are closed to others
        child = os.fork()
        if child == 0:
            os.setgroups([own_group for _ in groups])
            os.setgid(own_group if gid == "own" else int(gid))
            os.setuid(uid)
            client = socket.socket(socket.AF_UNIX)
            client.connect("s")
            client.recv(1)
            os._exit(0)
        os.chdir(before)
        connection, _ = listening.accept()
        caller = control_peer.identify(connection, control_peer.Groups())
        connection.close()
        os.waitpid(child, 0)
    assert (caller.roles if caller else None) == role


async def test_a_stale_socket_is_replaced_but_a_live_one_is_not(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    first = ControlServer(path, CommandTable([Command(request_named("echo"), echo)]))
    await first.start()
    with pytest.raises(FileExistsError, match="another daemon"):
        await ControlServer(path, CommandTable()).start()
    assert await ask(path, "echo")
    path.unlink()
    second = ControlServer(path, CommandTable([Command(request_named("echo"), echo)]))
    await second.start()
    await first.stop()
    assert path.exists(), "the successor's socket is left alone"
    await second.stop()
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="is not a socket"):
        await first.start()
    assert path.read_text() == "precious"


@pytest.mark.parametrize("kind", [ShowHistory, CheckAudit])
def test_a_limit_that_would_mean_everything_is_refused(kind: type[Request[Any]]) -> None:
    for limit in (0, -1):
        with pytest.raises(BadField, match=f"must be an integer, at least 1, not the number {limit}"):
            read_request(kind, {"limit": limit})
