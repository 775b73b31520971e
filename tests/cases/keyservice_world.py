"""A key service under a user of its own, as the units run it, and clients under others. Takes root."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dnssecd import keyservice_protocol as wp
from tests.peers.paths import REPOSITORY

DAEMON, SIGNER, STRANGER, LINK = 61_001, 61_002, 61_003, 61_001
ANNA, BEN, OFFICERS = 61_011, 61_012, 61_010
ZONE, OTHER = b"\x01a\x07example\x00", b"\x01b\x07example\x00"
PASSPHRASE = b"chosen by the client"


class KeyService:
    """The service. The daemon's user may write to `run`, the directory of its socket, as in configurations of 0.1."""

    def __init__(self, home: Path, limits: dict[str, Any]) -> None:
        home.chmod(0o755)
        self.limits = limits
        self.home, self.run, self.state, self.keys = home, home / "run", home / "state", home / "keys"
        self.socket = self.run / "signer.sock"
        for directory in (self.run, self.state, self.keys):
            directory.mkdir(mode=0o700)
        (home / "passphrase").write_text("correct horse battery staple\n")
        (home / "passphrase").chmod(0o600)
        for path in (self.state, self.keys, home / "passphrase"):
            os.chown(path, SIGNER, LINK)
        os.chown(self.run, 0, LINK)
        self.run.chmod(0o1771)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        store = {"name": "local", "type": "software", "directory": str(self.keys)}
        settings = {
            "socket": str(self.socket),
            "state_dir": str(self.state),
            "socket_mode": 0o660,
            "allowed_uids": [DAEMON],
            "officer_gid": OFFICERS,
            "limits": {"default": self.limits},
            "keystores": [store | {"passphrase_file": str(self.home / "passphrase")}],
        }
        user = ("setpriv", f"--reuid={SIGNER}", f"--regid={LINK}", "--clear-groups")
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*user, sys.executable, "-P", "-m", "dnssecd.signer"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd="/",
                env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            )  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(settings).encode() + b"\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == b"ready\n", (self.home / "log").read_text()[-2000:]

    def stop(self) -> None:
        """End it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        self.process = None

    def events(self) -> list[tuple[str, str]]:
        """Event and key of each entry of the audit log."""
        lines = (self.state / "audit.log").read_text().splitlines()
        return [(entry["event"], str(entry["fields"].get("key", ""))) for entry in map(json.loads, lines)]


@contextmanager
def key_service(**limits: Any) -> Iterator[KeyService]:
    """A running service for the length of the block, in a directory that all users reach."""
    with tempfile.TemporaryDirectory(prefix="dnssecd-case-", dir="/tmp") as home:
        service = KeyService(Path(home), limits)
        service.start()
        try:
            yield service
        finally:
            if service.process is not None:
                service.stop()


def as_user(uid: int, work: Callable[[], Any], *groups: int) -> Any:
    """What `work` returns in a process of another user, as JSON has it."""
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups(list(groups))
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            result = work()
        except BaseException as error:  # the parent must hear of it, and the copy of pytest must end here
            result = f"{type(error).__name__}: {error}"
        os.write(theirs, json.dumps(result).encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as stream:
        text = stream.read()
    os.waitpid(child, 0)
    return json.loads(text)


def as_daemon(work: Callable[[], Any]) -> Any:
    """`as_user` for the daemon's."""
    return as_user(DAEMON, work, LINK)


def command(officer: int, *words: str) -> tuple[int, str]:
    """Exit status and output of a `dnssecd` command that a key officer gives."""
    code = "import sys; from dnssecd.cli import main; sys.exit(main())"
    user = ("setpriv", f"--reuid={officer}", f"--regid={officer}", f"--groups={LINK},{OFFICERS}")
    done = subprocess.run(
        [*user, sys.executable, "-P", "-c", code, *words], cwd="/",
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def ask(path: Path, *requests: wp.Request) -> list[wp.Reply]:
    """Send requests on one connection, one after another; the replies until it closes."""
    replies: list[wp.Reply] = []
    frames = wp.frame_buffer()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(path))
        for request in requests:
            connection.sendall(wp.encode_frame(request))
            while len(replies) < requests.index(request) + 1 and (octets := connection.recv(1 << 20)):
                replies += [wp.decode_reply(body) for body in frames.feed(octets)]
    return replies


def told(reply: wp.Reply) -> str:
    """A reply in a few words: its kind, or the code of an error."""
    return reply.code if isinstance(reply, wp.ErrorReply) else type(reply).__name__
