"""Random and mutated frames at the key service: its loop turns on, it answers, and no key changes unaccounted."""

import asyncio
import os
import random
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from dnssecd import keyservice_protocol as wp
from dnssecd.keyservice_settings import KeystoreSettings, LimitSettings
from dnssecd.signer import key_file as sealed
from dnssecd.signer.audit import AuditLog
from dnssecd.signer.consent import Consents
from dnssecd.signer.peers import Peer
from dnssecd.signer.registry import Registry
from dnssecd.signer.server import Server, bind_socket
from dnssecd.signer.service import Service
from dnssecd.signer.software import SoftwareStore
from dnssecd.signer.warnings import WarningBook

ZONE = b"\x07example\x00"
OTHER = b"\x05other\x00"
ROUNDS = 150
STALL_S_MAX = 2.0  # the machine that runs the tests is not always idle


@dataclass
class World:
    path: str
    home: Path
    store: SoftwareStore
    audit: AuditLog
    faults: list[dict[str, Any]]
    longest_stall_s: float = 0.0


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    def now() -> float:
        return 1_900_000_000.0

    warnings = WarningBook(now, lambda code, subject, detail: None)
    audit = AuditLog(tmp_path / "audit.log", now)
    audit.open(lambda why: None)
    settings = KeystoreSettings(name="local", type="software", directory=str(tmp_path / "keys"))
    store = SoftwareStore(settings, Registry(tmp_path / "known", derived=True), warnings, now, threads=1)
    await store.start()
    service = Service(
        [store],
        audit,
        warnings,
        asyncio.get_running_loop().time,
        now,
        LimitSettings(),
        Consents(tmp_path / "consent", audit, warnings, now),
    )
    listener, lock = bind_socket(tmp_path / "s.sock", 0o600)
    stop = asyncio.Event()
    with structlog.testing.capture_logs() as logs:
        world = World(str(tmp_path / "s.sock"), tmp_path, store, audit, logs)
        tasks = [
            asyncio.create_task(Server(service, warnings, frozenset(), -1).run(listener, stop)),
            asyncio.create_task(watch(world)),
        ]
        yield world
        stop.set()
        await tasks[0]
        tasks[1].cancel()
    await store.stop()
    audit.close()
    os.close(lock)


async def watch(world: World) -> None:
    """Measure how long the event loop stands still."""
    loop = asyncio.get_running_loop()
    while True:
        before = loop.time()
        await asyncio.sleep(0.01)
        world.longest_stall_s = max(world.longest_stall_s, loop.time() - before - 0.01)


async def ask(path: str, *bodies: bytes) -> list[wp.Reply]:
    """Send frames with these bodies; return the replies until the service closes or is silent."""
    reader, writer = await asyncio.open_unix_connection(path)
    for body in bodies:
        writer.write(len(body).to_bytes(4) + body)
    frames, replies = wp.frame_buffer(), []
    try:
        async with asyncio.timeout(5):
            while len(replies) < len(bodies) and (octets := await reader.read(1 << 20)):
                replies += [wp.decode_reply(body) for body in frames.feed(octets)]
    except (TimeoutError, ConnectionResetError):
        pass
    writer.close()
    return replies


def plausible(random_one: random.Random, key_ids: list[str]) -> list[Any]:
    """A request as raw data: most fields good, often one from the list of bad ones."""
    ids = [*key_ids, "../../planted", "f" * 32, "", "x" * 10_000]
    names = [ZONE, OTHER, b"", b"\x03abc", b"\xff" * 300, b"\0"]
    pick = random_one.choice
    octets = random_one.randbytes(pick([0, 1, 16, 40, 300, 70_000]))
    preimage = (
        struct.pack(">HBBIIIH", pick([1, 48, 65535]), 13, 1, 300, 0, 0, pick([0, 65535])) + ZONE + octets
    )
    number = pick([0, 1, 13, -1, 255, 256, 1 << 40, (1 << 63) - 1])
    return pick([
        ["keys", 2, pick(names), pick(ids)],
        ["generate", 2, pick(names), "ksk", pick([13, 15, number]), "", 0, pick(["", "x"]), number, "", ()],
        ["import", 2, pick(names), "zsk", 13, pick([octets, b"-----BEGIN PRIVATE KEY-----\n" + octets]), "", number],
        ["restore", 2, pick([octets, b'{"format":"dnssecd-key-1"}']), b"a long passphrase"],
        ["export", 2, pick(ids), pick([octets, b"a long passphrase"])],
        ["adopt", 2, pick(names), "zsk", 13, "", pick(["", "zz"]), "label", number],
        ["report", 2, pick(names), pick(ids), preimage, octets[:70]],
        ["bind", 2, pick(names), pick(ids)],
        ["remove", 2, OTHER, pick(ids), number],
        ["trash", 2, pick(ids)],
        ["recover", 2, pick(ids)],
        ["destroy", 2, pick(ids)],
        ["consents", 2],
        ["consent", 2, pick([*ids, "01234567"]), pick([True, 1])],
        ["sign", 2, pick(names), pick(ids), [preimage] * pick([0, 1, 600]), number],
        ["prove", 2, pick(names), pick(ids), octets, number],
        ["audit", 2, number],
        ["bench", 2, "", 13, number, number, 100, number, "", pick([0.0, float("nan"), -1.0])],
        ["test", 2, pick(["", "elsewhere"]), number, 100],
    ])  # fmt: skip


def mutated(random_one: random.Random, body: bytes) -> bytes:
    """Octets changed, cut, or doubled."""
    octets = bytearray(body)
    for _ in range(random_one.randrange(4)):
        octets[random_one.randrange(len(octets))] = random_one.randrange(256)
    return (
        bytes(octets[: random_one.choice([len(octets), random_one.randrange(1, len(octets) + 1)])]) or b"\0"
    )


@pytest.mark.parametrize("seed", range(3))
async def test_no_frame_stops_the_loop(world: World, seed: int) -> None:
    random_one = random.Random(seed)
    made = (await ask(world.path, msgspec.msgpack.encode(wp.GenerateRequest(1, ZONE, "zsk", 13))))[0]
    assert isinstance(made, wp.KeysReply)
    key_ids = [made.keys[0].id]
    for _ in range(ROUNDS):
        body = msgspec.msgpack.encode(plausible(random_one, key_ids))
        if random_one.random() < 0.5:
            body = mutated(random_one, body)
        (reply,) = (await ask(world.path, body))[:1] or [None]
        assert reply is not None, body[:200]
        if isinstance(reply, wp.ErrorReply):
            assert reply.code != "internal", (reply, body[:200])
        status = await ask(world.path, msgspec.msgpack.encode(wp.StatusRequest(9)))
        assert isinstance(status[0], wp.StatusReply)
    assert not [line for line in world.faults if "own fault" in line["event"]]
    assert world.longest_stall_s < STALL_S_MAX
    kept = sealed.read((world.home / "keys" / f"{key_ids[0]}.key").read_bytes()).key
    assert (kept.id, kept.dnskey) == (key_ids[0], made.keys[0].dnskey)
    accounted = {str(entry.fields.get("key")) for entry in (await audit_of(world)).entries}
    assert {path.stem for path in (world.home / "keys").glob("*.key")} <= accounted
    assert {path.name for path in world.home.iterdir()} <= {
        "audit.log", "audit.log.head", "keys", "known", "s.sock", "s.sock.lock",
    }  # fmt: skip


async def audit_of(world: World) -> wp.AuditReply:
    (reply,) = await ask(world.path, msgspec.msgpack.encode(wp.AuditRequest(3, 1000)))
    assert isinstance(reply, wp.AuditReply)
    assert reply.ok, reply.detail
    return reply


async def test_half_a_frame_has_a_deadline(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dnssecd.signer.server.FRAME_DEADLINE_S", 0.2)
    reader, writer = await asyncio.open_unix_connection(world.path)
    writer.write(b"\0\0\1\0half")
    async with asyncio.timeout(10):
        (body,) = wp.frame_buffer().feed(await reader.read(4096))
        assert await reader.read(4096) == b""
    assert "not complete within" in str(wp.decode_reply(body))
    writer.close()


async def test_a_connection_that_is_silent_between_frames_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dnssecd.signer.server.FRAME_DEADLINE_S", 0.1)
    reader, writer = await asyncio.open_unix_connection(world.path)
    for _ in range(2):
        await asyncio.sleep(0.3)
        writer.write(wp.encode_frame(wp.StatusRequest(2)))
        assert await reader.read(65536)
    writer.close()


async def test_no_user_takes_all_places(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    uids = iter([4242] * 97 + [4243] * 17 + [0] * 17)
    monkeypatch.setattr(
        "dnssecd.signer.server.identify", lambda *given: Peer(next(uids), frozenset({"daemon"}))
    )
    taken: list[socket.socket] = []
    answers: list[str] = []
    for _ in range(131):
        connection = socket.socket(socket.AF_UNIX)
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connection, world.path)
        await loop.sock_sendall(connection, wp.encode_frame(wp.StatusRequest(2)))
        (body,) = wp.frame_buffer().feed(await loop.sock_recv(connection, 1 << 16))
        reply = wp.decode_reply(body)
        answers.append(reply.code if isinstance(reply, wp.ErrorReply) else "served")
        taken.append(connection)
    assert answers == ["served"] * 96 + ["busy"] + ["served"] * 16 + ["busy"] + ["served"] * 16 + ["busy"]
    for connection in taken:
        connection.close()


async def test_a_measurement_ends_with_its_client(world: World) -> None:
    _, writer = await asyncio.open_unix_connection(world.path)
    writer.write(wp.encode_frame(wp.BenchRequest(2, "", 13, 1_000_000, 64, 600_000)))
    async with asyncio.timeout(10):
        while not list((world.home / "keys").glob("*.key")):
            await asyncio.sleep(0.02)
        # Meanwhile keys are made: the measurement holds up nothing.
        (made,) = await ask(world.path, msgspec.msgpack.encode(wp.GenerateRequest(2, ZONE, "zsk", 13)))
        assert isinstance(made, wp.KeysReply)
        (second,) = await ask(world.path, msgspec.msgpack.encode(wp.BenchRequest(2)))
        assert isinstance(second, wp.ErrorReply)
        assert second.code == "busy"
        writer.close()
        while len(list((world.home / "keys").glob("*.key"))) > 1:
            await asyncio.sleep(0.02)


async def test_proofs_without_end_are_few_entries(world: World) -> None:
    (made,) = await ask(world.path, msgspec.msgpack.encode(wp.GenerateRequest(2, ZONE, "zsk", 13)))
    assert isinstance(made, wp.KeysReply)
    proof = msgspec.msgpack.encode(wp.ProveRequest(3, ZONE, made.keys[0].id, b"n" * 16))
    replies = await ask(world.path, *[proof] * 200)
    assert len(replies) == 200
    assert all(isinstance(reply, wp.ProveReply) for reply in replies)
    entries = [entry for entry in (await audit_of(world)).entries if entry.event.startswith("proved")]
    assert [entry.event for entry in entries] == ["proved", "proved again"]
    assert entries[1].fields["times"] == 199


async def test_a_full_disk_makes_no_key(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(event: str, entries: object) -> None:
        raise OSError(28, "No space left on device", "audit.log")

    monkeypatch.setattr(world.audit, "append_all", full)
    (reply,) = await ask(world.path, msgspec.msgpack.encode(wp.GenerateRequest(2, ZONE, "zsk", 13)))
    assert isinstance(reply, wp.ErrorReply)
    assert "No space left" in reply.message
    assert not list((world.home / "keys").glob("*.key"))
    assert not list((world.home / "known").glob("*.json"))
    monkeypatch.undo()
