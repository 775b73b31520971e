"""Zone databases, opened on demand; the number of open ones is bounded, and those that are not used are closed.

An open database takes about 250 KiB: page caches and prepared statements of its writer and of a reader.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from dnssecd.store.errors import StoreError
from dnssecd.store.interface import Identity
from dnssecd.store.version_log import NodeLog
from dnssecd.store.zone_log import ZoneLog
from dnssecd.store.zonedb import ZoneDatabase, identity_of

OPEN_MAX = 256
#: A database that was not used for this many rounds (:meth:`Databases.rest`) is closed.
RESTING_ROUNDS = 30
#: Databases that are closed at the same time when the daemon ends; the file system joins what they wait for.
CLOSING_MAX = 16
#: This many may wait to be closed; then who opens one closes one.
WAITING_MAX = 64

REPLACED = (
    "restart the daemon, which verifies the file before it serves the zone, or put the previous file back"
)

log = structlog.get_logger("dnssecd.store")

Zone = TypeVar("Zone", bound=Hashable)


class Databases(Generic[Zone]):
    """Keeps the most recently used databases open. Any thread may use it.

    A database belongs to a zone, by which its user means the object: another zone under the same path does not get it.
    """

    def __init__(
        self, open_max: int = OPEN_MAX, log_of: Callable[[Zone], ZoneLog[NodeLog] | None] = lambda zone: None
    ) -> None:
        """log_of: returns the log of a zone that several nodes share."""
        self._open: OrderedDict[Zone, ZoneDatabase] = OrderedDict()
        self._open_max = open_max
        self._round = 0
        #: In which round each was last asked for; for all that are open.
        self._asked: dict[Zone, int] = {}
        self._faults: dict[Zone, str] = {}
        #: The file of each zone, from when it was opened first; for all zones, also those that are closed now.
        self._files: dict[Zone, Identity] = {}
        self._lock = threading.Lock()
        self._written: set[Zone] = set()
        #: Closing waits for the disk, which the event loop must not.
        self._closer = ThreadPoolExecutor(1, "close-database")
        self._closing: dict[Zone, Future[None]] = {}
        self._log_of = log_of

    def get(self, zone: Zone, path: Path, origin: bytes, check: Callable[[], None]) -> ZoneDatabase:
        """Return the database of a zone, opened or created if necessary; raise StoreError or OSError.

        check: raises an error if the zone was removed. It is called when no other thread can retire the database: one
        that is opened later would be open while its file is moved.
        """
        with self._lock:
            check()
            found = self._open.pop(zone, None) or self._tried(zone, path, origin)
            self._open[zone] = found
            self._asked[zone] = self._round
            self._close_idle(keep=zone)
            return found

    def rest(self) -> int:
        """Begin a round: close those that were not used in the last ones; return how many are closed for that.

        Those that were opened on a full disk are closed at once: there may be room now to open them as usual.
        """
        with self._lock:
            self._round += 1
            resting = []
            for zone, database in self._open.items():
                if database.alone and not database.in_use:
                    resting.append(zone)
                elif database.in_use:
                    self._asked[zone] = self._round
                elif self._asked[zone] <= self._round - RESTING_ROUNDS:
                    resting.append(zone)
            resting = resting[: max(0, WAITING_MAX - len(self._closing))]
            for zone in resting:
                self._close_soon(zone, self._take(zone))
            return len(resting)

    def _take(self, zone: Zone) -> ZoneDatabase:
        del self._asked[zone]
        return self._open.pop(zone)

    def _close_idle(self, keep: Zone) -> None:
        """Close the least recently used ones. A database in use stays open, even above the bound."""
        over = len(self._open) - self._open_max
        for zone in list(self._open) if over > 0 else ():
            if over > 0 and zone is not keep and not self._open[zone].in_use:
                self._close_soon(zone, self._take(zone))
                over -= 1

    def _close_soon(self, zone: Zone, database: ZoneDatabase) -> None:
        """Close a database that is not used, in another thread; hold the lock."""
        if database.alone:  # who opens it again must not wait for its lock
            with suppress(StoreError):
                database.close()
            return
        if len(self._closing) >= WAITING_MAX or zone in self._closing:
            database.close()
            return
        self._closing[zone] = self._closer.submit(self._close_one, zone, database)

    def _close_one(self, zone: Zone, database: ZoneDatabase) -> None:
        try:
            database.close()
        except (StoreError, OSError) as error:  # its commits are in the log beside it
            log.warning("a database could not be closed", cause=str(error))
        finally:
            with self._lock:
                self._closing.pop(zone, None)

    @property
    def closing(self) -> int:
        """The number of databases that are being closed: their memory is not free yet."""
        return len(self._closing)

    def settle(self, zone: Zone) -> None:
        """Wait until no database of a zone is being closed: its file may then be moved."""
        with self._lock:
            closing = self._closing.get(zone)
        if closing is not None:
            closing.result()

    def _tried(self, zone: Zone, path: Path, origin: bytes) -> ZoneDatabase:
        try:
            found = self._opened(zone, path, origin)
        except (StoreError, OSError) as error:
            self._faults[zone] = str(error)
            raise
        self._faults.pop(zone, None)
        return found

    def faults(self) -> dict[Zone, str]:
        """Return why databases could not be opened when they were needed last."""
        with self._lock:
            return dict(self._faults)

    def expect(self, zone: Zone, file: Identity) -> None:
        """Note which file is the database of a zone, before it is opened first."""
        with self._lock:
            self._files[zone] = file

    def _opened(self, zone: Zone, path: Path, origin: bytes) -> ZoneDatabase:
        """Open a database; raise StoreError if it is another file than before: only a start verifies what is new."""
        known = self._files.get(zone)
        if known is not None and identity_of(path) != known:
            raise StoreError(f"{path} was replaced or removed while dnssecd runs; {REPLACED}")
        written = partial(self._written.add, zone)
        found = ZoneDatabase(path, origin, on_write=written, log=self._log_of(zone), alone_if_full=True)
        if found.identity is not None:
            self._files[zone] = found.identity
        return found

    def written(self) -> set[Zone]:
        """Return the zones whose files were written here since the last call."""
        found, written = set(), self._written
        while written:
            found.add(written.pop())
        return found

    def identity(self, zone: Zone, path: Path) -> Identity | None:
        """Return the identity of a database file: as opened before, else as on disk; None if there is no file yet."""
        with self._lock:
            known = self._files.get(zone)
        return known if known is not None else identity_of(path)

    def retire(self, zone: Zone) -> ZoneDatabase | None:
        """Remove the database of a removed zone: running use may end, no new use begins. None: it is not open."""
        with self._lock:
            found = self._take(zone) if zone in self._open else None
            self._faults.pop(zone, None)
            self._files.pop(zone, None)
        if found is not None:
            found.retire()
        return found

    def close(self) -> None:
        """Close all databases, several at a time: each waits for the disk. All are closed before an error is raised."""
        with self._lock:
            closing = list(self._open.values())
            self._open.clear()
            self._asked.clear()
        if closing:
            with ThreadPoolExecutor(CLOSING_MAX) as threads:
                ends = [threads.submit(database.close) for database in closing]
            for end in ends:
                end.result()
        self._closer.shutdown()
