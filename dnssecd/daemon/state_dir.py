"""The state directory is taken by one daemon at a time."""

import errno
from pathlib import Path

from dnssecd.store.statedir import StateInUse, may_use, own


class CannotStart(Exception):
    """The daemon cannot run; the message says what is in the way and who can remove it."""


def own_state_dir(state_dir: Path) -> int:
    """Make the state directory and take the lock on it; CannotStart when another daemon, or a restore, has it."""
    try:
        if not may_use(state_dir):
            raise CannotStart(f"state_dir {state_dir} belongs to another user; chown it to the daemon's")
        return own(state_dir)
    except StateInUse as error:
        raise CannotStart(f"{error}; one daemon to a state_dir") from error
    except OSError as error:
        why = f"state_dir {state_dir} cannot be used: {error.strerror}"
        if error.errno == errno.EROFS:
            why += "; dnssecd writes there while it serves: mount it for writing. Secondaries serve what they have"
        raise CannotStart(why) from error
