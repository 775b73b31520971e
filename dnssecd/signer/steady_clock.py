"""A clock that is trusted to destroy keys by: it has not jumped for a day, also not while the service was down.

The last time that was trusted is noted on disk. So a jump counts also when a restart comes after it, and a machine that
starts with a wrong clock destroys nothing for a day.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from dnssecd.signer import files
from dnssecd.signer.now import Now

log = structlog.get_logger()
JUMP_S = 3600.0
WAIT_AFTER_JUMP_S = 86_400.0
#: How old the note becomes; with less than a jump's length, a restart is no jump.
NOTE_EVERY_S = 900.0


class SteadyClock:
    """Says whether the wall clock has kept pace with the monotonic clock for a day.

    Many small steps count as one jump: they are measured from the start, or from the last jump. `note` is the file that
    outlives the process.
    """

    def __init__(self, now: Now, monotonic: Callable[[], float], note: Path) -> None:
        self._now, self._monotonic, self._note = now, monotonic, note
        self._offset = now() - monotonic()
        self._steady_from = monotonic()
        self._noted = self._read()
        if self._noted and abs(now() - self._noted) > JUMP_S:
            self._wait(now() - self._noted)

    def is_steady(self) -> bool:
        """Return whether the time can be trusted to destroy keys by."""
        offset, monotonic = self._now() - self._monotonic(), self._monotonic()
        if abs(offset - self._offset) > JUMP_S:
            self._wait(offset - self._offset)
            self._offset = offset
        steady = monotonic >= self._steady_from
        if steady and abs(self._now() - self._noted) >= NOTE_EVERY_S:
            self._write()
        return steady

    def _wait(self, seconds: float) -> None:
        self._steady_from = self._monotonic() + WAIT_AFTER_JUMP_S
        log.warning("the clock has jumped, or was not seen: no key is destroyed for a day", seconds=seconds)

    def _read(self) -> float:
        """Return the noted time, 0 at the first start; what cannot be read is far from every time."""
        try:
            return float(int(self._note.read_bytes()[:20])) or 1.0
        except FileNotFoundError:
            return 0.0
        except (OSError, ValueError):
            return 1.0

    def _write(self) -> None:
        """Note the time; a full disk makes the note old, and so a start careful."""
        self._noted = self._now()
        with suppress(OSError):
            files.write_atomically(self._note, b"%d\n" % int(self._noted))
