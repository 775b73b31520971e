"""The state directory belongs to one process at a time: the daemon, or a restore."""

import fcntl
import os
from pathlib import Path


class StateInUse(Exception):
    """Somebody else works in the state directory."""


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
