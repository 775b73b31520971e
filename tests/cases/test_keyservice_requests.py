"""The key service believes nothing: what a stranger, and the daemon's user taken over, can have it do."""

import os
import secrets
import signal
import socket
import struct
import time
from collections.abc import Iterator

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dnssecd import keyservice_protocol as wp
from dnssecd.signer import algorithms, key_file
from tests.cases.keyservice_world import (
    DAEMON,
    LINK,
    OTHER,
    PASSPHRASE,
    SIGNER,
    STRANGER,
    ZONE,
    KeyService,
    as_daemon,
    as_user,
    ask,
    key_service,
    told,
)  # fmt: skip

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="processes of several users are started")


@pytest.fixture(scope="module")
def service() -> Iterator[KeyService]:
    with key_service() as running:
        yield running


def made(service: KeyService, zone: bytes, role: wp.Role) -> wp.KeyInfo:
    (reply,) = ask(service.socket, wp.GenerateRequest(2, zone, role, 13, idempotency=role))
    assert isinstance(reply, wp.KeysReply)
    return reply.keys[0]


def sealed_key(key_id: str, zones: tuple[bytes, ...] = (ZONE,), kdf: key_file.Kdf | None = None) -> bytes:
    """A ZSK of the client's own, as a backup has keys."""
    private = ec.generate_private_key(ec.SECP256R1())
    public = algorithms.dnskey_rdata(256, 13, private.public_key())
    key = key_file.Description(key_id, zones, "zsk", 13, 256, 256, public, 1)
    der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    good = key_file.new_kdf()
    content = key_file.seal(key, der, key_file.KeyEncryption(PASSPHRASE), good)
    if kdf is None:
        return content
    return msgspec.json.encode(msgspec.structs.replace(key_file.read(content), kdf=kdf))


def preimage(zone: bytes, covered: int, tag: int, owner: bytes, years: int = 0) -> bytes:
    now = int(time.time())
    labels = owner.count(b"\x01") + owner.count(b"\x07") + owner.count(b"\x03")
    times = now + years * 366 * 86_400, now
    head = struct.pack(">HBBIIIH", covered, 13, labels, 300, *times, tag) + zone
    return head + owner + struct.pack(">HHIH", covered, 1, 300, 4) + b"\0" * 4


def test_strangers_are_refused(service: KeyService) -> None:
    asked = wp.StatusRequest(2)
    assert "PermissionError" in as_user(STRANGER, lambda: told(ask(service.socket, asked)[0]))
    assert as_user(STRANGER, lambda: told(ask(service.socket, asked)[0]), LINK) == "refused"
    assert as_daemon(lambda: told(ask(service.socket, asked)[0])) == "StatusReply"


def test_keys_sign_what_they_are_for(service: KeyService) -> None:
    ksk, zsk = made(service, ZONE, "ksk"), made(service, ZONE, "zsk")

    def signed(zone: bytes, key: wp.KeyInfo, *preimages: bytes) -> list[str]:
        return as_daemon(
            lambda: [
                told(ask(service.socket, wp.SignRequest(2, zone, key.id, [one]))[0]) for one in preimages
            ]
        )

    below, alike = b"\x03sub" + ZONE, b"\x03xsa\x07example\x00"
    others = [preimage(ZONE, rtype, ksk.tag, ZONE) for rtype in (0, 1, 2, 6, 41, 43, 46, 47, 50, 250, 255)]
    assert signed(ZONE, ksk, *others) == ["refused"] * len(others)
    at_apex = [preimage(ZONE, 48, ksk.tag, ZONE), preimage(ZONE, 48, ksk.tag, below)]
    assert signed(ZONE, ksk, *at_apex) == ["SignReply", "refused"]
    assert signed(ZONE, zsk, preimage(ZONE, 1, zsk.tag, below), preimage(ZONE, 48, zsk.tag, ZONE)) == [
        "SignReply", "refused",
    ]  # fmt: skip
    assert (
        signed(ZONE, zsk, preimage(ZONE, 1, zsk.tag, alike), preimage(OTHER, 1, zsk.tag, OTHER))
        == ["refused"] * 2
    )
    assert signed(ZONE, zsk, preimage(ZONE, 1, zsk.tag, ZONE, years=60)) == ["refused"]
    assert signed(OTHER, zsk, preimage(OTHER, 1, zsk.tag, OTHER)) == ["unknown_key"]
    assert as_daemon(lambda: told(ask(service.socket, wp.BindRequest(2, OTHER, zsk.id))[0])) == "refused"


def test_the_daemon_neither_gets_nor_brings_private_keys(service: KeyService) -> None:
    zsk = made(service, ZONE, "zsk")
    asked = (
        wp.ExportRequest(2, zsk.id, PASSPHRASE),
        wp.RestoreRequest(3, sealed_key("f" * 32), PASSPHRASE),
        wp.ImportRequest(4, ZONE, "zsk", 13, b"-----BEGIN PRIVATE KEY-----"),
    )
    assert as_daemon(lambda: [told(reply) for reply in ask(service.socket, *asked)]) == ["refused"] * 3


@pytest.mark.parametrize("place", ["{home}/outside/planted", "../outside/planted", "known", ""])
def test_a_restored_key_names_no_path(service: KeyService, place: str) -> None:
    """Root may restore keys; the content is foreign all the same."""
    outside = service.home / "outside"
    outside.mkdir(exist_ok=True)
    before = set(service.keys.glob("*.key"))
    os.chown(outside, SIGNER, LINK)
    content = sealed_key(place.format(home=service.home))
    (reply,) = ask(service.socket, wp.RestoreRequest(2, content, PASSPHRASE))
    assert isinstance(reply, wp.ErrorReply)
    assert "id of the key must be" in reply.message
    assert not list(outside.iterdir())
    assert set(service.keys.glob("*.key")) == before


def test_a_restored_key_takes_no_other_keys_place(service: KeyService) -> None:
    zsk = made(service, ZONE, "zsk")
    before = (service.keys / f"{zsk.id}.key").read_bytes()
    (reply,) = ask(service.socket, wp.RestoreRequest(2, sealed_key(zsk.id), PASSPHRASE))
    assert told(reply) == "exists"
    assert (service.keys / f"{zsk.id}.key").read_bytes() == before
    # Nor that of a file which the service does not know, as in the directory of another key store.
    (service.keys / f"{'d' * 32}.key").write_bytes(b"of somebody's")
    (reply,) = ask(service.socket, wp.RestoreRequest(2, sealed_key("d" * 32), PASSPHRASE))
    assert told(reply) == "exists"
    assert (service.keys / f"{'d' * 32}.key").read_bytes() == b"of somebody's"


@pytest.mark.parametrize("zones", [(), (b"\x03abc",), (ZONE, ZONE)])
def test_no_key_comes_without_an_entry(service: KeyService, zones: tuple[bytes, ...]) -> None:
    key_id = secrets.token_hex(16)
    (reply,) = ask(service.socket, wp.RestoreRequest(2, sealed_key(key_id, zones), PASSPHRASE))
    assert isinstance(reply, wp.ErrorReply)
    assert "zones of the key must" in reply.message
    assert not (service.keys / f"{key_id}.key").exists()
    (good,) = ask(service.socket, wp.RestoreRequest(2, sealed_key(key_id), PASSPHRASE))
    assert told(good) == "KeysReply"
    assert ("restored", key_id) in service.events()


@pytest.mark.parametrize("kdf", [{"n": 1 << 20}, {"r": 32}, {"p": 4}])
def test_scrypt_is_bounded(service: KeyService, kdf: dict[str, int]) -> None:
    content = sealed_key("f" * 32, kdf=key_file.Kdf(b"s" * 16, **kdf))
    before = time.monotonic()
    (reply,) = ask(service.socket, wp.RestoreRequest(2, content, PASSPHRASE))
    assert isinstance(reply, wp.ErrorReply)
    assert "kdf." in reply.message
    assert time.monotonic() - before < 3


def test_broken_frames_end_their_connection_only(service: KeyService) -> None:
    def broken() -> list[int]:
        answers = []
        for octets in (
            b"\0\0\0\0",
            b"\xff\xff\xff\xff",
            b"\0\0\0\5hello",
            b"\0\0\0\2\x93\xc0",
            b"\0\1\0\0" + b"\x91" * 65_536,
        ):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(20)
                connection.connect(str(service.socket))
                connection.sendall(octets)
                answers.append(len(connection.recv(65_536)))
        return answers

    answers = as_daemon(broken)
    assert isinstance(answers, list), answers
    assert all(answers)
    assert as_daemon(lambda: told(ask(service.socket, wp.StatusRequest(2))[0])) == "StatusReply"


def test_the_daemon_does_not_shut_root_out(service: KeyService) -> None:
    """All connections that one user can have, each with half a frame, and root's question in between."""

    ready, taken = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([LINK])
            os.setresuid(DAEMON, DAEMON, DAEMON)
            connections = [socket.socket(socket.AF_UNIX) for _ in range(140)]
            for connection in connections:
                connection.connect(str(service.socket))
                connection.sendall(b"\0\0\1\0half")
            os.write(taken, b"x")
            signal.pause()
        finally:
            os._exit(0)
    os.close(taken)
    try:
        assert os.read(ready, 1) == b"x"
        assert as_daemon(lambda: told(ask(service.socket, wp.StatusRequest(2))[0])) == "busy"
        assert [told(reply) for reply in ask(service.socket, wp.AuditRequest(2))] == ["AuditReply"]
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready)


def test_a_large_import_does_not_stop_the_loop(service: KeyService) -> None:
    numbers = ("Modulus", "PublicExponent", "PrivateExponent", "Prime1", "Prime2")
    text = "Private-key-format: v1.3\nAlgorithm: 8 (RSASHA256)\n" + "".join(
        f"{one}: {'/' * 60_000}\n" for one in numbers
    )
    small = text.replace("/" * 60_000, "/" * 3_000)
    for content in (text, small):
        before = time.monotonic()
        (reply,) = ask(service.socket, wp.ImportRequest(2, ZONE, "zsk", 8, content.encode()))
        assert told(reply) == "bad_request"
        assert time.monotonic() - before < 3
