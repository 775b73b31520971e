"""The parts of a cluster that the zone table needs from the start: the database, and a log for each zone."""

import asyncio
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar, TypeVarTuple
from uuid import uuid4

from dnssecd.cluster.database import Database
from dnssecd.cluster.log import PostgresLog
from dnssecd.cluster.place import place_of
from dnssecd.config.model import ClusterConfig
from dnssecd.daemon.zones.rooms import ClusterRoom
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.store.errors import LogTroubled
from dnssecd.store.sqlite import create_file
from dnssecd.store.zone_log import ZoneLog

#: Threads of the daemon that use the database at the same time: updates, heartbeat, followers.
SESSIONS = 6
#: Threads that wait for the database: those of SESSIONS, the one that listens, and commands of operators.
THREADS = 16
_FILE = "cluster-incarnation"

Args = TypeVarTuple("Args")
T = TypeVar("T")


class ClusterLink:
    """The database as this process uses it. ``troubles``: commits that the log did not take, with their zones."""

    def __init__(self, config: ClusterConfig, state_dir: Path) -> None:
        self.config = config
        self.previous = _read_incarnation(state_dir / _FILE)
        self._file = state_dir / _FILE
        self.place = place_of(config, str(uuid4()))
        self.database = Database(self.place, SESSIONS)
        #: For heartbeats alone: they wait for no other work.
        self.lease = Database(self.place, 1)
        self.log = PostgresLog(self.database)
        #: Monotonic time at which the last heartbeat that renewed the lease began.
        self.renewed_at = -math.inf
        self.troubles: asyncio.Queue[tuple[FrontZone, LogTroubled]] = asyncio.Queue()
        self._threads = ThreadPoolExecutor(THREADS, "cluster")
        self._loop = asyncio.get_running_loop()

    async def run(self, work: Callable[[*Args], T], *args: *Args) -> T:
        """Run work that waits for the database in a thread of the cluster: no other work waits behind it."""
        return await self._loop.run_in_executor(self._threads, work, *args)

    def joined(self) -> None:
        """Remember this process: the next one of this state directory may take its name at once. Raise OSError."""
        new = self._file.with_suffix(".new")
        new.unlink(missing_ok=True)
        create_file(new)
        new.write_text(self.place.incarnation + "\n")
        os.replace(new, self._file)

    def lease_runs(self, now: float) -> bool:
        """Tell whether the lease of this node surely runs at a monotonic time: no other node takes zones over for it.

        This is for what the log cannot refuse, as files that several nodes write.
        """
        return now - self.renewed_at < self.config.take_over_after

    def room(self, zone: FrontZone) -> ClusterRoom:
        """Return the room of a zone of the cluster: until more is known, another node owns it."""
        return ClusterRoom(
            ZoneLog(self.log, zone.name, self.place.node, trouble=partial(self._trouble, zone))
        )

    def _trouble(self, zone: FrontZone, trouble: LogTroubled) -> None:
        """Stop making versions of a zone now; called in the thread of the commit."""
        if zone.cluster is not None:
            zone.cluster.log.epoch = None
        self._loop.call_soon_threadsafe(self.troubles.put_nowait, (zone, trouble))

    def close(self) -> None:
        """Close all connections."""
        self.lease.close()
        self.database.close()
        self._threads.shutdown(wait=False)


def _read_incarnation(path: Path) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""
