"""The state directory belongs to one process at a time: the daemon, or a restore."""

import fcntl
import os
from pathlib import Path


class StateInUse(Exception):
    """Somebody else works in the state directory."""


def may_use(state_dir: Path) -> bool:
    """Whether the directory is missing, this process's own, or this process is root's."""
    return os.geteuid() == 0 or not state_dir.exists() or state_dir.stat().st_uid == os.geteuid()


def tighten(state_dir: Path) -> str:
    """Keep other users from writing into the state directory; return what was wrong, or "". OSError."""
    info = state_dir.stat()
    if info.st_mode & 0o022:
        state_dir.chmod(info.st_mode & 0o7755)
        return f"{state_dir} had mode {info.st_mode & 0o7777:04o}: others could replace zones and states; corrected"
    if info.st_uid not in (0, os.geteuid()):
        return f"{state_dir} belongs to user {info.st_uid}, who can replace zones and states; chown it"
    return ""


def own(state_dir: Path) -> int:
    """Make the state directory where it is missing and take its lock; return the lock, to be closed at the end.

    StateInUse when another process has it, OSError when it cannot be used.
    """
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    (state_dir / "zones").mkdir(mode=0o700, exist_ok=True)
    lock = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise StateInUse(f"another dnssecd works in {state_dir}") from error
    return lock
