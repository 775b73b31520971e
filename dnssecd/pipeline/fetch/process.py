"""The fetcher: one process that receives transfers from primaries, many at a time, for the front.

It reads FetchRequest frames from standard input and writes a FetchReply for each to standard output, in the order in
which they end; it ends with its input. It holds no key of a zone and opens no database.
"""

import asyncio
import os
import signal
import sys

import msgspec

from dnssecd.clock import SystemClock
from dnssecd.pipeline.fetch.plan import Attempt, Fetched, FetchPlan
from dnssecd.pipeline.fetch.receive import Places, fetch
from dnssecd.pipeline.workers import frames

AT_ONCE_MAX = 32
#: One address gets no more of these: a primary that drips keeps no other primary's zones waiting.
AT_ONCE_PER_HOST_MAX = 8


class FetchRequest(msgspec.Struct, frozen=True):
    """A plan under a number of the front's choice."""

    number: int
    plan: FetchPlan


class FetchReply(msgspec.Struct, frozen=True):
    """What came of a plan."""

    number: int
    fetched: Fetched


class Fetcher:
    """Carries out plans; ``reply`` is given each FetchReply."""

    def __init__(self, replies: int) -> None:
        self._replies = replies
        self._places = Places(AT_ONCE_MAX, AT_ONCE_PER_HOST_MAX)
        self._tasks: set[asyncio.Task[None]] = set()
        self._clock = SystemClock()

    async def run(self, requests: asyncio.StreamReader) -> None:
        """Serve until the input ends."""
        while True:
            try:
                body = await frames.receive_frame(requests)
            except asyncio.IncompleteReadError:
                return
            task = asyncio.create_task(self._one(frames.decode(body, FetchRequest)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _one(self, request: FetchRequest) -> None:
        try:
            fetched = await fetch(request.plan, self._clock.now, self._places.take)
        except Exception as error:  # our own defect fails this transfer, not the others
            reason = f"our fault: {type(error).__name__}: {error}"
            fetched = Fetched(result="failed", attempts=(Attempt("", "", reason),))
        frame = frames.encode(FetchReply(request.number, fetched))
        # Frames are far smaller than a pipe's buffer, and the front reads them at once.
        os.write(self._replies, frame)


async def _serve(replies: int) -> None:
    loop = asyncio.get_running_loop()
    requests = asyncio.StreamReader(limit=frames.FRAME_OCTETS_MAX + frames.LENGTH_OCTETS)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(requests), sys.stdin)
    await Fetcher(replies).run(requests)


def main() -> int:
    """Serve until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)
    replies = os.dup(1)
    os.dup2(2, 1)
    asyncio.run(_serve(replies))
    return 0


if __name__ == "__main__":
    sys.exit(main())
