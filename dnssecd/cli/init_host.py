"""What ``dnssecd init`` makes on the host: users, directories, files, units. Everything has its final mode at creation.

A step that finds its result there changes nothing and says so, so that a second run after a fault completes the first.
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import secrets
import shutil
import sys
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dnssecd.cli.common import Bad
from dnssecd.procs.program import run_program

DAEMON, KEY_SERVICE, LINK = "dnssecd", "dnssecd-signer", "dnssecd-link"
_COMMAND_S = 60
_SECRET_OCTETS = 32
#: Where systemd looks for units, the administrator's first.
_UNIT_PLACES = tuple(
    map(
        Path,
        (
            "/etc/systemd/system",
            "/usr/local/lib/systemd/system",
            "/usr/lib/systemd/system",
            "/lib/systemd/system",
        ),
    )
)
#: Directories that the units hide from the services (ProtectHome=, PrivateTmp=).
_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108
UNITS = ("dnssecd-signer.service", "dnssecd.service")


@dataclass(frozen=True, slots=True)
class Owner:
    """The user and group of a file, as numbers."""

    uid: int
    gid: int


def current_owner() -> Owner:
    """Return the user and group of this process."""
    return Owner(os.geteuid(), os.getegid())


class Host:
    """Makes what is missing and reports each step: a line such as ``created /etc/dnssecd``."""

    def __init__(self, report: Callable[[str, str], None]) -> None:
        self._report = report

    def directory(self, path: Path, mode: int, owner: Owner) -> None:
        """Make a directory, and its parents with mode 0755. Raise Bad when that fails or the path is something else."""
        if path.is_dir():
            self._report("exists", str(path))
            return
        try:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            os.mkdir(path, 0o700)
            os.chown(path, owner.uid, owner.gid)
            os.chmod(path, mode)
        except OSError as error:
            raise Bad(
                f"the directory {path} cannot be made ({error.strerror})", "correct this, and repeat"
            ) from None
        self._report("created", f"{path} ({_describe(mode, owner)})")

    def file(self, path: Path, content: bytes, mode: int, owner: Owner) -> None:
        """Write a file that does not exist. A file with the same content is left as it is; another one: Bad."""
        if path.exists():
            refuse_other(path, content)
            self._report("exists", str(path))
            return
        create(path, content, mode, owner)
        self._report("created", f"{path} ({_describe(mode, owner)})")

    def secret(self, path: Path, owner: Owner, mode: int = 0o400) -> None:
        """Write a file with a new secret of 32 octets in base64, unless the file exists."""
        if path.exists():
            self._report("exists", str(path))
            return
        create(path, b64encode(secrets.token_bytes(_SECRET_OCTETS)) + b"\n", mode, owner)
        self._report("created", f"{path} ({_describe(mode, owner)})")

    def users(self) -> tuple[Owner, Owner]:
        """Return the owners of the daemon's and the key service's files; make users and groups that are missing."""
        self._group(LINK)
        self._user(DAEMON, "/var/lib/dnssecd", "--user-group", "--groups", LINK)
        self._user(KEY_SERVICE, "/var/lib/dnssecd-signer", "--gid", LINK)
        daemon, key_service = pwd.getpwnam(DAEMON), pwd.getpwnam(KEY_SERVICE)
        return Owner(daemon.pw_uid, daemon.pw_gid), Owner(key_service.pw_uid, grp.getgrnam(LINK).gr_gid)

    def _group(self, name: str) -> None:
        try:
            grp.getgrnam(name)
        except KeyError:
            _run("groupadd", "--system", name)
            self._report("created", f"group {name}")
        else:
            self._report("exists", f"group {name}")

    def _user(self, name: str, home: str, *options: str) -> None:
        try:
            pwd.getpwnam(name)
        except KeyError:
            shell = "/usr/sbin/nologin"
            _run(
                "useradd",
                "--system",
                "--home-dir",
                home,
                "--no-create-home",
                "--shell",
                shell,
                *options,
                name,
            )
            self._report("created", f"user {name}")
        else:
            self._report("exists", f"user {name}")

    def units(self) -> bool:
        """Write systemd's units, unless they are installed. Return False on a host without systemd."""
        if find_unit() is not None:
            return True
        if not has_systemd():
            return False
        source, program = unit_source(), command_path()
        root = Owner(0, 0)
        for name in UNITS:
            text = (source / name).read_text().replace("/usr/bin/dnssecd", str(program))
            self.file(_UNIT_PLACES[0] / name, text.encode(), 0o644, root)
        rules = (source / "tmpfiles.d/dnssecd.conf").read_bytes()
        self.file(Path("/etc/tmpfiles.d/dnssecd.conf"), rules, 0o644, root)
        if Path("/run/systemd/system").is_dir():
            _run("systemctl", "daemon-reload")
        return True


def create(path: Path, content: bytes, mode: int, owner: Owner) -> None:
    """Write a new file: it has its owner before its content, and is complete or absent. Raise Bad."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(temporary, flags, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchown(descriptor, owner.uid, owner.gid)
                os.fchmod(descriptor, mode)
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            os.link(temporary, path)  # never replaces a file
        finally:
            temporary.unlink()
    except OSError as error:
        raise Bad(f"{path} cannot be written ({error.strerror})", "correct this, and repeat") from None


def refuse_other(path: Path, content: bytes) -> None:
    """Raise Bad when a file exists and has another content."""
    try:
        same = path.read_bytes() == content
    except FileNotFoundError:
        return
    except OSError as error:
        raise Bad(f"{path} cannot be read ({error.strerror})", "correct this, and repeat") from None
    if not same:
        raise Bad(
            f"{path} exists and has another content; dnssecd init overwrites nothing",
            f"edit {path} (then: dnssecd check-config), or move it away and repeat",
        )


def has_systemd() -> bool:
    """Return whether systemd is installed, running or not."""
    return any(
        Path(path).is_dir()
        for path in ("/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
    )


def find_unit() -> Path | None:
    """Return the path of the daemon's unit, None if there is none."""
    return next((place / UNITS[1] for place in _UNIT_PLACES if (place / UNITS[1]).is_file()), None)


def unit_source() -> Path:
    """Return the directory with the units of this installation: in a wheel's data, or in a checkout. Raise Bad."""
    checkout = Path(__file__).parents[2] / "systemd"
    for place in (Path(sys.prefix) / "share/dnssecd/systemd", checkout):
        if (place / UNITS[1]).is_file():
            return place
    raise Bad(
        "this installation has no systemd units",
        "install with `make install` or the Debian package (`make deb`), or use --directory DIR",
    )


def command_path() -> Path:
    """Return the path of the command for the units. Raise Bad where the services would not see it."""
    path = Path(sys.prefix) / "bin/dnssecd"
    if not path.is_file():
        raise Bad(
            f"{path} does not exist, so the units cannot start it",
            "install dnssecd into a virtual environment",
        )
    real = path.resolve()
    for place in _HIDDEN:
        if real.is_relative_to(place):
            raise Bad(
                f"dnssecd is installed in {sys.prefix}; the services see nothing below {place}",
                "install it elsewhere, as in: python3 -m venv /opt/dnssecd && /opt/dnssecd/bin/pip install .",
            )
    return path


def _describe(mode: int, owner: Owner) -> str:
    try:
        user, group = pwd.getpwuid(owner.uid).pw_name, grp.getgrgid(owner.gid).gr_name
    except KeyError:
        user, group = str(owner.uid), str(owner.gid)
    return f"{user}:{group}, mode {mode:04o}"


def _run(program: str, *words: str) -> None:
    """Run a program of the system. Raise Bad with what it said when it fails."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        raise Bad(
            f"the program {program} was not found", "install it (Debian: apt install passwd), and repeat"
        )
    ended = asyncio.run(run_program([path, *words], b"", _COMMAND_S, redact=str))
    if not ended.ok:
        said = ended.output.strip() or ended.detail
        raise Bad(f"{' '.join([path, *words])}: {said}", "correct this, and repeat")
