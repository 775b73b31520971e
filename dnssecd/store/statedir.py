"""The lock of the state directory: one process uses it at a time, the daemon or a restore."""

import fcntl
import os
from pathlib import Path


class StateInUse(Exception):
    """Another process uses the state directory."""


def may_use(state_dir: Path) -> bool:
    """Return whether the directory is missing or owned by this process's user, or that user is root."""
    return os.geteuid() == 0 or not state_dir.exists() or state_dir.stat().st_uid == os.geteuid()


def tighten(state_dir: Path) -> str:
    """Remove other users' write permission from the state directory; return what was wrong, or "". Raise OSError."""
    info = state_dir.stat()
    if info.st_mode & 0o022:
        state_dir.chmod(info.st_mode & 0o7755)
        return f"{state_dir} had mode {info.st_mode & 0o7777:04o}: others could replace zones and states; corrected"
    if info.st_uid not in (0, os.geteuid()):
        return f"{state_dir} belongs to user {info.st_uid}, who can replace zones and states; chown it"
    return ""


def own(state_dir: Path) -> int:
    """Create the state directory if missing and take its lock; return the lock, which the caller closes at the end.

    Raise StateInUse when another process has it, OSError when it cannot be used.
    """
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    (state_dir / "zones").mkdir(mode=0o700, exist_ok=True)
    lock = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise StateInUse(f"another dnssecd process uses {state_dir}") from error
    return lock
