"""A zone worker: a separate process for bulk work, so that the daemon's event loop never stalls.

It reads jobs from standard input and writes an Outcome for each to standard output; it ends with its input,
and after a job that took much memory (the daemon starts another).
"""

import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import msgspec

from dnssecd.ingest.gc_pause import collection_paused
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.pipeline.adoption.adopt import adopt
from dnssecd.pipeline.jobs.follow import follow, keep_snapshot, share
from dnssecd.pipeline.jobs.job import Tools
from dnssecd.pipeline.jobs.load import load_file
from dnssecd.pipeline.jobs.outcome import Outcome, Problem
from dnssecd.pipeline.jobs.output import write_output
from dnssecd.pipeline.jobs.pass_through import pass_file
from dnssecd.pipeline.jobs.prove import prove
from dnssecd.pipeline.jobs.rekey import rekey
from dnssecd.pipeline.jobs.resign import resign
from dnssecd.pipeline.jobs.restore import bring_back
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.jobs.transfer import take_transfer
from dnssecd.pipeline.jobs.verify_published import verify_published
from dnssecd.pipeline.jobs.zone_import import import_file
from dnssecd.pipeline.workers import frames
from dnssecd.pipeline.workers.checker_pool import SpreadChecker, spread_checker
from dnssecd.store.errors import StoreError
from dnssecd.store.interface import ZoneStore
from dnssecd.store.log_place import LogPlace
from dnssecd.store.newdb import NewDatabase, can_be_made
from dnssecd.store.version_log import NodeLog
from dnssecd.store.zone_log import ZoneLog
from dnssecd.store.zonedb import ZoneDatabase, identity_of

SIGNER_DEADLINE_S = 30.0
IDLE_S = 1.0
RESIDENT_KIB_MAX = 256 * 1024
#: The first version of a file up to this size is made in memory, if nothing that it includes makes it too large.
SMALL_OCTETS_MAX = 64 * 1024


class Worker:
    """Does jobs one after another; keeps the last one's database and the connection to the key service open.

    It keeps one database, so that the daemon knows which: before the file of a removed zone is moved, the
    daemon ends the workers that have it open. SQLite removes side files by their names, which may by then
    belong to another zone.
    """

    def __init__(self) -> None:
        self._held: ZoneDatabase | None = None
        self._signers: dict[tuple[str, frozenset[int] | None], SignerClient] = {}
        self._log: tuple[LogPlace, NodeLog] | None = None

    def run(self, job: frames.Job) -> Outcome:
        """Run one job."""
        with collection_paused(), spread_checker() as checker:
            return self._run(job, checker)

    def _run(self, job: frames.Job, checker: SpreadChecker) -> Outcome:
        if _is_small_first(job) and (outcome := self._make_new(job, checker)) is not None:
            return outcome
        try:
            db = self._database(job)
        except (StoreError, OSError) as error:
            return _unusable(job, error)
        log = db.log = None if job.log is None else self._zone_log(job.spec, job.log)
        tools = self._tools(job, checker)
        if job.kind == "load" and job.spec.verify_only:
            return pass_file(
                db,
                job.spec,
                Path(job.path),
                tools,
                accept_change=job.accept_change,
                resting=job.resting,
            )
        if job.kind == "load":
            return _load(db, job, tools)
        if job.kind == "resign":
            return resign(db, job.spec, tools)
        if job.kind == "rekey" and job.keys is not None:
            return rekey(db, job.spec, job.keys, tools)
        if job.kind == "transfer" and job.transfer is not None:
            return take_transfer(db, job.spec, job.transfer, tools)
        if job.kind == "import" and job.imported is not None:
            return import_file(db, job.spec, job.imported, tools)
        if job.kind == "adopt" and job.adoption is not None:
            return adopt(db, job.spec, job.adoption, tools)
        if job.kind == "return":
            return bring_back(db, job.spec, tools, job.serial_floor, job.at_parent)
        if job.kind == "follow" and log is not None:
            return follow(db, job.spec, log.log, tools)
        if job.kind == "share" and log is not None:
            return share(db, job.spec, log.node, tools)
        if job.kind == "snapshot" and log is not None:
            return keep_snapshot(db, job.spec, log.log, log.node, tools)
        if job.kind == "output":
            return write_output(db, job.spec, Path(job.path))
        if job.kind == "prove":
            return prove(db, job.spec, tools, job.serial_floor)
        if job.kind == "verify":
            return verify_published(db, job.spec, tools)
        raise ValueError(f"unknown job {job.kind!r}")

    def _make_new(self, job: frames.Job, checker: SpreadChecker) -> Outcome | None:
        """Make a first version whose database is written once; None if it must be made in its file."""
        path = Path(job.spec.database)
        if not can_be_made(path) or (self._held is not None and self._held.path == path):
            return None
        self.rest()  # the daemon knows one database that is open here
        db = NewDatabase(path, job.spec.origin)
        outcome = _load(db, job, self._tools(job, checker))
        return None if db.unfit else msgspec.structs.replace(outcome, mark=db.mark)

    def _tools(self, job: frames.Job, checker: SpreadChecker) -> Tools:
        return Tools(self._signer(job.spec), checker, job.now, job.date, time.monotonic, job.decisions)

    def _zone_log(self, spec: ZoneSpec, use: frames.LogUse) -> ZoneLog[NodeLog]:
        """Return the log of the job's zone; the connection to the cluster's database is kept for the next job."""
        if self._log is None or self._log[0] != use.place:
            self._log = use.place, open_node_log(use.place)
        return ZoneLog(self._log[1], spec.name, use.place.node, use.epoch)

    def _database(self, job: frames.Job) -> ZoneDatabase:
        """Return the job's database; raise StoreError if the file is not the one that the daemon serves from."""
        path = Path(job.spec.database)
        if self._held is not None and self._held.path != path:
            self._held.close()
            self._held = None
        if job.database not in (None, identity_of(path)):
            raise StoreError("the file was replaced while the daemon runs; restart the daemon")
        if self._held is not None and self._held.identity != identity_of(path):
            raise StoreError("the file was replaced; the zone worker ends, and a new one opens the new file")
        if self._held is None:
            self._held = ZoneDatabase(path, job.spec.origin)
        return self._held

    @property
    def misled(self) -> bool:
        """Tell whether the open database is no longer the file of that name."""
        return self._held is not None and identity_of(self._held.path) != self._held.identity

    def rest(self) -> None:
        """Close the database: commits are moved to its main file now, so that no later process changes it."""
        if self._held is not None and not self.misled:
            self._held.close()
            self._held = None

    def _signer(self, spec: ZoneSpec) -> SignerClient:
        place = spec.signer_socket, spec.signer_owners
        if place not in self._signers:
            self._signers[place] = SignerClient(place[0], SIGNER_DEADLINE_S, owners=place[1])
        return self._signers[place]


def _load(db: ZoneStore, job: frames.Job, tools: Tools) -> Outcome:
    return load_file(
        db,
        job.spec,
        Path(job.path),
        tools,
        accept_change=job.accept_change,
        serial_floor=job.serial_floor,
        resting=job.resting,
        accept_older=job.accept_older,
        seen=job.seen,
    )


def _is_small_first(job: frames.Job) -> bool:
    """Tell whether a job brings a small file for a zone that the daemon has no database of."""
    if job.kind != "load" or job.database is not None or job.log is not None or job.spec.verify_only:
        return False
    with suppress(OSError):
        return os.stat(job.path).st_size <= SMALL_OCTETS_MAX
    return False


def open_node_log(place: LogPlace) -> NodeLog:
    """Return the log at a place. Only a cluster needs the client of its database, so it is loaded here."""
    from dnssecd.cluster.log import open_log

    return open_log(place)


def _unusable(job: frames.Job, error: Exception) -> Outcome:
    """Return the outcome of a job whose database cannot be opened: newer than dnssecd, damaged, another's."""
    cause = f"{job.spec.database} cannot be opened: {error}"
    remedy = (
        "check disk space and permissions; nothing was changed; if it is damaged, restore it: dnssecd restore"
    )
    return Outcome(zone=job.spec.name, result="failed", problems=(Problem("store-failed", cause, remedy),))


def main() -> int:
    """Serve jobs until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    worker = Worker()
    while (body := _next_frame(worker)) is not None:
        if worker.misled:
            _leave()
        outcome = worker.run(frames.decode(body, frames.Job))
        replies.write(frames.encode(outcome))
        replies.flush()
        if worker.misled:
            _leave()
        if peak_kib() > RESIDENT_KIB_MAX:
            break
    return 0


def _leave() -> NoReturn:
    """End without closing the database, whose file was replaced: that would remove the side files of the new one.

    The daemon gives a job that was not answered to a new worker, which opens the file of now.
    """
    os._exit(0)


def _next_frame(worker: Worker) -> bytes | None:
    """Return the next job's frame, None at the end; close the database if no job arrives for a moment.

    The daemon sends a job only after the answer to the previous one, so the stream's buffer is empty.
    """
    if not select.select([sys.stdin.fileno()], [], [], IDLE_S)[0]:
        worker.rest()
    return frames.read_frame(sys.stdin.buffer)


def peak_kib() -> int:
    """Return the largest resident memory of this process, in KiB.

    getrusage(2) is not used: its value starts with that of the parent process, the daemon.
    """
    with open("/proc/self/status", "rb") as status:
        return next((int(line.split()[1]) for line in status if line.startswith(b"VmHWM:")), 0)


if __name__ == "__main__":
    sys.exit(main())
