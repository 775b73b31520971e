"""The head of the key service's audit log as the daemon last saw it: it detects a log that went back.

It is stored in the daemon's state directory, which the key service cannot write. If the log was cut off,
replaced or removed, its head has a lower number, or another hash under the same number.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog

FILE = "audit-head"
#: The event for a head that went back lasts this long; then the present log is accepted.
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
        """Note a head; return the fault of the log, or ""."""
        seen = self._seen
        if not head:
            return ""  # a key service without audit log
        if why := _gone_back(seen.head, head):
            seen.fault, seen.fault_at = why, int(now)
            self._written_at = 0.0
        if head != seen.head:
            seen.head = head
            if abs(now - self._written_at) >= WRITE_EVERY_S:
                self._write(now)
        return seen.fault if abs(now - seen.fault_at) < TOLD_FOR_S else ""

    @property
    def last_fault(self) -> tuple[str, int]:
        """The last fault of the log, and when it was seen; ("", 0) for none. It is kept when its event has ended."""
        return self._seen.fault, self._seen.fault_at

    def close(self, now: float) -> None:
        """Write the last head seen."""
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
    """Return how ``head`` shows that the log is not the one seen before; "" if it may be."""
    before, number = _number(seen), _number(head)
    if number < before:
        return f"the audit log went back from entry {before} to {number}: it was cut off, replaced or removed"
    if number == before and before and head != seen:
        return f"entry {number} of the audit log differs from the earlier one: it was replaced"
    return ""


def _number(head: str) -> int:
    number = head.partition(":")[0]
    return int(number) if number.isdigit() else 0
