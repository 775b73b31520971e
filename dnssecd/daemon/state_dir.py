"""The lock on the state directory: one daemon uses it at a time, and no other user may."""

import errno
from pathlib import Path

from dnssecd.clock import Clock
from dnssecd.ops.events import EventCore
from dnssecd.store.statedir import StateInUse, may_use, own, tighten


class CannotStart(Exception):
    """The daemon cannot run; the message states the obstacle and who can remove it."""


def own_state_dir(state_dir: Path) -> int:
    """Make the state directory and lock it; raise CannotStart if another daemon, or a restore, holds the lock."""
    try:
        if not may_use(state_dir):
            raise CannotStart(f"state_dir {state_dir} belongs to another user; chown it to the daemon's")
        return own(state_dir)
    except StateInUse as error:
        raise CannotStart(f"{error}; one daemon to a state_dir") from error
    except OSError as error:
        why = f"state_dir {state_dir} cannot be used: {error.strerror}"
        if error.errno == errno.EROFS:
            why += "; dnssecd writes there while it serves: mount it for writing. Secondaries still serve the zones"
        raise CannotStart(why) from error


def open_events(state_dir: Path, clock: Clock) -> EventCore:
    """Open the events of a state directory, which is closed to other users first; StoreError, OSError."""
    was_open = tighten(state_dir)
    events = EventCore(state_dir / "events.sqlite", clock)
    if was_open:
        events.raise_event("keystore-mode-fixed", None, was_open, subject=str(state_dir))
    return events
