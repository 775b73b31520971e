"""How a zone's database file was left, to be known again at the next start: the file itself and its write-ahead log.

A mark is the file's device, inode, size and times, and of the log the salts (SQLite draws new ones whenever it begins
the log again) and the time. ``daemon/zones/marks.py`` takes it after our own commits and checkpoints. The process may
be killed between a commit and its mark: then the log has grown behind a file that is as it was. That is told apart
(``GROWN``) from a file that was written or replaced.

SQLite's change counter (file header, offset 24) is not in it. In WAL mode only a commit that changes page 1 raises it,
so most edits do not; the time of modification shows them all. And the file must never be opened here: when a process
closes any descriptor of a file, it loses all its POSIX locks on it (fcntl(2)), SQLite's own among them.
"""

import enum
import os
from contextlib import suppress
from datetime import UTC, datetime

import msgspec

#: Offset and length of the salts in the log's header (sqlite.org/fileformat2.html §4.1).
_SALTS = 16, 8


class FileMark(msgspec.Struct, frozen=True, array_like=True):
    """Times in nanoseconds since the epoch. ``salts``: of the write-ahead log, in hex; "" where there is no log."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int
    salts: str = ""
    log_modified_ns: int = 0


class Standing(enum.Enum):
    """How a database compares with its mark.

    SAME: nothing was written. UNMARKED: there is no mark (it is from an older dnssecd). GROWN: only the log was
    written, or both were and the log is there. MOVED: only its owner, mode, links or device have changed. MERGED: the
    file was written and its log was not, as when the log is moved into it. CHANGED: the file was written otherwise,
    or replaced.
    """

    SAME = "same"
    UNMARKED = "unmarked"
    GROWN = "grown"
    MOVED = "moved"
    MERGED = "merged"
    CHANGED = "changed"


def take(path: str) -> FileMark | None:
    """Return the mark of a database as it is now; None when there is no file. OSError when it cannot be read."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    salts, log_modified_ns = "", 0
    log = f"{path}-wal"
    if os.access(log, os.F_OK):  # of 10,000 zones at rest none has one, and this asks in the cheapest way
        with suppress(FileNotFoundError):
            found = os.stat(log)
            if found.st_size:
                salts, log_modified_ns = _salts(log), found.st_mtime_ns
    return FileMark(
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        salts,
        log_modified_ns,
    )


def _salts(log: str) -> str:
    """Return the log's salts, in hex; SQLite has no locks on the log that closing it could lose."""
    file = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
    try:
        offset, length = _SALTS
        return os.pread(file, length, offset).hex()
    finally:
        os.close(file)


def compare(known: FileMark | None, found: FileMark) -> tuple[Standing, str]:
    """Return how ``found`` stands to the mark that was left, and in words what differs."""
    if known is None:
        return Standing.UNMARKED, "dnssecd left no mark of it"
    if found == known:
        return Standing.SAME, ""
    if found.inode != known.inode:
        return Standing.CHANGED, f"another file is in its place (inode {found.inode}, not {known.inode})"
    same_log = (found.salts, found.log_modified_ns) == (known.salts, known.log_modified_ns)
    if found.modified_ns != known.modified_ns and found.salts:
        # A program that opens and closes the database removes the log: one that is there was left by a killed dnssecd.
        if same_log:
            return Standing.MERGED, "its write-ahead log was moved into it"
        return (
            Standing.GROWN,
            "it was written, and its log is there, as when dnssecd is killed while it writes",
        )
    if found.size != known.size:
        return Standing.CHANGED, f"it has {found.size} octets, not {known.size}; {_written(found)}"
    if found.modified_ns != known.modified_ns:
        return Standing.CHANGED, _written(found)
    if known.salts and not found.salts:
        return Standing.CHANGED, "its write-ahead log is gone, with what was committed last"
    if not same_log:
        return Standing.GROWN, "its write-ahead log has grown"
    return Standing.MOVED, "its owner, mode, links or device have changed"


def _written(found: FileMark) -> str:
    return f"it was written at {datetime.fromtimestamp(found.modified_ns // 10**9, UTC):%Y-%m-%dT%H:%M:%SZ}"


def encode(mark: FileMark | None) -> str | None:
    """Return a mark as text."""
    return None if mark is None else msgspec.json.encode(mark).decode()


def decode(text: str | None) -> FileMark | None:
    """Return the mark that a text holds; None for no text, or one that is none."""
    try:
        return None if text is None else msgspec.json.decode(text, type=FileMark)
    except msgspec.MsgspecError:
        return None
