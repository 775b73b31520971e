"""The front's side of the zone workers: starts them, gives each a job at a time, outlives their death.

Zones have a job at a time each. Bulk jobs (large files) leave one worker free for the others, so that no zone
waits for another zone's size.
"""

import asyncio
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from dnssecd.pipeline.jobs.outcome import Outcome, Problem
from dnssecd.pipeline.workers import frames
from dnssecd.procs import child

WORKERS = 2
JOB_DEADLINE_S = 3600.0
STOP_DEADLINE_S = 0.5
BULK_OCTETS = 4 * 1024 * 1024


class WorkerDied(Exception):
    """A zone worker ended in the middle of a job."""


class _WorkerLeft(WorkerDied):
    """A zone worker had ended, as it does after much work, when a job was given to it: the job was not begun."""


class NotWanted(Exception):
    """The result of the job is no longer needed: its zone was removed."""


class _Process:
    """One worker process, started on first use. ``database``: which it has open, or had last."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self.database = ""
        self._starting = asyncio.Lock()

    async def do(self, job: frames.Job, wanted: Callable[[], bool]) -> Outcome:
        """Give it a job and wait; WorkerDied when it ends instead, or takes longer than the deadline.

        NotWanted when the job is not ``wanted`` any more by the time the process would begin it.
        """
        with suppress(_WorkerLeft):
            return await self._do(job, wanted)
        return await self._do(job, wanted)

    async def _do(self, job: frames.Job, wanted: Callable[[], bool]) -> Outcome:
        self.database = job.spec.database
        process = await self._alive()
        if not wanted():
            raise NotWanted(job.spec.name)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(JOB_DEADLINE_S):
                process.stdin.write(frames.encode(job))
                await process.stdin.drain()
                body = await frames.receive_frame(process.stdout)
            return frames.decode(body, Outcome)
        except TimeoutError as error:
            await self.stop()
            raise WorkerDied(f"no answer within {JOB_DEADLINE_S:g} s; the worker was ended") from error
        except (OSError, asyncio.IncompleteReadError, frames.FrameError) as error:
            await self.stop()
            how = _WorkerLeft if process.returncode == 0 else WorkerDied
            raise how(f"the zone worker {_ending(process.returncode)}") from error
        except asyncio.CancelledError:
            await self.stop()
            raise

    async def begin_anew(self) -> None:
        """End the process by force, and start another, so that the next job need not wait for that."""
        await self.stop(kill=True)
        with suppress(OSError):  # the next job tries again, and tells
            await self._alive()

    async def _alive(self) -> asyncio.subprocess.Process:
        async with self._starting:
            return await self._started()

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is None and not self._ended():
            return self._process
        await self.stop()
        self._process = await child.start_async(
            "dnssecd.pipeline.workers.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            new_session=True,
            limit=frames.FRAME_OCTETS_MAX + frames.LENGTH_OCTETS,
        )
        return self._process

    def _ended(self) -> bool:
        stdout = self._process.stdout if self._process else None
        return stdout is None or stdout.at_eof()

    async def stop(self, *, kill: bool = False) -> None:
        """End the process: by closing its input, then by force; or by force at once."""
        process, self._process = self._process, None
        if process is None:
            return
        if kill:
            await child.kill_async(process)
        else:
            await child.stop_async(process, STOP_DEADLINE_S)


def _ending(status: int | None) -> str:
    """Say how a process ended."""
    if status is None:
        return "was ended after it sent something unreadable"
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}; was memory short?"
    return f"ended with status {status}; its last words are in the log"


class WorkerPool:
    """Runs jobs in worker processes. ``on_died`` is called with every death.

    why_stopped: says why a kind of job may not be done now ("": it may).
    """

    def __init__(
        self,
        on_died: Callable[[str, str], None],
        why_stopped: Callable[[str], str],
        workers: int = WORKERS,
    ) -> None:
        self._idle: asyncio.Queue[_Process] = asyncio.Queue()
        self._processes = [_Process() for _ in range(workers)]
        for process in self._processes:
            self._idle.put_nowait(process)
        self._bulk = asyncio.Semaphore(max(1, workers - 1))
        self._zones: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._on_died, self._why_stopped = on_died, why_stopped
        self._closing = False

    def lock(self, zone: str) -> asyncio.Lock:
        """Return the lock that keeps the jobs of one zone apart."""
        return self._zones[zone]

    async def release(self, database: str) -> None:
        """End the workers that have a database open; the jobs they do on it end with NotWanted, if that is so."""
        await asyncio.gather(*(one.begin_anew() for one in self._processes if one.database == database))

    async def run(
        self, job: frames.Job, octets: int = 0, wanted: Callable[[], bool] = lambda: True
    ) -> Outcome:
        """Do a job when its zone and a worker are free; ``octets`` is the size of what it reads.

        NotWanted once ``wanted`` says so: the job is not started, or its result is dropped.
        """
        async with self._zones[job.spec.name], self._bulk_slot(octets):
            why = self._why_stopped(job.kind)
            if why:
                return Outcome(zone=job.spec.name, result="failed", problems=(Problem("clock-step", why),))
            process = await self._idle.get()
            try:
                return await process.do(job, wanted)
            except WorkerDied as error:
                if self._closing or not wanted():
                    raise NotWanted(job.spec.name) from error
                self._on_died(job.spec.name, str(error))
                problem = Problem("worker-died", str(error), "see the log; the job is tried again")
                return Outcome(zone=job.spec.name, result="failed", problems=(problem,))
            finally:
                self._idle.put_nowait(process)

    @asynccontextmanager
    async def _bulk_slot(self, octets: int) -> AsyncIterator[None]:
        if octets < BULK_OCTETS:
            yield
            return
        async with self._bulk:
            yield

    async def close(self) -> None:
        """End all workers; their jobs end with NotWanted, which is not a failure."""
        self._closing = True
        await asyncio.gather(*(process.stop() for process in self._processes))
