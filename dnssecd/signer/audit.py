"""The audit log: append-only, hash-chained, one JSON line for each entry.

A line is an `AuditEntry` whose `hash` is SHA-256 over the hash before it and the entry with an empty hash.
Changing, removing or inserting a line breaks the chain at that place; cutting off the end shows only
against a hash noted elsewhere, which is why `head` is part of the service's status and of its log, and is noted
beside the log (`audit_head`).

A log of more than ROTATE_OCTETS is put away. Of those put away the oldest are removed, with an entry that says so:
the log takes at most ROTATE_OCTETS times KEPT_FILES of the disk.

Crash rule: each entry is written and synced before the request that it records is answered. A line torn by a crash is
closed at the next start, and the entry after it names the torn line's SHA-256; the check accepts exactly
that.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from dnssecd.keyservice_protocol import AuditEntry, AuditReply
from dnssecd.signer import files
from dnssecd.signer.audit_head import NotedHead, shortfall
from dnssecd.signer.now import Now

START = "0" * 64
TORN = "torn line"
CONTINUED = "continued"
REMOVED = "oldest file removed"
ROTATE_OCTETS = 16 * 1024 * 1024
KEPT_FILES = 32
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AuditEntry)


class AuditBroken(Exception):
    """The chain does not hold; the message names the line."""


class AuditTorn(AuditBroken):
    """The log ends in the middle of an entry."""


def entry_hash(before: str, entry: AuditEntry) -> str:
    """Hash of `entry`, chained to the hash `before` it."""
    bare = msgspec.structs.replace(entry, hash="")
    return hashlib.sha256(before.encode() + _encoder.encode(bare)).hexdigest()


def walk(path: Path, before: str | None = START, number: int = 0) -> Iterator[AuditEntry]:
    """Yield one file's entries in order, checking the chain; AuditBroken where it does not hold.

    The file continues at hash `before` and entry `number`; with `before` None, where its first entry says.
    """
    torn = b""
    with path.open("rb") as file:
        for line_number, line in enumerate(file, 1):
            entry = _decode(line)
            if entry is None:
                if torn:
                    raise AuditBroken(f"{path} line {line_number - 1} is not an audit entry")
                torn = line
                continue
            if torn and (entry.event != TORN or entry.fields.get("sha256") != _sha256(torn)):
                raise AuditBroken(f"{path} line {line_number - 1} is not an audit entry")
            if before is None:
                before, number = _start_of(entry)
            if entry.number != number + 1 or entry.hash != entry_hash(before, entry):
                raise AuditBroken(f"{path} line {line_number}: the chain is broken here")
            before, number, torn = entry.hash, entry.number, b""
            yield entry
    if torn:
        raise AuditTorn(f"{path} ends in the middle of an entry")


def _decode(line: bytes) -> AuditEntry | None:
    try:
        return _decoder.decode(line)
    except msgspec.DecodeError:
        return None


def _start_of(first: AuditEntry) -> tuple[str, int]:
    if first.event == CONTINUED:
        return str(first.fields.get("before")), first.number - 1
    return START, 0


def files_of(path: Path) -> list[Path]:
    """Return the log's files, oldest first: those put away, `path`.NUMBER of their last entry, and `path` itself."""
    old = [one for one in path.parent.glob(path.name + ".*") if one.suffix[1:].isdigit()]
    return [*sorted(old, key=lambda one: int(one.suffix[1:])), path]


def check(path: Path, limit: int, head: str = "") -> AuditReply:
    """Check the whole log, all files that are still there; the last `limit` entries that hold are returned.

    `head`: what `AuditLog.head` was before; a log that does not reach it was cut off, or is another.
    """
    last: deque[AuditEntry] = deque(maxlen=max(0, min(limit, 1000)))
    count, detail = 0, ""
    before: str | None = None
    first = number = removed = 0
    at_head = ""
    try:
        for file in files_of(path):
            for entry in walk(file, before, number):
                before, number = entry.hash, entry.number
                first = first or number
                if entry.event == REMOVED:
                    removed = int(entry.fields.get("last", 0))
                if head.startswith(f"{number}:"):
                    at_head = entry.hash
                count += 1
                last.append(entry)
        detail = shortfall(head, number, at_head)
    except (AuditBroken, OSError) as error:
        detail = str(error)
    good = not detail
    if good and first > removed + 1:
        detail = f"the files with the entries before {first} were archived or removed, not by the key service"
    return AuditReply(0, good, detail, count, tuple(last))


class AuditLog:
    """Appends entries to `path`, made 0600 where it is missing; put away when larger than `rotate_octets`."""

    def __init__(
        self,
        path: Path,
        now: Now,
        rotate_octets: int = ROTATE_OCTETS,
        kept_files: int = KEPT_FILES,
    ) -> None:
        self._path = path
        self._now = now
        self._number = 0
        self._hash = START
        self._descriptor = -1
        self._octets = 0
        self._rotate_octets = rotate_octets
        self._fault = ""
        self._kept_files = kept_files
        self._noted = NotedHead(path)
        self._at_noted = ""
        self._must_continue = False  # the file is new, and its first entry is not written yet
        #: Who hears of faults: given when the log is opened, and nothing is written before.
        self._hearers: tuple[Callable[[str], None], ...] = ()

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def head(self) -> str:
        """Number and hash of the last entry: note it elsewhere to make cutting the log off visible."""
        return f"{self._number}:{self._hash}"

    @property
    def fault(self) -> str:
        """What was found wrong with the log since the start, or ""."""
        return self._fault

    def open(self, on_fault: Callable[[str], None]) -> None:
        """Continue the log; a broken chain is kept, reported, and continued from its last good line.

        on_fault: hears what is found wrong while the log is written; what is found now is in :attr:`fault`.
        """
        self._hearers = (on_fault,)
        self._noted.read()
        self._open_file()
        self._continue()
        self._fault = self._fault or shortfall(self._noted.head, self._number, self._at_noted)
        self.note_head()

    def note_head(self) -> None:
        """Note the head beside the log; OSError is not raised, since the note may be behind."""
        with suppress(OSError):
            self._noted.write(self.head)

    def _continue(self) -> None:
        put_away = files_of(self._path)[:-1]
        if self._octets == 0 and put_away:  # a crash came between putting away and the first entry
            self._go_to_end_of(put_away[-1])
            self.append(CONTINUED, before=self._hash)
            return
        torn = self._torn_tail()
        if torn:
            os.write(self._descriptor, b"\n")  # if only that was missing, the entry is whole
        if self._go_to_end_of(self._path):
            self.append(TORN, sha256=_sha256(torn + b"\n"))

    def _go_to_end_of(self, path: Path) -> bool:
        """Take number and hash from the last good entry; return whether the file ends in a torn line."""
        try:
            for entry in walk(path, None):
                self._number, self._hash = entry.number, entry.hash
                if self._noted.head.startswith(f"{entry.number}:"):
                    self._at_noted = entry.hash
        except AuditTorn:
            return True
        except AuditBroken as error:
            self._fault = str(error)
        return False

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            self.note_head()
            os.close(self._descriptor)
        self._descriptor = -1

    def append(self, event: str, **fields: str | int) -> None:
        """Write one entry durably; OSError when that is not possible."""
        self.append_all(event, [fields])

    def append_all(self, event: str, entries: Sequence[Mapping[str, str | int]]) -> None:
        """Write an entry for each of `entries`, all of them durably at once, or none: then OSError."""
        self.look()
        self._continue_from_before()
        self._write(event, *entries)
        if self._octets > self._rotate_octets:
            with suppress(OSError):  # the entry is written; the next one tries again
                self._rotate()

    def look(self) -> None:
        """See that the file is the one that is written to; one that was removed or moved is replaced, and reported."""
        ours = os.fstat(self._descriptor)
        try:
            there = os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            self._wrong("the log was removed while the key service ran")
        else:
            if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
                if ours.st_size < self._octets:
                    self._octets = ours.st_size
                    self._wrong(f"the log was cut off before entry {self._number} while the key service ran")
                return
            self._path.rename(self._path.with_name(f"{self._path.name}.found-before-{self._number + 1}"))
            self._wrong("the log was replaced by another file while the key service ran")
        self._reopen()
        self._continue_from_before()

    def _wrong(self, why: str) -> None:
        self._fault = why
        for hear in self._hearers:
            hear(why)

    def _write(self, event: str, *entries: Mapping[str, str | int]) -> None:
        number, hashed, lines = self._number, self._hash, bytearray()
        for fields in entries:
            number += 1
            entry = AuditEntry(number, int(self._now()), event, dict(fields), "")
            hashed = entry_hash(hashed, entry)
            lines += _encoder.encode(msgspec.structs.replace(entry, hash=hashed)) + b"\n"
        size = os.fstat(self._descriptor).st_size
        try:
            if os.write(self._descriptor, lines) != len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
            os.fdatasync(self._descriptor)
        except OSError:
            with suppress(OSError):  # else the check finds the line, and the fault is the disk's
                os.ftruncate(self._descriptor, size)
            raise
        self._number, self._hash = number, hashed
        self._octets += len(lines)

    def _reopen(self) -> None:
        """Continue in a new file at the path; OSError leaves the old one in use."""
        old = self._descriptor
        self._open_file()
        os.close(old)
        self._must_continue = True

    def _continue_from_before(self) -> None:
        """Name the hash that a new file continues from; on a full disk this is done when there is room again."""
        if self._must_continue:
            self._write(CONTINUED, {"before": self._hash})
            self._must_continue = False

    def _open_file(self) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self._path, flags, 0o600)
        self._octets = os.fstat(self._descriptor).st_size

    def _rotate(self) -> None:
        """Put the file away and continue in a new one, whose first entry names the hash it continues from."""
        self.note_head()
        put_away = self._path.with_name(f"{self._path.name}.{self._number}")
        self._path.rename(put_away)
        try:
            self._reopen()
        except OSError:
            put_away.rename(self._path)
            raise
        self._continue_from_before()
        for old in files_of(self._path)[: -1 - self._kept_files]:
            self._write(REMOVED, {"last": int(old.suffix[1:])})
            files.remove(old)

    def _torn_tail(self) -> bytes:
        size = os.fstat(self._descriptor).st_size
        tail = os.pread(self._descriptor, 65536, max(0, size - 65536))
        return b"" if tail.endswith(b"\n") else tail[tail.rfind(b"\n") + 1 :]


def _sha256(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()
