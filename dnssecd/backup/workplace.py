"""Where a restore works: it holds the state directory. A check of a backup also works beside a running daemon."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dnssecd.backup.scratch import scratch_directory
from dnssecd.config.model import Config
from dnssecd.store.statedir import StateInUse, own

_SCRATCH = ".restore-"


@contextmanager
def owned(config: Config) -> Iterator[None]:
    """Lock the state directory during the block. Raise StateInUse, OSError."""
    lock = own(config.server.state_dir)
    try:
        yield
    finally:
        os.close(lock)


@contextmanager
def checking(config: Config) -> Iterator[bool]:
    """Prepare a check; yield whether it runs beside another process, which has the lock. Raise OSError.

    The lock is taken only where the check has to start the key service itself: two of them must not use one store.
    """
    if config.signer.socket is not None:
        yield True
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(owned(config))
            beside = False
        except StateInUse:
            beside = True
        yield beside


@contextmanager
def place_for(config: Config, *, check: bool) -> Iterator[Path]:
    """Provide a private directory for unpacked databases, on the file system of the state; remove that of a killed run.

    A restore moves databases from there into place. A check may run beside a restore or a backup, and where nothing
    may be written.
    """
    state_dir = config.server.state_dir
    if not check:
        with _place_of_restore(state_dir / "zones") as place:
            yield place
    elif os.access(state_dir, os.W_OK):
        with scratch_directory(state_dir) as (place, _):
            yield place
    else:
        with tempfile.TemporaryDirectory(prefix=_SCRATCH) as name:
            yield Path(name)


@contextmanager
def _place_of_restore(zones: Path) -> Iterator[Path]:
    for left in zones.glob(f"{_SCRATCH}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=zones) as name:
        yield Path(name)
