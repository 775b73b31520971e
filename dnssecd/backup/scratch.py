"""A private directory beside a back-up being made; what a killed back-up left of its own is removed.

Whether one is still in work is told by a lock on the file in it, which ends with its process however that ends: two
back-ups into one directory, of two daemons perhaps, leave each other alone.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = ".dnssecd-backup-"
#: The file that becomes the back-up.
IN_WORK = "archive"
_TRIES = 5


@contextmanager
def scratch_directory(beside: Path) -> Iterator[tuple[Path, int]]:
    """Make the directory with `IN_WORK` in it, mode 0600, opened to write; removed at the end. OSError."""
    for left in beside.glob(f"{PREFIX}*"):
        _sweep(left)
    scratch, descriptor = _made(beside)
    try:
        yield scratch, descriptor
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        os.close(descriptor)


def _made(beside: Path) -> tuple[Path, int]:
    for _ in range(_TRIES):
        scratch = Path(tempfile.mkdtemp(prefix=PREFIX, dir=beside))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(scratch / IN_WORK, flags, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return scratch, descriptor
        os.close(descriptor)  # another back-up took it for a killed one's before it was locked
    raise OSError(f"{beside}: what is made there is removed by others at once")


def _sweep(left: Path) -> None:
    """Remove a directory unless its back-up is in work or another user's."""
    with suppress(OSError):
        descriptor = os.open(left / IN_WORK, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
        finally:
            os.close(descriptor)
