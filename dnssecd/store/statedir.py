"""The lock of the state directory: one process uses it at a time, the daemon or a restore."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


class StateInUse(Exception):
    """Another process uses the state directory."""


def may_use(state_dir: Path) -> bool:
    """Return whether the directory is missing or owned by this process's user, or that user is root."""
    return os.geteuid() == 0 or not state_dir.exists() or state_dir.stat().st_uid == os.geteuid()


def tighten(state_dir: Path) -> str:
    """Remove other users' write permission from the state directory and what is in it, zones included.

    Return what was wrong, or "". Raise OSError.
    """
    info = state_dir.stat()
    if info.st_uid not in (0, os.geteuid()):
        return f"{state_dir} belongs to user {info.st_uid}, who can replace zones and states; chown it"
    open_to_others = [fault for place in (state_dir, state_dir / "zones") for fault in _tightened(place)]
    if not open_to_others:
        return ""
    more = f" (and {len(open_to_others) - 1} more)" if len(open_to_others) > 1 else ""
    return f"{open_to_others[0]}{more}: others could replace zones and states; corrected"


def _tightened(directory: Path) -> Iterator[str]:
    """Correct a directory and the files in it; yield what was wrong."""
    try:
        with os.scandir(directory) as entries:
            files = [entry.path for entry in entries if entry.is_file(follow_symlinks=False)]
    except FileNotFoundError:
        return
    for path in (str(directory), *files):
        try:
            mode = os.stat(path).st_mode
            if mode & 0o022:
                os.chmod(path, mode & 0o7755)
                yield f"{path} had mode {mode & 0o7777:04o}"
        except FileNotFoundError:  # a side file of a database that was closed just now
            continue
        except PermissionError:
            yield f"{path} belongs to another user, who can change it: chown it"


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
