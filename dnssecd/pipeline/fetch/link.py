"""The daemon's side of the fetcher: starts it when it is first needed, and again after it died."""

import asyncio
from itertools import count

from dnssecd.pipeline.fetch.plan import Attempt, Fetched, FetchPlan
from dnssecd.pipeline.fetch.process import FetchReply, FetchRequest
from dnssecd.pipeline.workers import codec
from dnssecd.procs import child

STOP_DEADLINE_S = 2.0


class FetchLink:
    """Gives plans to the fetcher. Methods belong to the event loop's thread."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[Fetched]] = {}
        self._numbers = count(1)
        self._starting = asyncio.Lock()

    async def fetch(self, plan: FetchPlan) -> Fetched:
        """Carry out a plan in the fetcher; if the fetcher dies, the transfer has failed."""
        number = next(self._numbers)
        answer: asyncio.Future[Fetched] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            process = await self._alive()
            assert process.stdin is not None
            process.stdin.write(codec.encode(FetchRequest(number, plan)))
            await process.stdin.drain()
            return await answer
        except OSError as error:
            return _failed(f"the fetcher cannot be used: {error.strerror or error}")
        finally:
            self._waiting.pop(number, None)

    async def _alive(self) -> asyncio.subprocess.Process:
        async with self._starting:
            if self._process is not None and self._reader is not None and not self._reader.done():
                return self._process
            await self.close()
            self._process = await child.start_async(
                "dnssecd.pipeline.fetch.process",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                new_session=True,
            )
            self._reader = asyncio.get_running_loop().create_task(self._read(self._process))
            return self._process

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        try:
            while True:
                body = await codec.receive_frame(process.stdout)
                reply = codec.decode(body, FetchReply)
                waiting = self._waiting.get(reply.number)
                if waiting is not None and not waiting.done():
                    waiting.set_result(reply.fetched)
        except (asyncio.IncompleteReadError, codec.FrameError, OSError):
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_result(
                        _failed("the fetcher process ended during the transfer; check whether it was killed")
                    )

    async def close(self) -> None:
        """End the process: by closing its input, then by force."""
        process, self._process = self._process, None
        reader, self._reader = self._reader, None
        if process is None:
            return
        await child.stop_async(process, STOP_DEADLINE_S)
        if reader is not None:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)


def _failed(reason: str) -> Fetched:
    return Fetched(result="failed", attempts=(Attempt("", "", reason),))
