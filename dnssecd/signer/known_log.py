"""The keys of a software store in one file: a line for each change, in place of a file for each key.

Each key is in its own file in the key directory, which is synced before the line is written, and read at each start. So
a line need not be on the disk at once: after a crash the keys of lost lines are found in the key directory. A removal
is synced. The line tells a key whose file is missing from one that never was.

A line that is cut short or damaged, as a power failure leaves it, is left out and reported. The file is written again
without superseded lines at a start, and when they are many; if that is not possible (full disk), it is used as it is.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog

from dnssecd.signer import files
from dnssecd.signer.key_file import Description

NAME = "keys.log"
#: Lines that a crash may lose: each costs a new line at the next start.
UNSYNCED_MAX = 64
#: Octets of superseded lines beyond as many as present keys take; a shared key has a longer line with each zone.
DEAD_OCTETS = 1 << 20

log = structlog.get_logger()


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A key as it is from now on, or the id of one that is gone."""

    key: Description | None = None
    gone: str = ""


class KnownLog:
    """The file, in `directory`. Errors are OSError; what could not be written is not in the file."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        self._descriptor = -1
        self._unsynced = 0
        #: Octets of the file, and of the lines of present keys.
        self._octets = 0
        self._lines: dict[str, int] = {}
        self._live = 0
        #: The size at which the file could not be written again.
        self._untidy_at = 0
        self._ends_cut = False
        #: Lines of removals that could not be written yet; the next line takes them along.
        self._owed = b""

    def load(self) -> dict[str, Description]:
        """Open the file, made 0600 where it is missing, and return the keys."""
        self._shut()
        self._lines, self._live = {}, 0
        content = self.path.read_bytes() if self.path.exists() else b""
        *lines, cut = content.split(b"\n")
        keys: dict[str, Description] = {}
        damaged = int(bool(cut))
        for text in filter(None, lines):
            try:
                line = msgspec.json.decode(text, type=Line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                damaged += 1
                continue
            if line.key is not None:
                keys[line.key.id] = line.key
                self._count(line.key.id, len(text) + 1)
            else:
                keys.pop(line.gone, None)
                self._count(line.gone, 0)
        if damaged:
            log.warning(
                "lines of a key list are damaged; keys are read from their files",
                file=str(self.path),
                lines=damaged,
            )
        self._open()
        if damaged or len(lines) > len(keys):
            self.tidy(keys.values())
        return keys

    def put(self, key: Description) -> None:
        """Write a key that is durable elsewhere."""
        line = _encoded(Line(key))
        self._write(line)
        self._count(key.id, len(line))
        if self._unsynced >= UNSYNCED_MAX:
            self.sync()

    def drop(self, key_id: str) -> None:
        """Write durably that a key is gone.

        The key is gone already, so a full disk does not make that undone: it is written as soon as there is room.
        """
        line = _encoded(Line(gone=key_id))
        try:
            self._write(line)
            self.sync()
        except OSError as error:
            self._owed += line
            log.warning(
                "a removal is not in the key list yet", file=str(self.path), key=key_id, error=str(error)
            )
        self._count(key_id, 0)

    def tend(self, present: Iterable[Description]) -> None:
        """Write the file again if superseded lines take most of it; `present`: all keys."""
        if self._octets > max(2 * self._live + DEAD_OCTETS, 2 * self._untidy_at):
            self.tidy(present)

    def sync(self) -> None:
        """Bring to the disk what was written."""
        if self._unsynced:
            os.fdatasync(self._descriptor)
        self._unsynced = 0

    def tidy(self, keys: Iterable[Description]) -> bool:
        """Replace the file by one with these keys alone; return False, with the file as it was, if it cannot be.

        A full disk must not stop signing, and the next start tries again.
        """
        try:
            self.rewrite(keys)
        except OSError as error:
            log.warning("a key list cannot be written again", file=str(self.path), error=str(error))
            self._untidy_at = self._octets
            return False
        return True

    def rewrite(self, keys: Iterable[Description]) -> None:
        """Replace the file by one with these keys, durably."""
        lines = {key.id: _encoded(Line(key)) for key in keys}
        try:
            files.write_atomically(self.path, b"".join(lines.values()))
        finally:  # after a fault it may be the old file or the new one that has the name
            self._shut()
            self._open()
        self._owed, self._untidy_at = b"", 0
        self._lines = {key_id: len(line) for key_id, line in lines.items()}
        self._live = sum(self._lines.values())

    def close(self) -> None:
        """Close the file, with what is owed and synced if that is possible."""
        with suppress(OSError):
            if self._owed:
                self._write(b"")
        self._shut()

    def _shut(self) -> None:
        if self._descriptor >= 0:
            with suppress(OSError):
                self.sync()
            os.close(self._descriptor)
        self._descriptor = -1

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self.path, flags, 0o600)
        self._unsynced = 0
        self._octets = size = os.fstat(self._descriptor).st_size
        self._ends_cut = size > 0 and os.pread(self._descriptor, 1, size - 1) != b"\n"

    def _count(self, key_id: str, octets: int) -> None:
        """Note the line of a key; 0: it is gone."""
        self._live += octets - self._lines.pop(key_id, 0)
        if octets:
            self._lines[key_id] = octets

    def _write(self, lines: bytes) -> None:
        if self._descriptor < 0:
            self._open()
        octets = b"\n" * self._ends_cut + self._owed + lines
        size = os.fstat(self._descriptor).st_size
        try:
            if os.write(self._descriptor, octets) != len(octets):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        except OSError:
            try:
                os.ftruncate(self._descriptor, size)
            except OSError:
                self._ends_cut = True  # the next line begins behind the damaged one
            raise
        self._ends_cut, self._owed = False, b""
        self._octets = size + len(octets)
        self._unsynced += 1


def _encoded(line: Line) -> bytes:
    return msgspec.json.encode(line) + b"\n"
