"""The fetcher: one process that receives transfers from primaries, many at a time, for the daemon.

It reads FetchRequest frames from standard input and writes a FetchReply for each to standard output, in the
order in which they end. It ends when its input ends. It has no zone keys and opens no database.
"""

import asyncio
import os
import signal
import sys

import msgspec

from dnssecd.clock import SystemClock
from dnssecd.pipeline.fetch.plan import Attempt, Fetched, FetchPlan
from dnssecd.pipeline.fetch.receive import Places, fetch
from dnssecd.pipeline.workers import codec

AT_ONCE_MAX = 32
#: The most transfers from one address, so that a slow primary does not delay zones of other primaries.
AT_ONCE_PER_HOST_MAX = 8


class FetchRequest(msgspec.Struct, frozen=True):
    """A plan with a number that the daemon chose."""

    number: int
    plan: FetchPlan


class FetchReply(msgspec.Struct, frozen=True):
    """The result of a plan."""

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
                body = await codec.receive_frame(requests)
            except asyncio.IncompleteReadError:
                return
            task = asyncio.create_task(self._one(codec.decode(body, FetchRequest)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _one(self, request: FetchRequest) -> None:
        try:
            fetched = await fetch(request.plan, self._clock.now, self._places.take)
        except Exception as error:  # a bug fails only this transfer, not the others
            reason = f"a bug in dnssecd: {type(error).__name__}: {error}"
            fetched = Fetched(result="failed", attempts=(Attempt("", "", reason),))
        frame = codec.encode(FetchReply(request.number, fetched))
        # Frames are far smaller than a pipe's buffer, and the daemon reads them immediately.
        os.write(self._replies, frame)


async def _serve(replies: int) -> None:
    loop = asyncio.get_running_loop()
    requests = asyncio.StreamReader(limit=codec.FRAME_OCTETS_MAX + codec.LENGTH_OCTETS)
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
