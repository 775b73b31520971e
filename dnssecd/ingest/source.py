"""Read a zone file in blocks of lines; compare its identity before and after, to detect a write in between."""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dnssecd.ingest.errors import FileChanged, RecordError, ZoneFileError
from dnssecd.ingest.limits import Limits

_BLOCK = 1 << 20
_BOM = b"\xef\xbb\xbf"


class FileIdentity(NamedTuple):
    """The identity of one file, from ``stat``; files of equal identity count as files of equal content."""

    path: str
    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class Digest(NamedTuple):
    """The sources of a parsed zone: the identity of every file, and SHA-256 over all octets in reading order."""

    files: tuple[FileIdentity, ...]
    sha256: bytes

    def unchanged(self) -> bool:
        """Tell whether all files are unchanged, by ``stat`` alone; a missing file counts as changed."""
        try:
            return all(identity(Path(file.path)) == file for file in self.files)
        except OSError:
            return False


def identity(path: Path) -> FileIdentity:
    """Return the identity of the file that ``path`` leads to now (links are followed)."""
    return _identity(path, path.stat())


def _identity(path: Path, status: os.stat_result) -> FileIdentity:
    return FileIdentity(
        str(path), status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )


class Source:
    """One zone file being read; a context manager.

    The first line that :meth:`blocks` yields has number 1. At the end, ``ends_in_line`` is true if the last
    line has no line end: the file may have been cut.
    """

    def __init__(self, path: Path, limits: Limits, digest: "hashlib._Hash") -> None:
        self.path = path
        self.ends_in_line = False
        #: Lines yielded so far.
        self.lines = 0
        self.has_bom = False
        self._limit = limits.line
        self._digest = digest
        # Without O_NONBLOCK, opening a FIFO waits indefinitely.
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(self._descriptor)
            if not stat.S_ISREG(status.st_mode):
                kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
                raise RecordError(f"{path} is {kind}", "name a zone file")
        except BaseException:
            os.close(self._descriptor)
            raise
        self.identity = _identity(path, status)
        #: Owner, group and permissions.
        self.access = (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))
        self.is_public = bool(status.st_mode & stat.S_IROTH)

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def check_unchanged(self) -> None:
        """Raise FileChanged if the file was written since it was opened."""
        if _identity(self.path, os.fstat(self._descriptor)) != self.identity:
            cause = "the file changed while it was read"
            raise FileChanged([ZoneFileError(str(self.path), 0, cause, "it is read again")])

    def read_through(self) -> None:
        """Read the whole file for its digest alone."""
        while block := self._read():
            self._digest.update(block)

    def blocks(self) -> Iterator[list[bytes]]:
        """Yield lists of lines without their ends; CR LF and a lone CR end lines as LF does."""
        carry = b""
        first = True
        while block := self._read():
            self._digest.update(block)
            if first:
                first = False
                if block.startswith(_BOM):
                    self.has_bom = True
                    block = block[len(_BOM) :]
            block = carry + block
            cut = block.rfind(b"\n") + 1
            carry = block[cut:]
            if cut:
                yield from self._lines(block[:cut])
            if len(carry) > self._limit:
                raise self._too_long()
        if carry:
            text = _unix_lines(carry)
            self.ends_in_line = not text.endswith(b"\n")
            yield from self._lines(text if not self.ends_in_line else text + b"\n")

    def _read(self) -> bytes:
        try:
            return os.read(self._descriptor, _BLOCK)
        except OSError as error:
            raise RecordError(f"cannot read {self.path}: {error.strerror}", fatal=True) from None

    def _lines(self, text: bytes) -> Iterator[list[bytes]]:
        lines = _unix_lines(text).split(b"\n")
        lines.pop()
        if max(map(len, lines)) <= self._limit:
            self.lines += len(lines)
            yield lines
            return
        good = next(index for index, line in enumerate(lines) if len(line) > self._limit)
        self.lines += good
        yield lines[:good]
        raise self._too_long()

    def _too_long(self) -> RecordError:
        cause = f"line {self.lines + 1} is longer than {self._limit} octets"
        return RecordError(cause, "split the record over several lines with parentheses", fatal=True)


def _unix_lines(text: bytes) -> bytes:
    if b"\r" in text:
        return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return text
