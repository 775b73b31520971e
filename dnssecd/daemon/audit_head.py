"""The head of the key service's audit log as the daemon saw it last: a log never goes back.

It is kept in the daemon's state directory, out of the key service's reach. A log that was cut off, replaced or removed
shows by a head with a lower number, or by another hash under the same number.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog

FILE = "audit-head"
#: A head that goes back is an event for so long: what is in the log then is the new truth.
TOLD_FOR_S = 86_400
WRITE_EVERY_S = 60

log = structlog.get_logger("dnssecd.signer")


class _Seen(msgspec.Struct):
    head: str = ""
    fault: str = ""
    fault_at: int = 0


class AuditHead:
    """Takes the heads that the key service reports. Times are epoch seconds."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / FILE
        self._seen = self._read()
        self._written_at = 0.0

    def take(self, head: str, now: float) -> str:
        """Note a head; return what is wrong with the log, or ""."""
        seen = self._seen
        if not head:
            return ""  # a key service that reports none
        if why := _gone_back(seen.head, head):
            seen.fault, seen.fault_at = why, int(now)
            self._written_at = 0.0
        if head != seen.head:
            seen.head = head
            if abs(now - self._written_at) >= WRITE_EVERY_S:
                self._write(now)
        return seen.fault if abs(now - seen.fault_at) < TOLD_FOR_S else ""

    def close(self, now: float) -> None:
        """Write what was seen last."""
        if self._seen.head:
            self._write(now)

    def _read(self) -> _Seen:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Seen)
        except FileNotFoundError:
            return _Seen()
        except (OSError, msgspec.DecodeError) as error:
            log.warning("the audit head noted last cannot be read", path=str(self._path), error=str(error))
            return _Seen()

    def _write(self, now: float) -> None:
        self._written_at = now
        temporary = self._path.with_name(f".{FILE}.new")
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(msgspec.json.encode(self._seen))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._path)
        except OSError as error:
            log.warning("the audit head cannot be noted", path=str(self._path), error=error.strerror)
            with suppress(OSError):
                temporary.unlink()


def _gone_back(seen: str, head: str) -> str:
    """Say how `head` shows that the log is not the one of the head seen before; "" when it may be."""
    before, number = _number(seen), _number(head)
    if number < before:
        return f"the audit log went back from entry {before} to {number}: it was cut off, replaced or removed"
    if number == before and before and head != seen:
        return f"entry {number} of the audit log is not the one that was there: it was replaced"
    return ""


def _number(head: str) -> int:
    number = head.partition(":")[0]
    return int(number) if number.isdigit() else 0
