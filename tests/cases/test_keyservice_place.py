"""The place of the key service's socket, and its audit log, while it is down."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dnssecd import keyservice_protocol as wp
from tests.cases.keyservice_world import DAEMON, LINK, ZONE, KeyService, as_daemon, ask, key_service
from tests.peers.paths import REPOSITORY
from tests.peers.process import free_port, wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="processes of several users are started")

CONFIG = """
[server]
listen = ["127.0.0.1:{port}"]
state_dir = "{home}/daemon"
[signer]
socket = "{home}/run/signer.sock"
[keystore.local]
type = "software"
directory = "{home}/keys"
[policy.default]
keystore = "local"
[zone."a.example."]
file = "{home}/zone"
parent = "none"
"""


@pytest.fixture
def service() -> Iterator[KeyService]:
    with key_service() as running:
        yield running


def made(service: KeyService, role: wp.Role) -> wp.KeyInfo:
    (reply,) = ask(service.socket, wp.GenerateRequest(2, ZONE, role, 13, idempotency=role))
    assert isinstance(reply, wp.KeysReply)
    return reply.keys[0]


def test_its_files_are_out_of_the_daemons_reach(service: KeyService) -> None:
    key, path = made(service, "zsk"), service.socket

    def tried() -> list[str]:
        seen = []
        for work in (
            lambda: path.unlink(),
            lambda: path.rename(f"{path}.x"),
            lambda: path.with_name("signer.sock.lock").unlink(),
            lambda: path.chmod(0o777),
            lambda: (service.keys / f"{key.id}.key").read_bytes(),
            lambda: list(service.state.iterdir()),
        ):
            try:
                work()
                seen.append("done")
            except PermissionError:
                seen.append("refused")
        return seen

    assert as_daemon(tried) == ["refused"] * 6


def squat(path: Path, seen: Path) -> int:
    """Take the socket's place as the daemon's user, and write down what comes; return the process."""
    child = os.fork()
    if child:
        return child
    try:
        os.setgroups([LINK])
        os.setresgid(DAEMON, DAEMON, DAEMON)
        os.setresuid(DAEMON, DAEMON, DAEMON)
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        path.chmod(0o777)
        server.listen()
        while True:
            connection, _ = server.accept()
            with seen.open("ab") as file:
                file.write(b"connection\n" + connection.recv(1 << 20))
    finally:
        os._exit(0)


def test_a_process_in_its_place_gets_no_secret(service: KeyService) -> None:
    home = service.home
    made(service, "ksk")
    service.stop()
    seen = home / "seen"
    seen.touch()
    os.chown(seen, DAEMON, DAEMON)
    squatter = squat(service.socket, seen)
    try:
        wait_until(service.socket.exists, "the place is taken")
        service.start()  # ready all the same, and waiting for its place
        (home / "c.toml").write_text(CONFIG.format(port=free_port(), home=home))
        (home / "zone").write_text("x")
        (home / "words").write_text("the passphrase of the back-up\n")
        (home / "words").chmod(0o600)
        private = ec.generate_private_key(ec.SECP256R1())
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (home / "k.pem").write_bytes(pem)
        backup = ("key", "backup", "-o", str(home / "out"), "--passphrase-file", str(home / "words"))
        take = ("key", "import", "a.example.", str(home / "k.pem"), "--role", "ksk", "--algorithm", "13")
        for words in (backup, take):
            done = command(*words, "--config", str(home / "c.toml"))
            assert done.returncode == 1
            assert "nothing was sent" in done.stderr, done.stderr
        wait_until(lambda: seen.read_bytes().count(b"connection\n") >= 2, "both have connected")
        assert seen.read_bytes().replace(b"connection\n", b"") == b""
    finally:
        os.kill(squatter, signal.SIGKILL)
        os.waitpid(squatter, 0)
    service.socket.unlink()
    status = wait_until(lambda: status_of(service), "the service has its place")
    assert [warning.code for warning in status.warnings] == ["socket place taken"]
    assert command(*backup, "--config", str(home / "c.toml")).returncode == 0
    assert list((home / "out").glob("*.key"))


def status_of(service: KeyService) -> wp.StatusReply | None:
    try:
        (reply,) = ask(service.socket, wp.StatusRequest(2))
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    return reply if isinstance(reply, wp.StatusReply) else None


def command(*words: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from dnssecd.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *words],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("loss", ["cut", "gone", "forged"])
def test_a_log_that_changed_while_it_was_down(service: KeyService, loss: str) -> None:
    made(service, "zsk")
    log = service.state / "audit.log"
    service.stop()
    lines = log.read_text().splitlines(keepends=True)
    if loss == "gone":
        log.unlink()
    elif loss == "cut":
        log.write_text("".join(lines[:2]))
    else:
        log.write_text("".join(lines).replace('"generated"', '"used"'))
    service.start()
    (reply, status) = ask(service.socket, wp.AuditRequest(2, 5), wp.StatusRequest(3))
    assert isinstance(reply, wp.AuditReply)
    assert isinstance(status, wp.StatusReply)
    assert not reply.ok
    assert "audit log broken" in [warning.code for warning in status.warnings]


def test_a_key_directory_of_another_user_is_reported(service: KeyService) -> None:
    made(service, "zsk")
    service.stop()
    os.chown(service.keys, 61_003, 61_003)
    service.keys.chmod(0o777)
    service.start()
    status = status_of(service)
    assert status is not None
    assert "key file mode" in [warning.code for warning in status.warnings]
    os.chown(service.keys, 61_002, LINK)


def test_a_state_directory_of_another_user_is_refused(service: KeyService) -> None:
    service.stop()
    os.chown(service.state, 61_003, 61_003)
    service.state.chmod(0o777)
    with pytest.raises(AssertionError, match="belongs to user 61003"):
        service.start()
    assert service.events()[-1][0] == "stopped", "nothing was written there"
