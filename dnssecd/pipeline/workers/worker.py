"""A zone worker: its own process, for bulk work, so that the front never stalls.

It reads jobs from standard input and writes an Outcome for each to standard output; it ends with its input, and
after a job that took much memory (the front starts another).
"""

import os
import select
import signal
import sys
import time
from pathlib import Path

from dnssecd.keyservice_client.client import SignerClient
from dnssecd.pipeline.adoption.adopt import adopt
from dnssecd.pipeline.jobs.load import Tools, load_file, resign, verify_published
from dnssecd.pipeline.jobs.outcome import Outcome, Problem
from dnssecd.pipeline.jobs.prove import prove
from dnssecd.pipeline.jobs.rekey import rekey
from dnssecd.pipeline.jobs.restore import bring_back
from dnssecd.pipeline.jobs.transfer import take_transfer
from dnssecd.pipeline.jobs.zone_import import import_file
from dnssecd.pipeline.workers import frames
from dnssecd.pipeline.workers.checker_pool import SpreadChecker, spread_checker
from dnssecd.pipeline.workers.gc_pause import collection_paused
from dnssecd.store.errors import StoreError
from dnssecd.store.zonedb import ZoneDatabase, identity_of

SIGNER_DEADLINE_S = 30.0
IDLE_S = 1.0
RESIDENT_KIB_MAX = 256 * 1024


class Worker:
    """Does jobs one after another; keeps the last one's database and the connection to the key service open.

    One database, so that the front knows which: before the file of a zone that was removed is put elsewhere, it ends
    the workers that hold it. SQLite removes side files by their names, which may be those of another zone by then.
    """

    def __init__(self) -> None:
        self._held: ZoneDatabase | None = None
        self._signers: dict[str, SignerClient] = {}

    def run(self, job: frames.Job) -> Outcome:
        """Do one job."""
        with collection_paused(), spread_checker() as checker:
            return self._run(job, checker)

    def _run(self, job: frames.Job, checker: SpreadChecker) -> Outcome:
        try:
            db = self._database(job)
        except (StoreError, OSError) as error:
            return _unusable(job, error)
        tools = Tools(self._signer(job.spec.signer_socket), checker, job.now, job.date, time.monotonic)
        if job.kind == "load":
            return load_file(
                db,
                job.spec,
                Path(job.path),
                tools,
                accept_change=job.accept_change,
                serial_floor=job.serial_floor,
                resting=job.resting,
            )
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
            return bring_back(db, job.spec, tools, job.serial_floor)
        if job.kind == "prove":
            return prove(db, job.spec, tools, job.serial_floor)
        if job.kind == "verify":
            return verify_published(db, job.spec, tools)
        raise ValueError(f"unknown job {job.kind!r}")

    def _database(self, job: frames.Job) -> ZoneDatabase:
        """Return the job's database; StoreError when the file is not the one the front serves from."""
        path = Path(job.spec.database)
        if self._held is not None and self._held.path != path:
            self._held.close()
            self._held = None
        if job.database not in (None, identity_of(path)):
            raise StoreError("another file was put in its place while the daemon runs; restart the daemon")
        if self._held is not None and self._held.identity != identity_of(path):
            raise StoreError(
                "another file was put in its place; the zone worker ends, another begins with it"
            )
        if self._held is None:
            self._held = ZoneDatabase(path, job.spec.origin)
        return self._held

    @property
    def misled(self) -> bool:
        """Whether the database it holds is another file than the one of that name by now."""
        return self._held is not None and identity_of(self._held.path) != self._held.identity

    def rest(self) -> None:
        """Close the database: what was committed is moved into its file, so that nothing changes that later."""
        if self._held is not None and not self.misled:
            self._held.close()
            self._held = None

    def _signer(self, path: str) -> SignerClient:
        if path not in self._signers:
            self._signers[path] = SignerClient(path, SIGNER_DEADLINE_S)
        return self._signers[path]


def _unusable(job: frames.Job, error: Exception) -> Outcome:
    """Return how a job ends whose database cannot be opened: newer than we are, damaged, not ours."""
    cause = f"{job.spec.database} cannot be opened: {error}"
    remedy = "nothing was changed; if it is damaged, restore it: dnssecd restore"
    return Outcome(zone=job.spec.name, result="failed", problems=(Problem("store-failed", cause, remedy),))


def main() -> int:
    """Serve jobs until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    worker = Worker()
    while (body := _next_frame(worker)) is not None:
        outcome = worker.run(frames.decode(body, frames.Job))
        replies.write(frames.encode(outcome))
        replies.flush()
        if worker.misled:
            os._exit(1)  # to close it now would remove the side files of the other
        if peak_kib() > RESIDENT_KIB_MAX:
            break
    return 0


def _next_frame(worker: Worker) -> bytes | None:
    """Return the next job's frame, None at the end; the database is closed when none comes for a moment.

    The front sends a job when it has the answer to the one before, so nothing waits in the buffer of the stream.
    """
    if not select.select([sys.stdin.fileno()], [], [], IDLE_S)[0]:
        worker.rest()
    return frames.read_frame(sys.stdin.buffer)


def peak_kib() -> int:
    """Return the most memory this process has had resident, in KiB.

    Not by getrusage(2): its figure begins with that of the process we were started from, the front.
    """
    with open("/proc/self/status", "rb") as status:
        return next((int(line.split()[1]) for line in status if line.startswith(b"VmHWM:")), 0)


if __name__ == "__main__":
    sys.exit(main())
