"""A private directory next to a backup that is being made; those of killed backups are removed.

A lock on the file in the directory shows that its backup is still running; the lock ends with the process. So two
backups into one directory, for example of two daemons, do not disturb each other.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = ".dnssecd-backup-"
#: The file that becomes the backup.
IN_WORK = "archive"
_TRIES = 5


@contextmanager
def scratch_directory(beside: Path) -> Iterator[tuple[Path, int]]:
    """Provide the directory with ``IN_WORK``, mode 0600, open for writing; remove it at the end. Raise OSError."""
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
        os.close(descriptor)  # another backup removed it before it was locked, as that of a killed backup
    raise OSError(f"{beside}: another process removes new files immediately")


def _sweep(left: Path) -> None:
    """Remove a directory unless its backup is running or belongs to another user."""
    with suppress(OSError):
        descriptor = os.open(left / IN_WORK, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
        finally:
            os.close(descriptor)
