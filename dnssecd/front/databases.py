"""Zone databases opened on demand, at most a bounded number at a time."""

import threading
from collections import OrderedDict
from pathlib import Path

from dnssecd.store.zonedb import ZoneDatabase

OPEN_MAX = 256


class Databases:
    """Keeps the databases used last open. May be used from any thread."""

    def __init__(self, open_max: int = OPEN_MAX) -> None:
        self._open: OrderedDict[Path, ZoneDatabase] = OrderedDict()
        self._open_max = open_max
        self._lock = threading.Lock()

    def get(self, path: Path, origin: bytes) -> ZoneDatabase:
        """Return the database of a zone, opening (or creating) it if need be; StoreError, sqlite3.Error, OSError."""
        with self._lock:
            found = self._open.pop(path, None) or ZoneDatabase(path, origin)
            self._open[path] = found
            while len(self._open) > self._open_max:
                self._open.popitem(last=False)[1].close()
            return found

    def close(self, path: Path | None = None) -> None:
        """Close one database, or all."""
        with self._lock:
            for place in [p for p in self._open if path in (None, p)]:
                self._open.pop(place).close()
