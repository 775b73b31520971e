"""Both clients against a real key service, and against servers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dnssecd import keyservice_protocol as wp
from dnssecd.core.verify.keys import ZoneKey
from dnssecd.keyservice_client import launch
from dnssecd.keyservice_client.client import AsyncSignerClient, SignerClient
from dnssecd.keyservice_client.errors import (
    BadRequest,
    KeyExists,
    KeyUnknown,
    OperatorNeeded,
    SignerBroken,
    SignerTimeout,
    SignerUnreachable,
    SignRefused,
    Unsupported,
)
from dnssecd.keyservice_client.launch import SignerChild, launched_signer
from dnssecd.keyservice_protocol import KeyInfo
from dnssecd.keyservice_settings import KeystoreSettings, SignerSettings
from dnssecd.procs import child
from dnssecd.replacing import replace
from tests.unit.signer.preimages import preimage_for, wire

zones = (f"zone{number}.example." for number in itertools.count())


def settings_in(path: Path) -> SignerSettings:
    return SignerSettings(
        socket=str(path / "run" / "signer.sock"),
        state_dir=str(path / "state"),
        keystores=(KeystoreSettings(name="local", type="software", directory=str(path / "keys")),),
    )


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignerSettings]:
    settings = settings_in(tmp_path_factory.mktemp("signer"))
    with launched_signer(settings):
        yield settings


@pytest.fixture
def client(settings: SignerSettings) -> Iterator[SignerClient]:
    with SignerClient(settings.socket, deadline_s=10.0, owners=None) as client:
        yield client


def hosts(key: KeyInfo, zone: str, count: int) -> list[bytes]:
    """Preimages of `count` address records."""
    model = preimage_for(key, zone, f"h000000.{zone}", "A", "192.0.2.1")
    return [model.replace(b"h000000", b"h%06d" % number) for number in range(count)]


def check(key: KeyInfo, preimages: list[bytes], signatures: list[bytes]) -> None:
    assert len(signatures) == len(preimages)
    verify = ZoneKey(key.dnskey).verify
    assert verify is not None
    for signature, preimage in zip(signatures, preimages, strict=True):
        assert verify(signature, preimage)


def test_generate_list_sign_prove_remove(client: SignerClient, settings: SignerSettings) -> None:
    zone = next(zones)
    ksk = client.generate(wire(zone).upper(), "ksk", 13)
    zsk = client.generate(wire(zone), "zsk", 15)
    assert {key.id for key in client.keys(wire(zone))} == {ksk.id, zsk.id}
    assert (ksk.flags, zsk.flags) == (257, 256)
    assert (ksk.store, ksk.state, ksk.zones) == ("local", "available", (wire(zone),))
    check(zsk, hosts(zsk, zone, 5), client.sign(wire(zone), zsk.id, hosts(zsk, zone, 5)))
    assert [proof.error for proof in client.prove(wire(zone), ksk.id, ksk.dnskey)] == [""]
    assert [bool(proof.error) for proof in client.prove(wire(zone), ksk.id, zsk.dnskey)] == [True]
    assert client.remove(wire(zone), ksk.id).startswith("in the trash until 2")
    assert [one.key.id for one in client.list_trash()] == [ksk.id]
    assert [key.id for key in client.keys(wire(zone))] == [zsk.id]
    assert not (Path(settings.keystores[0].directory) / f"{ksk.id}.key").exists()
    with pytest.raises(KeyUnknown):
        client.sign(wire(zone), ksk.id, [b"x"])
    assert client.recover(ksk.id) == ksk
    client.remove(wire(zone), ksk.id)
    assert client.destroy(ksk.id) == "destroyed"
    assert client.list_trash() == []


def test_what_a_key_is_not_for_is_refused_counted_and_audited(client: SignerClient) -> None:
    zone, other = next(zones), next(zones)
    zsk = client.generate(wire(zone), "zsk", 13)
    before = client.status().counters.get("refusals", 0)
    for preimages in ([b"not a preimage"], [preimage_for(zsk, zone, zone, "DNSKEY", "256 3 13 AAAA")]):
        with pytest.raises(SignRefused) as caught:
            client.sign(wire(zone), zsk.id, hosts(zsk, zone, 3) + preimages)
        assert caught.value.fault == "caller"
        assert not caught.value.temporary
    with pytest.raises(KeyUnknown, match="not bound"):
        client.sign(wire(other), zsk.id, hosts(zsk, other, 1))
    status = client.status()
    assert status.counters["refusals"] == before + 3
    assert any(warning.subject == zsk.id for warning in status.warnings)
    audit = client.audit()
    assert audit.ok
    refused = [one for one in audit.entries if one.event == "refused" and one.fields["key"] == zsk.id]
    assert len(refused) == 3


def test_shared_keys_sign_for_the_zones_they_are_bound_to(client: SignerClient) -> None:
    first, second = next(zones), next(zones)
    key = client.generate(wire(first), "zsk", 13)
    assert client.bind(wire(second), key.id).zones == (wire(first), wire(second))
    for zone in (first, second):
        check(key, hosts(key, zone, 1), client.sign(wire(zone), key.id, hosts(key, zone, 1)))
    assert "unbound" in client.remove(wire(first), key.id)
    with pytest.raises(KeyUnknown):
        client.sign(wire(first), key.id, hosts(key, first, 1))
    check(key, hosts(key, second, 1), client.sign(wire(second), key.id, hosts(key, second, 1)))


def test_a_repeated_generate_makes_one_key(client: SignerClient) -> None:
    zone = wire(next(zones))
    first = client.generate(zone, "ksk", 13, idempotency="roll 1")
    assert client.generate(zone, "ksk", 13, idempotency="roll 1") == first
    assert client.generate(zone, "ksk", 13, idempotency="roll 2").id != first.id
    assert len(client.keys(zone)) == 2


def test_refusals_say_what_to_do(client: SignerClient) -> None:
    zone = wire(next(zones))
    with pytest.raises(Unsupported, match=r"SHA-1.*use one of"):
        client.generate(zone, "ksk", 5)
    with pytest.raises(BadRequest, match="there are: local"):
        client.generate(zone, "ksk", 13, store="elsewhere")
    with pytest.raises(BadRequest, match="2048"):
        client.generate(zone, "ksk", 8, bits=1024)
    with pytest.raises(BadRequest, match="zone must be"):
        client.generate(b"\x07example", "ksk", 13)


def test_bulk_in_order_and_pipelined(client: SignerClient) -> None:
    zone = next(zones)
    key = client.generate(wire(zone), "zsk", 15)
    preimages = hosts(key, zone, 3000)
    check(key, preimages, client.sign(wire(zone), key.id, preimages))
    drawn: list[int] = []

    def requests() -> Iterator[tuple[bytes, str, list[bytes]]]:
        for start in range(0, 3000, 100):
            drawn.append(start)
            yield wire(zone), key.id, preimages[start : start + 100]

    stream = client.sign_stream(requests())
    got = next(stream)
    assert 1 < len(drawn) <= 14, "planning runs ahead of signing, but not far"
    for part in stream:
        got += part
    check(key, preimages, got)


def test_tickets_may_be_collected_in_any_order(client: SignerClient) -> None:
    zone = next(zones)
    key = client.generate(wire(zone), "zsk", 15)
    preimages = hosts(key, zone, 30)
    tickets = [client.submit(wire(zone), key.id, preimages[n::10]) for n in range(10)]
    for n in reversed(range(10)):
        check(key, preimages[n::10], client.collect(tickets[n]))
    with pytest.raises(BadRequest):
        client.collect(tickets[0])
    with pytest.raises(BadRequest):
        client.submit(wire(zone), key.id, [b""] * 513)


def test_an_error_in_a_stream_spoils_no_later_call(client: SignerClient) -> None:
    zone = next(zones)
    key = client.generate(wire(zone), "zsk", 15)
    good = hosts(key, zone, 5)
    with pytest.raises(SignRefused):
        for _ in client.sign_stream((wire(zone), key.id, part) for part in (good, [b"bad"], good, good)):
            pass
    check(key, good, client.sign(wire(zone), key.id, good))


def test_export_and_restore(client: SignerClient, tmp_path: Path) -> None:
    zone = next(zones)
    key = client.generate(wire(zone), "csk", 13)
    content = client.export_key(key.id, b"a long passphrase")
    with pytest.raises(KeyExists):
        client.restore_key(content, b"a long passphrase")
    with pytest.raises(BadRequest, match="passphrase must be 8"):
        client.export_key(key.id, b"short")
    with launched_signer(other := settings_in(tmp_path)), SignerClient(other.socket, owners=None) as second:
        with pytest.raises(BadRequest, match="cannot be opened"):
            second.restore_key(content, b"another passphrase")
        with pytest.raises(BadRequest, match="flags of the key must be those of its role"):
            second.restore_key(content.replace(b'"csk"', b'"zsk"'), b"a long passphrase")
        with pytest.raises(BadRequest, match="cannot be opened"):
            second.restore_key(content.replace(b'"csk"', b'"ksk"'), b"a long passphrase")
        assert second.restore_key(content, b"a long passphrase") == key
        check(key, hosts(key, zone, 2), second.sign(wire(zone), key.id, hosts(key, zone, 2)))
    assert [entry.event for entry in client.audit(1000).entries if entry.fields.get("key") == key.id] == [
        "generated",
        "exported",
    ]


def test_many_threads_each_with_a_client(settings: SignerSettings) -> None:
    zone = next(zones)
    with SignerClient(settings.socket, owners=None) as first:
        key = first.generate(wire(zone), "zsk", 13)
    preimages = hosts(key, zone, 200)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with SignerClient(settings.socket, owners=None) as client:
                check(key, preimages, client.sign(wire(zone), key.id, preimages))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


async def test_async_client(settings: SignerSettings) -> None:
    zone = next(zones)
    client = AsyncSignerClient(settings.socket, owners=None)
    key = await client.generate(wire(zone), "csk", 13)
    assert [one.id for one in await client.keys(wire(zone))] == [key.id]
    preimages = hosts(key, zone, 1300)
    parts = await asyncio.gather(
        client.sign(wire(zone), key.id, preimages),
        *(client.sign(wire(zone), key.id, preimages[n : n + 1]) for n in range(50)),
    )
    check(key, preimages, parts[0])
    check(key, preimages[:50], [part[0] for part in parts[1:]])
    with pytest.raises(SignRefused):
        await client.sign(wire(zone), key.id, [*preimages, b"bad"])
    assert [proof.error for proof in await client.prove(wire(zone), key.id, key.dnskey)] == [""]
    assert (await client.remove(wire(zone), key.id)).startswith("in the trash until 2")
    assert key.id in [one.key.id for one in await client.list_trash()]
    await client.aclose()
    assert (await client.status()).pid > 0, "a closed client connects again"
    await client.aclose()


def test_the_socket_and_its_directory_are_private(settings: SignerSettings) -> None:
    assert Path(settings.socket).stat().st_mode & 0o777 == 0o600
    assert Path(settings.socket).parent.stat().st_mode & 0o777 == 0o700


def ask_as_other_user(settings: SignerSettings, *requests: wp.Request) -> wp.Reply:
    """Send requests as user nobody; return the last reply."""
    script = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect(sys.argv[1])\n"
        "sys.argv[2] and s.sendall(bytes.fromhex(sys.argv[2])); sys.stdout.buffer.write(s.recv(4096))"
    )
    octets = b"".join(map(wp.encode_frame, requests))
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, settings.socket, octets.hex()],
        capture_output=True,
        timeout=20,
        check=True,
    )
    *_, body = wp.frame_buffer().feed(done.stdout)
    return wp.decode_reply(body)


@contextlib.contextmanager
def open_to_no_other_user(*allowed_uids: int) -> Iterator[SignerSettings]:
    """A service whose socket any user reaches, as far as the file system goes."""
    with tempfile.TemporaryDirectory() as path:
        settings = replace(settings_in(Path(path)), allowed_uids=allowed_uids)
        with launched_signer(settings):
            Path(path).chmod(0o711)
            Path(settings.socket).parent.chmod(0o711)
            Path(settings.socket).chmod(0o666)
            yield settings


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")
def test_other_users_are_turned_away() -> None:
    with open_to_no_other_user() as settings:
        reply = ask_as_other_user(settings)
        assert isinstance(reply, wp.ErrorReply)
        assert (reply.code, reply.fault) == ("refused", "operator")
        with SignerClient(settings.socket, owners=None) as client:
            assert any(warning.code == "peer refused" for warning in client.status().warnings)
            refused = [one.fields for one in client.audit(9).entries if one.event == "peer refused"]
            assert refused == [{"by": 65534}]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")
def test_allowed_users_get_signatures_but_no_private_keys() -> None:
    """The daemon talks to the network: it may use keys, never have them."""
    with open_to_no_other_user(65534) as settings, SignerClient(settings.socket, owners=None) as client:
        zone = next(zones)
        key = client.generate(wire(zone), "zsk", 13)
        signed = ask_as_other_user(settings, wp.SignRequest(2, wire(zone), key.id, hosts(key, zone, 1)))
        assert isinstance(signed, wp.SignReply)
        refused = ask_as_other_user(settings, wp.ExportRequest(2, key.id, b"a long passphrase"))
        assert isinstance(refused, wp.ErrorReply)
        assert refused.code == "refused"


def test_the_private_key_and_settings_are_not_in_the_process_list(client: SignerClient) -> None:
    pid = client.status().pid
    assert Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"-m\0dnssecd.signer\0")


# The service dies or is not there


def test_no_server_there(tmp_path: Path) -> None:
    """The breaker stays closed: the service is found again at once when it comes."""
    settings = settings_in(tmp_path)
    client = SignerClient(settings.socket, owners=None)
    for _ in range(10):
        with pytest.raises(SignerUnreachable, match="is `dnssecd signer` running") as caught:
            client.status()
        assert caught.value.temporary
    with launched_signer(settings):
        assert client.status().pid
        client.close()


def test_one_service_for_one_socket(settings: SignerSettings) -> None:
    with pytest.raises(OperatorNeeded), launched_signer(settings):
        pass
    with SignerClient(settings.socket, owners=None) as client:
        assert client.status().pid


def test_why_a_service_cannot_start_is_reported_immediately(settings: SignerSettings, tmp_path: Path) -> None:
    with (
        pytest.raises(OperatorNeeded, match=r"cannot start: .*another key service"),
        launched_signer(settings),
    ):
        pass
    taken = settings_in(tmp_path)
    (tmp_path / "state").write_text("a file where the directory should be")
    with pytest.raises(OperatorNeeded, match=r"cannot start: .*state"), launched_signer(taken):
        pass


@pytest.mark.parametrize("words", ["import sys; sys.exit(7)", "import os; os.close(1); sys.stdin.read()"])
async def test_a_service_that_ends_before_it_is_ready(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: str
) -> None:
    code = f"import sys; sys.stdin.readline(); {words}"
    monkeypatch.setattr(child, "command", lambda module, arguments: [sys.executable, "-c", code])
    monkeypatch.setattr(launch, "STOP_DEADLINE_S", 1.0)
    said = "ended with status 7 before it was ready" if "exit" in words else "did not get ready"
    with pytest.raises(OperatorNeeded, match=said), launched_signer(settings_in(tmp_path)):
        pass
    child_of_daemon = SignerChild(settings_in(tmp_path))
    with pytest.raises(OperatorNeeded, match=said):
        await child_of_daemon.start()
    await child_of_daemon.stop()


def test_the_child_does_not_speak_to_our_service_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    found = launch._environment("DNSSECD_SIGNER_LOG", "info")
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & found.keys()
    assert found["LC_ALL"] == "C.UTF-8"
    assert found["DNSSECD_SIGNER_LOG"] == "info"


async def test_a_service_that_cannot_start_is_tried_again(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    (tmp_path / "state").write_text("a file where the directory should be")
    changes: asyncio.Queue[tuple[bool, str]] = asyncio.Queue()
    child = SignerChild(settings, lambda up, detail: changes.put_nowait((up, detail)))
    with pytest.raises(OperatorNeeded, match="cannot start"):
        await child.start()
    (tmp_path / "state").unlink()
    try:
        async with asyncio.timeout(20):
            while not (await changes.get())[0]:
                pass
        with SignerClient(settings.socket, owners=None) as client:
            assert client.status().pid == child.pid
    finally:
        await child.stop()


async def test_a_killed_service_is_started_again_and_clients_recover(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    changes: asyncio.Queue[tuple[bool, str]] = asyncio.Queue()
    child = SignerChild(settings, lambda up, detail: changes.put_nowait((up, detail)))
    await child.start()
    assert (await changes.get())[0]
    client = AsyncSignerClient(settings.socket, owners=None)
    key = await client.generate(wire("example."), "zsk", 13)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    async with asyncio.timeout(20):
        assert await changes.get() == (False, "the key service ended with status -9")
        assert (await changes.get())[0]
    preimages = hosts(key, "example.", 3)
    check(key, preimages, await client.sign(wire("example."), key.id, preimages))
    assert (await client.audit()).ok
    pid = child.pid
    await client.aclose()
    await child.stop()
    assert pid is not None
    assert not Path(f"/proc/{pid}").exists()


def test_the_service_ends_with_its_parent(tmp_path: Path) -> None:
    script = (
        "import sys, time; from dnssecd.keyservice_client.launch import *; from pathlib import Path\n"
        "from tests.unit.keyservice_client.test_signing_client import settings_in\n"
        "with launched_signer(settings_in(Path(sys.argv[1]))) as process:\n"
        "    print(process.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait(10)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}/fd").exists() and time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        time.sleep(0.02)
    assert not (tmp_path / "run" / "signer.sock").exists()


# Servers that misbehave


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """Return start(behaviour) -> path of a socket where each connection is handed to `behaviour`."""
    listeners: list[socket.socket] = []

    def start(behaviour: Callable[[socket.socket], None]) -> str:
        path = str(tmp_path / "fake.sock")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        listeners.append(listener)

        def run() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        behaviour(connection)

        threading.Thread(target=run, daemon=True).start()
        return path

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def silent(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def garbage(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n")
    silent(connection)


def one_signature_too_few(connection: socket.socket) -> None:
    frames = wp.frame_buffer()
    while octets := connection.recv(65536):
        for body in frames.feed(octets):
            request = wp.decode_request(body)
            if isinstance(request, wp.SignRequest):
                connection.sendall(
                    wp.encode_frame(wp.SignReply(request.id, [b""] * (len(request.preimages) - 1)))
                )


def test_silence_ends_with_the_deadline(fake: Callable[..., str]) -> None:
    client = SignerClient(fake(silent), deadline_s=0.2, owners=None)
    started_at = time.monotonic()
    with pytest.raises(SignerTimeout) as caught:
        client.status()
    assert time.monotonic() - started_at < 2
    assert caught.value.temporary


def signs(connection: socket.socket) -> None:
    frames = wp.frame_buffer()
    while octets := connection.recv(65536):
        for body in frames.feed(octets):
            request = wp.decode_request(body)
            if isinstance(request, wp.SignRequest):
                connection.sendall(wp.encode_frame(wp.SignReply(request.id, [b"s"] * len(request.preimages))))


def test_what_the_caller_does_meanwhile_does_not_count_for_the_deadline(fake: Callable[..., str]) -> None:
    """A zone worker writes a version while the service signs: the slower of the two is not the service's fault."""
    client = SignerClient(fake(signs), deadline_s=0.3, window=2, owners=None)
    tickets = [client.submit(b"\x00", "key", [b"p"]) for _ in range(2)]
    time.sleep(0.6)
    assert [client.collect(ticket) for ticket in tickets] == [[b"s"]] * 2
    tickets = [client.submit(b"\x00", "key", [b"p"]) for _ in range(2)]
    time.sleep(0.6)
    tickets.append(client.submit(b"\x00", "key", [b"p"]))  # waits for room in the window
    assert [client.collect(ticket) for ticket in tickets] == [[b"s"]] * 3


def test_after_three_silences_the_answer_comes_at_once(fake: Callable[..., str]) -> None:
    client = SignerClient(fake(silent), deadline_s=0.1, owners=None)
    for _ in range(3):
        with pytest.raises(SignerTimeout):
            client.status()
    with pytest.raises(SignerUnreachable, match="next try") as caught:
        client.status()
    assert caught.value.retry_in_s > 0


@pytest.mark.parametrize("behaviour", [garbage, one_signature_too_few])
def test_nonsense_is_not_believed(
    fake: Callable[..., str], behaviour: Callable[[socket.socket], None]
) -> None:
    client = SignerClient(fake(behaviour), deadline_s=2.0, owners=None)
    with pytest.raises(SignerBroken):
        client.sign(b"\x00", "k", [b"1", b"2"])


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [(silent, SignerTimeout), (garbage, SignerUnreachable), (one_signature_too_few, SignerBroken)],
)
async def test_async_client_with_bad_servers(
    fake: Callable[..., str], behaviour: Callable[[socket.socket], None], error: type[Exception]
) -> None:
    client = AsyncSignerClient(fake(behaviour), deadline_s=0.3, owners=None)
    with pytest.raises(error):
        await client.sign(b"\x00", "k", [b"1", b"2"])
    await client.aclose()


def test_a_broken_connection_is_made_again_once(fake: Callable[..., str]) -> None:
    connections = itertools.count()

    def drop_first(connection: socket.socket) -> None:
        if next(connections) == 0:
            connection.recv(10)
            return
        frames = wp.frame_buffer()
        while octets := connection.recv(65536):
            for body in frames.feed(octets):
                request = wp.decode_request(body)
                if isinstance(request, wp.SignRequest):
                    connection.sendall(wp.encode_frame(wp.SignReply(request.id, request.preimages)))

    client = SignerClient(fake(drop_first), deadline_s=5.0, owners=None)
    assert client.sign(b"\x00", "k", [b"1", b"2"]) == [b"1", b"2"]


def test_what_must_not_be_repeated_is_not(fake: Callable[..., str]) -> None:
    connections = itertools.count()

    def drop(connection: socket.socket) -> None:
        next(connections)
        connection.recv(10)

    client = SignerClient(fake(drop), deadline_s=5.0, owners=None)
    with pytest.raises(SignerUnreachable):
        client.generate(b"\x00", "ksk", 13)
    assert next(connections) == 1


def test_the_service_drops_clients_that_speak_nonsense(settings: SignerSettings) -> None:
    for octets in (b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x00\x05hello", b"\xff\xff\xff\xff"):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(settings.socket)
            connection.sendall(octets)
            (body,) = wp.frame_buffer().feed(connection.recv(65536))
            assert isinstance(wp.decode_reply(body), wp.ErrorReply)
            assert connection.recv(1) == b""
    with SignerClient(settings.socket, owners=None) as client:
        assert client.status().pid


def test_clients_that_do_not_read_or_hang_delay_no_other_client(settings: SignerSettings) -> None:
    zone = next(zones)
    with SignerClient(settings.socket, owners=None) as client, socket.socket(socket.AF_UNIX) as lazy:
        key = client.generate(wire(zone), "zsk", 13)
        preimages = hosts(key, zone, 512)
        lazy.setblocking(False)
        lazy.connect(settings.socket)
        frame = wp.encode_frame(wp.SignRequest(2, wire(zone), key.id, preimages))
        with contextlib.suppress(BlockingIOError):
            for _ in range(1000):
                lazy.sendall(frame)
        check(key, preimages, client.sign(wire(zone), key.id, preimages))
        with socket.socket(socket.AF_UNIX) as half:
            half.connect(settings.socket)
            half.sendall(b"\x00\x00")
            check(key, preimages[:1], client.sign(wire(zone), key.id, preimages[:1]))
