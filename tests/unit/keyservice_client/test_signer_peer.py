"""Who listens at the key service's socket is known before anything secret is sent."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from dnssecd.config import parse
from dnssecd.config.signer_owner import signer_owners
from dnssecd.keyservice_client.client import AsyncSignerClient, SignerClient
from dnssecd.keyservice_client.errors import OperatorNeeded
from dnssecd.keyservice_client.launch import launched_signer
from dnssecd.keyservice_settings import KeystoreSettings, SignerSettings
from dnssecd.pipeline.jobs.spec import KeyWish, ZoneSpec
from dnssecd.pipeline.workers import frames
from dnssecd.pipeline.workers.worker import Worker
from dnssecd.signer import key_file as sealed
from dnssecd.signer.key_file import CannotOpen
from dnssecd.signer.reopened import Opened
from dnssecd.signer.server import Place, PlaceTaken, bind_socket
from dnssecd.signer.warnings import WarningBook
from tests.peers.process import wait_until

ZONE = b"\x07example\x00"
TOML = """
[server]
state_dir = "{home}/state"
[signer]
socket = "{home}/run/signer.sock"
{user}
[keystore.local]
type = "software"
directory = "{home}/keys"
[policy.default]
keystore = "local"
[zone."example.com."]
file = "x"
"""
OTHER = 61_001


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[tuple[str, list[bytes]]]:
    """A process of this user at a socket, and what it receives."""
    path, received = str(tmp_path / "s.sock"), []
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    server.settimeout(10)

    def serve() -> None:
        try:
            connection, _ = server.accept()
        except TimeoutError:
            return
        with connection:
            received.append(connection.recv(65_536))

    thread = threading.Thread(target=serve)
    thread.start()
    yield path, received
    thread.join(10)
    server.close()


def as_if_by(monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    """The kernel names another user."""
    credentials = b"".join(number.to_bytes(4, "little") for number in (1, uid, uid))
    monkeypatch.setattr(socket.socket, "getsockopt", lambda *args: credentials)


def test_nothing_is_sent_to_another_user(
    monkeypatch: pytest.MonkeyPatch, listener: tuple[str, list[bytes]]
) -> None:
    path, received = listener
    as_if_by(monkeypatch, OTHER)
    client = SignerClient(path, 5.0, owners=frozenset({61_002}))
    with pytest.raises(OperatorNeeded, match=r"user 61001 listens .* user 61002: nothing was sent"):
        client.export_key("0" * 32, b"a long passphrase")
    wait_until(lambda: received, "the connection ends")
    assert received == [b""]


async def test_nor_by_the_other_client(
    monkeypatch: pytest.MonkeyPatch, listener: tuple[str, list[bytes]]
) -> None:
    path, _ = listener
    as_if_by(monkeypatch, OTHER)
    client = AsyncSignerClient(path, 5.0, owners=frozenset({61_002}))
    with pytest.raises(OperatorNeeded, match="nothing was sent"):
        await client.status()
    await client.aclose()


def owners(home: Path, user: str = "") -> frozenset[int] | None:
    return signer_owners(parse(TOML.format(home=home, user=user), home / "config.toml"))


@pytest.mark.skipif(os.geteuid() != 0, reason="owners are changed")
def test_who_the_key_service_is(tmp_path: Path) -> None:
    assert owners(tmp_path) is None
    assert owners(tmp_path, 'user = "61009"') == {61_009}
    with pytest.raises(KeyError):
        owners(tmp_path, 'user = "no-such-user"')
    (tmp_path / "run").mkdir(mode=0o750)
    os.chown(tmp_path / "run", 61_002, 61_003)
    assert owners(tmp_path) == {61_002}, "it alone may write there"
    (tmp_path / "run").chmod(0o1771)
    assert owners(tmp_path) is None
    (tmp_path / "keys").mkdir()
    assert owners(tmp_path) is None, "root's directory says nothing"
    os.chown(tmp_path / "keys", 61_002, 61_003)
    assert owners(tmp_path) == {61_002}


@pytest.mark.skipif(os.geteuid() != 0, reason="owners are changed")
@pytest.mark.parametrize("name", ["s.sock", "s.sock.lock"])
async def test_the_service_takes_its_place_when_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    taken = tmp_path / name
    taken.touch()
    os.chown(taken, OTHER, OTHER)
    monkeypatch.setattr(Path, "unlink", _sticky(Path.unlink))
    warnings = WarningBook(lambda: 1.0, lambda code, subject, detail: None)
    place = Place(tmp_path / "s.sock", 0o600, warnings)
    assert place.take() is None
    assert place.take() is None
    assert [(one.code, one.count) for one in warnings.listed()] == [("socket place taken", 1)]
    assert f"user {OTHER}" in warnings.listed()[0].detail
    with pytest.raises(PlaceTaken):
        bind_socket(tmp_path / "s.sock", 0o600)
    os.chown(taken, 0, 0)
    listener = await place.wait()
    assert (tmp_path / "s.sock").is_socket()
    place.leave()
    listener.close()
    assert not (tmp_path / "s.sock").exists()


def test_the_service_ends_in_order_when_its_place_was_taken(tmp_path: Path) -> None:
    place = Place(tmp_path / "s.sock", 0o600, WarningBook(lambda: 1.0, lambda code, subject, detail: None))
    listener = place.take()
    assert listener is not None
    listener.close()
    (tmp_path / "s.sock").unlink()
    (tmp_path / "s.sock").mkdir()
    place.leave()
    (tmp_path / "s.sock").rmdir()
    again, lock = bind_socket(tmp_path / "s.sock", 0o600)
    again.close()
    os.close(lock)


def _sticky(unlink):  # type: ignore[no-untyped-def]
    """As in a directory with the sticky bit, for a user that is not root."""

    def unlinked(path: Path, missing_ok: bool = False) -> None:
        if path.exists() and path.lstat().st_uid != os.geteuid():
            raise PermissionError(1, "Operation not permitted", str(path))
        unlink(path, missing_ok=missing_ok)

    return unlinked


def test_a_back_up_is_opened_again(tmp_path: Path) -> None:
    store = KeystoreSettings(name="local", type="software", directory=str(tmp_path / "keys"))
    settings = SignerSettings(
        socket=str(tmp_path / "s.sock"), state_dir=str(tmp_path / "state"), keystores=(store,)
    )
    with launched_signer(settings, quiet=True), SignerClient(settings.socket, owners=None) as client:
        keys = [client.generate(ZONE, "ksk", number) for number in (8, 13, 15)]
        contents = [client.export_key(key.id, b"a long passphrase") for key in keys]
    opened = Opened(b"a long passphrase")
    for key, content in zip(keys, contents, strict=True):
        opened.check(content, key)
    with pytest.raises(CannotOpen, match="another key"):
        opened.check(contents[0], keys[1])
    with pytest.raises(CannotOpen, match="passphrase"):
        Opened(b"another passphrase").check(contents[1], keys[1])
    for junk in (b"{}", b"", b"x"):
        with pytest.raises(CannotOpen):
            opened.check(junk, keys[0])
    changed = json.loads(contents[1])
    changed["sealed"] = changed["sealed"][:-8] + "AAAAAAA="
    with pytest.raises(CannotOpen):
        opened.check(json.dumps(changed).encode(), keys[1])


def test_one_that_holds_another_private_key_is_not_good(tmp_path: Path) -> None:
    store = KeystoreSettings(name="local", type="software", directory=str(tmp_path / "keys"))
    settings = SignerSettings(
        socket=str(tmp_path / "s.sock"), state_dir=str(tmp_path / "state"), keystores=(store,)
    )
    with launched_signer(settings, quiet=True), SignerClient(settings.socket, owners=None) as client:
        one, other = (client.generate(ZONE, "zsk", 13) for _ in range(2))
        content = client.export_key(other.id, b"a long passphrase")
    encryption = sealed.KeyEncryption(b"a long passphrase")
    found = sealed.read(content)
    described = msgspec.structs.replace(found.key, id=one.id, dnskey=one.dnskey)
    lie = sealed.seal(described, sealed.open_sealed(found, encryption), encryption, found.kdf)
    with pytest.raises(CannotOpen, match="private key of its DNSKEY"):
        Opened(b"a long passphrase").check(lie, one)


def test_a_zone_worker_asks_no_key_of_another_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listener: tuple[str, list[bytes]]
) -> None:
    """Its first keys would be those of the user that took the place."""
    path, received = listener
    as_if_by(monkeypatch, OTHER)
    zone = tmp_path / "zone"
    zone.write_text("@ 300 SOA ns hostmaster 1 7200 3600 1209600 300\n@ 300 NS ns\nns 300 A 192.0.2.1\n")
    spec = ZoneSpec(
        name="a.test.", origin=b"\1a\4test\0", database=str(tmp_path / "a.sqlite"), signer_socket=path,
        keystore="local", keys=(KeyWish("csk", 13, "local"),), signer_owners=frozenset({61_002}),
    )  # fmt: skip
    job = frames.Job(kind="load", spec=spec, now=1_800_000_000, date=20_270_115, path=str(zone))
    outcome = Worker().run(job)
    assert outcome.result != "published"
    assert "user 61001 listens" in outcome.problems[0].cause
    wait_until(lambda: received, "the connection ends")
    assert received == [b""]
