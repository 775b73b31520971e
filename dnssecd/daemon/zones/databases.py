"""Zone databases opened on demand, at most a bounded number at a time."""

import threading
from collections import OrderedDict
from functools import partial
from pathlib import Path

from dnssecd.store.interface import Identity
from dnssecd.store.zonedb import ZoneDatabase, identity_of

OPEN_MAX = 256


class Databases:
    """Keeps the databases used last open. May be used from any thread."""

    def __init__(self, open_max: int = OPEN_MAX) -> None:
        self._open: OrderedDict[Path, ZoneDatabase] = OrderedDict()
        self._open_max = open_max
        self._lock = threading.Lock()
        self._written: set[bytes] = set()

    def get(self, path: Path, origin: bytes) -> ZoneDatabase:
        """Return the database of a zone, opening (or creating) it if need be; StoreError, OSError."""
        with self._lock:
            found = self._open.pop(path, None) or self._opened(path, origin)
            self._open[path] = found
            self._close_idle(keep=path)
            return found

    def _close_idle(self, keep: Path) -> None:
        """Close those used longest ago. One that is read or written now stays open, also beyond the bound."""
        over = len(self._open) - self._open_max
        for place in list(self._open) if over > 0 else ():
            if over > 0 and place != keep and not self._open[place].in_use:
                self._open.pop(place).close()
                over -= 1

    def _opened(self, path: Path, origin: bytes) -> ZoneDatabase:
        return ZoneDatabase(path, origin, on_write=partial(self._written.add, origin))

    def written(self) -> set[bytes]:
        """Return the zones (origins) whose files were written here since this was last asked."""
        found, written = set(), self._written
        while written:
            found.add(written.pop())
        return found

    def identity(self, path: Path) -> Identity | None:
        """Return which file a database is: as it was opened, else as it lies there; None where there is none yet."""
        with self._lock:
            found = self._open.get(path)
        return found.identity if found is not None else identity_of(path)

    def retire(self, path: Path) -> ZoneDatabase | None:
        """Take out a database whose zone is gone; who uses it may end that, nobody begins to. None: it is not open."""
        with self._lock:
            found = self._open.pop(path, None)
        if found is not None:
            found.retire()
        return found

    def close(self) -> None:
        """Close all databases."""
        with self._lock:
            for place in list(self._open):
                self._open.pop(place).close()
