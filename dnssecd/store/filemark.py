"""Marks of a zone's database file and write-ahead log: they show at the next start whether the file was changed.

A mark has the file's device, inode, size and times, and the salts (SQLite draws new ones when it restarts the log) and
the time of the log. ``daemon/zones/marks.py`` takes it after dnssecd's commits and checkpoints. If the process is
killed between a commit and its mark, the log has grown but the file is unchanged: this (``GROWN``) differs from a file
that was written or replaced.

SQLite's change counter (file header, offset 24) is not used: in WAL mode only a commit that changes page 1 increments
it, so most edits do not; the time of modification shows all of them. The file must never be opened here: when a process
closes any descriptor of a file, it loses all its POSIX locks on it (fcntl(2)), including those of SQLite.
"""

import enum
import os
from contextlib import suppress
from datetime import UTC, datetime

import msgspec

#: Offset and length of the salts in the log's header (sqlite.org/fileformat2.html §4.1).
_SALTS = 16, 8


class FileMark(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Times in nanoseconds since the epoch. ``salts``: of the write-ahead log, in hex; "" where there is no log."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int
    salts: str = ""
    log_modified_ns: int = 0


class Standing(enum.Enum):
    """The result of comparing a database with its mark.

    SAME: not written. UNMARKED: there is no mark (the file is from an older dnssecd). GROWN: only the log was written,
    or both were and the log exists. MOVED: only owner, mode, links or device have changed. MERGED: the file was written
    and the log was not, as when the log is moved into the file. CHANGED: the file was written in another way, or
    replaced.
    """

    SAME = "same"
    UNMARKED = "unmarked"
    GROWN = "grown"
    MOVED = "moved"
    MERGED = "merged"
    CHANGED = "changed"


def take(path: str) -> FileMark | None:
    """Return the current mark of a database, None if the file is absent. Raise OSError when it cannot be read."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    salts, log_modified_ns = "", 0
    log = f"{path}-wal"
    if os.access(log, os.F_OK):  # of 10,000 idle zones none has a log, and this is the cheapest check
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
    """Return the log's salts, in hex. SQLite has no locks on the log, so opening and closing it is safe."""
    file = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
    try:
        offset, length = _SALTS
        return os.pread(file, length, offset).hex()
    finally:
        os.close(file)


def compare(known: FileMark | None, found: FileMark) -> tuple[Standing, str]:
    """Return the result of comparing ``found`` with the stored mark, and the difference in words."""
    if known is None:
        return Standing.UNMARKED, "dnssecd has no mark of it"
    if found == known:
        return Standing.SAME, ""
    if found.inode != known.inode:
        return Standing.CHANGED, f"it was replaced by another file (inode {found.inode}, not {known.inode})"
    same_log = (found.salts, found.log_modified_ns) == (known.salts, known.log_modified_ns)
    if found.modified_ns != known.modified_ns and found.salts:
        # A program that opens and closes the database removes the log: an existing log was left by a killed dnssecd.
        if same_log:
            return Standing.MERGED, "its write-ahead log was moved into it"
        return (
            Standing.GROWN,
            "it was written, and its log exists, as when dnssecd is killed while it writes",
        )
    if found.size != known.size:
        return Standing.CHANGED, f"it has {found.size} bytes, not {known.size}; {_written(found)}"
    if found.modified_ns != known.modified_ns:
        return Standing.CHANGED, _written(found)
    if known.salts and not found.salts:
        return Standing.CHANGED, "its write-ahead log with the latest commits is missing"
    if not same_log:
        return Standing.GROWN, "its write-ahead log has grown"
    return Standing.MOVED, "its owner, mode, links or device have changed"


def _written(found: FileMark) -> str:
    return f"it was written at {datetime.fromtimestamp(found.modified_ns // 10**9, UTC):%Y-%m-%dT%H:%M:%SZ}"


def encode(mark: FileMark | None) -> str | None:
    """Return a mark as text."""
    return None if mark is None else msgspec.json.encode(mark).decode()


def decode(text: str | None) -> FileMark | None:
    """Return the mark of a text; None for no text, or for a text that is not a mark."""
    try:
        return None if text is None else msgspec.json.decode(text, type=FileMark)
    except msgspec.MsgspecError:
        return None
