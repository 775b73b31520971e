"""The head of the audit log, noted beside it: it shows at the next start that the log was cut off, replaced or removed.

The note is written from time to time and when the service ends, not with each entry. It is behind the log then, never
ahead of it: a log that ends before the note has lost entries. The daemon notes the head on its side as well.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from dnssecd.signer import files

SUFFIX = ".head"


def number_of(head: str) -> int:
    """Return the entry number in a head `NUMBER:HASH`; 0 when there is none."""
    number = head.partition(":")[0]
    return int(number) if number.isdigit() else 0


class NotedHead:
    """The note beside the log at `log`."""

    def __init__(self, log: Path) -> None:
        self._path = log.with_name(log.name + SUFFIX)
        self._written = ""
        self.head = ""

    def read(self) -> None:
        """Take over the head that was noted last, or "" where there is none."""
        with suppress(FileNotFoundError):
            self.head = self._written = self._path.read_text("ascii", "replace").strip()

    def write(self, head: str) -> None:
        """Note a head; OSError when that is not possible."""
        if head != self._written:
            files.write_atomically(self._path, head.encode() + b"\n")
            self._written = head


def shortfall(noted: str, reached: int, at_noted: str) -> str:
    """Why a log that reaches entry `reached` is not the one of the head `noted`, or "".

    at_noted: the hash of the log's entry with the noted number, "" where it was not looked at.
    """
    number, _, hashed = noted.partition(":")
    if reached < number_of(noted):
        return (
            f"the log ends at entry {reached}, but {number} were written: its end was cut off, or it is gone"
        )
    if at_noted and at_noted != hashed:
        return f"entry {number} is not the one that was written: the log was replaced"
    return ""
