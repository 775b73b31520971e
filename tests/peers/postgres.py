"""A PostgreSQL server of the tests' own: Debian's binaries, in a temporary directory, as an unprivileged user."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Self

import pytest

from dnssecd.store.log_place import LogPlace
from tests.peers.process import LOOPBACK, PeerError, free_port, wait_until

BIN = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), Path("/nowhere"))
PASSWORD = "a secret of the tests"
_numbers = count(1)
#: Settings that a primary and its standby do not share.
STANDBY = frozenset({"synchronous_standby_names", "primary_conninfo"})


def _user() -> pwd.struct_passwd | None:
    """The user that the server runs as: PostgreSQL refuses root."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PeerError("there is no unprivileged user for PostgreSQL")


class Postgres:
    """One server. ``settings``: more of postgresql.conf."""

    def __init__(self, directory: Path, settings: Mapping[str, str] | None = None) -> None:
        self.directory, self.port = directory, free_port()
        self.data = directory / "data"
        self.settings = {"fsync": "off", **(settings or {})}
        self.password_file = directory / "password"
        self._empty: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None

    def _run(self, *command: str, more: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        user, given = _user(), more or {}
        who = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        return subprocess.run(
            command,
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=180,
            env={**_environment(), **given},
            **who,
        )  # type: ignore[call-overload,no-any-return]

    def make(self) -> Self:
        """Create the server's files."""
        user = _user()
        if user is not None:
            os.chown(self.directory, user.pw_uid, user.pw_gid)
        self.directory.chmod(0o755)
        self.password_file.write_text(PASSWORD + "\n")
        if user is not None:
            os.chown(self.password_file, user.pw_uid, user.pw_gid)
        made = self._run(
            str(BIN / "initdb"), "-D", str(self.data), "-U", "postgres", "--no-sync", "--no-instructions",
            "-A", "scram-sha-256", f"--pwfile={self.password_file}", "-E", "UTF8", "--locale=C",
        )  # fmt: skip
        if made.returncode:
            raise PeerError(f"initdb: {made.stderr}")
        self.password_file.chmod(0o644)
        return self

    def start(self) -> Self:
        """Start, and return when it takes connections."""
        user = _user()
        more = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._configure()
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(BIN / "postgres"), "-D", str(self.data)], cwd=self.directory, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, env=_environment(), start_new_session=True, **more,
            )  # type: ignore[call-overload]  # fmt: skip
        wait_until(self._ready, f"PostgreSQL ready: {self.directory / 'log'}", 120)
        return self

    def _configure(self) -> None:
        lines = {
            "port": str(self.port), "listen_addresses": f"'{LOOPBACK}'", "max_connections": "60",
            "unix_socket_directories": f"'{self.directory}'", "shared_buffers": "'32MB'", **self.settings,
        }  # fmt: skip
        (self.data / "postgresql.auto.conf").write_text("".join(f"{k} = {v}\n" for k, v in lines.items()))

    def change(self, **settings: str) -> None:
        """Change settings that need no restart."""
        self.settings |= settings
        self._configure()
        os.kill(self.pid, signal.SIGHUP)

    def make_standby(self, directory: Path, name: str) -> Postgres:
        """Return a hot standby of this server, not started; ``name``: in synchronous_standby_names."""
        found = Postgres(
            directory, {key: value for key, value in self.settings.items() if key not in STANDBY}
        )
        user = _user()
        directory.mkdir(mode=0o755)
        if user is not None:
            os.chown(directory, user.pw_uid, user.pw_gid)
        login = (
            f"host={LOOPBACK} port={self.port} user=postgres password='{PASSWORD}' application_name={name}"
        )
        copied = self._run(
            str(BIN / "pg_basebackup"), "-d", login, "-D", str(found.data), "-X", "stream", "-c", "fast", "--no-sync"
        )  # fmt: skip
        if copied.returncode:
            raise PeerError(f"pg_basebackup: {copied.stderr}")
        (found.data / "standby.signal").touch()
        if user is not None:
            os.chown(found.data / "standby.signal", user.pw_uid, user.pw_gid)
        found.password_file = self.password_file
        found.settings["primary_conninfo"] = "'" + login.replace("'", "''") + "'"
        return found

    def promote(self) -> None:
        """Let a standby become a primary."""
        done = self._run(str(BIN / "pg_ctl"), "promote", "-w", "-D", str(self.data))
        if done.returncode:
            raise PeerError(f"pg_ctl promote: {done.stdout}{done.stderr}")

    def exited(self) -> bool:
        """Whether it ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def _ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise PeerError(f"PostgreSQL ended: {(self.directory / 'log').read_text()[-2000:]}")
        return self._run(str(BIN / "pg_isready"), "-q", "-h", LOOPBACK, "-p", str(self.port)).returncode == 0

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def stop(self, *, immediately: bool = False) -> None:
        """Stop: connections are closed; immediately: as a crash."""
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, 3 if immediately else 2)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(20)
        self._process = None

    @property
    def running(self) -> bool:
        return self._process is not None

    def give_back(self, name: str) -> None:
        """Take a database that is empty again: to create one takes longer than to empty it."""
        self._empty.append(name)

    def uri(self, name: str, port: int | None = None) -> str:
        return f"postgresql://postgres@{LOOPBACK}:{port or self.port}/{name}"

    def place(self, name: str, node: str = "a", port: int | None = None, **more: str | bool) -> LogPlace:
        """Where the database *name* is, for a node."""
        given = {"require_synchronous": False, "password_file": str(self.password_file), **more}
        return LogPlace(node=node, uri=self.uri(name, port), **given)  # type: ignore[arg-type]

    def make_database(self) -> str:
        """Return the name of an empty database."""
        if self._empty:
            return self._empty.pop()
        name = f"cluster{next(_numbers)}"
        made = self._run(
            str(BIN / "createdb"), "-h", str(self.directory), "-p", str(self.port), "-U", "postgres",
            "-T", "template0", name, more={"PGPASSWORD": PASSWORD},
        )  # fmt: skip
        if made.returncode:
            raise PeerError(f"createdb: {made.stderr}")
        return name


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server for all tests of this process."""
    if not (BIN / "initdb").exists():
        pytest.skip("PostgreSQL is not installed: scripts/setup-peers")
    directory = Path(tempfile.mkdtemp(prefix="postgres-"))
    server = Postgres(directory).make().start()
    yield server
    server.stop(immediately=True)
    shutil.rmtree(directory, ignore_errors=True)
