"""The daemon's side of the zone workers: starts them, gives each one job at a time, replaces dead ones.

Each zone has at most one job at a time. Bulk jobs (large files) leave one worker free for other jobs, so that
no zone waits because another zone is large.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from dnssecd.pipeline.jobs.outcome import Outcome, Problem
from dnssecd.pipeline.workers import frames
from dnssecd.pipeline.workers.idle import Idle, Withdrawn
from dnssecd.procs import child

WORKERS = 2
#: Workers for zones whose versions are reviewed by a program: one that hangs holds up no other zone.
REVIEW_WORKERS = 2
JOB_DEADLINE_S = 3600.0
STOP_DEADLINE_S = 0.5
BULK_OCTETS = 4 * 1024 * 1024
#: A worker that had no job in this many rounds (:meth:`WorkerPool.rest`) ends, except one: a start takes a third of a
#: second, a worker 28 MiB.
RESTING_ROUNDS = 30


class WorkerDied(Exception):
    """A zone worker ended during a job, or could not be started."""


class _WorkerLeft(WorkerDied):
    """A zone worker had already exited (workers exit after heavy jobs); the job did not start."""


class NotWanted(Exception):
    """The result of the job is no longer needed: its zone was removed."""


class _Process:
    """One worker process, started on first use. ``database``: the one that it has open, or had last."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self.database = ""
        self._starting = asyncio.Lock()
        self._rounds = 0

    async def do(self, job: frames.Job, wanted: Callable[[], bool]) -> Outcome:
        """Give it a job and wait; raise WorkerDied if it cannot be started, ends, or exceeds the deadline.

        It raises NotWanted if the job is no longer ``wanted`` when the process would start it.
        """
        with suppress(_WorkerLeft):
            return await self._do(job, wanted)
        return await self._do(job, wanted)

    async def _do(self, job: frames.Job, wanted: Callable[[], bool]) -> Outcome:
        self.database = job.spec.database
        self._rounds = 0
        try:
            process = await self._alive()
        except OSError as error:  # without memory, descriptors or processes
            raise WorkerDied(f"a zone worker could not be started: {error.strerror or error}") from error
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
            raise WorkerDied(f"no answer within {JOB_DEADLINE_S:g} s; the worker was killed") from error
        except (OSError, asyncio.IncompleteReadError, frames.FrameError) as error:
            await self.stop()
            how = _WorkerLeft if process.returncode == 0 else WorkerDied
            raise how(f"the zone worker {_ending(process.returncode)}") from error
        except asyncio.CancelledError:
            await self.stop()
            raise

    async def rest(self) -> None:
        """End after enough rounds without a job; the next job starts another process."""
        self._rounds += 1
        if self._rounds > RESTING_ROUNDS:
            self.database = ""
            await self.stop()

    async def restart(self) -> None:
        """Kill the process and start another, so that the next job does not wait for the start."""
        await self.stop(kill=True)
        with suppress(OSError):  # the next job tries again, and reports the error
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
        """End the process: close its input, then kill it; or kill it immediately."""
        process, self._process = self._process, None
        if process is None:
            return
        if kill:
            await child.kill_async(process)
        else:
            await child.stop_async(process, STOP_DEADLINE_S)


def _ending(status: int | None) -> str:
    """Return how a process ended, in words."""
    if status is None:
        return "was killed because it sent unreadable data"
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}; check whether the host ran out of memory"
    return f"ended with status {status}; its last output is in the log"


class WorkerPool:
    """Runs jobs in worker processes. ``on_died`` is called with every death.

    why_stopped: returns why a kind of job must not run now ("": it may).
    """

    def __init__(
        self,
        on_died: Callable[[str, str], None],
        why_stopped: Callable[[str], str],
        workers: int = WORKERS,
    ) -> None:
        self._idle: Idle[_Process] = Idle()
        self._processes = [_Process() for _ in range(workers)]
        for process in self._processes:
            self._idle.put(process)
        self._reviewing: Idle[_Process] = Idle()
        for _ in range(REVIEW_WORKERS):
            self._processes.append(_Process())
            self._reviewing.put(self._processes[-1])
        self._bulk = asyncio.Semaphore(max(1, workers - 1))
        self._on_died, self._why_stopped = on_died, why_stopped
        self._closing = False

    async def release(self, database: str) -> None:
        """End the workers that have a database open; jobs on it that are not wanted end with NotWanted.

        So does one that waits for a worker: a zone that leaves does not wait behind thousands of others.
        """
        for idle in (self._idle, self._reviewing):
            idle.withdraw(database)
        await asyncio.gather(*(one.restart() for one in self._processes if one.database == database))

    async def rest(self) -> None:
        """Begin a round: end the processes that had no job for long, except one."""
        idle = (*self._idle.resting(), *self._reviewing.resting())
        await asyncio.gather(*(process.rest() for process in idle))

    async def run(
        self,
        job: frames.Job,
        turn: AbstractAsyncContextManager[None],
        octets: int = 0,
        wanted: Callable[[], bool] = lambda: True,
        *,
        first: bool = True,
    ) -> Outcome:
        """Run a job when its zone and a worker are free; ``octets`` is the size of its input.

        ``turn`` allows one job of a zone at a time. first: it goes before jobs that are not.

        It raises NotWanted when ``wanted`` becomes false: the job is not started, or its result is dropped.
        """
        async with turn, self._bulk_slot(octets):
            why = self._why_stopped(job.kind)
            if why:
                return Outcome(zone=job.spec.name, result="failed", problems=(Problem("clock-step", why),))
            idle = self._reviewing if job.spec.review is not None and job.spec.review.program else self._idle
            try:
                process = await idle.get(job.spec.database, wanted, first=first)
            except Withdrawn:
                raise NotWanted(job.spec.name) from None
            try:
                return await process.do(job, wanted)
            except WorkerDied as error:
                if self._closing or not wanted():
                    raise NotWanted(job.spec.name) from error
                self._on_died(job.spec.name, str(error))
                problem = Problem("worker-died", str(error), "see the log; dnssecd tries the job again")
                return Outcome(zone=job.spec.name, result="failed", problems=(problem,))
            finally:
                idle.put(process)

    @asynccontextmanager
    async def _bulk_slot(self, octets: int) -> AsyncIterator[None]:
        if octets < BULK_OCTETS:
            yield
            return
        async with self._bulk:
            yield

    async def close(self) -> None:
        """End all workers; their jobs end with NotWanted, which does not count as a failure."""
        self._closing = True
        await asyncio.gather(*(process.stop() for process in self._processes))
