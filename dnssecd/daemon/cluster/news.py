"""News of the logs of all zones: a notice of the database wakes the reader; without one it looks every few seconds."""

import asyncio
from contextlib import suppress

import structlog

from dnssecd.cluster.errors import ClusterError
from dnssecd.cluster.log import Tail
from dnssecd.daemon.cluster.followers import Followers
from dnssecd.daemon.cluster.link import ClusterLink

#: The log is read at the latest after this time, if no notice arrived.
POLL_S = 5.0
RETRY_S = 1.0

log = structlog.get_logger("dnssecd.cluster")


class LogNews:
    """Tells the followers which zones have newer records. ``follow`` and ``listen`` run as tasks of the daemon."""

    def __init__(self, link: ClusterLink, followers: Followers) -> None:
        self._link, self._followers = link, followers
        self._news = asyncio.Event()
        self._closing = False

    async def listen(self) -> None:
        """Wake the reader of the news; it waits in a thread, since LISTEN has no other form there."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self._link.run(self._wakes, loop)
            except ClusterError as error:
                log.info("no notices of the log", cause=error.what)
            await asyncio.sleep(RETRY_S)

    def _wakes(self, loop: asyncio.AbstractEventLoop) -> None:
        for _ in Tail(self._link.database).wakes(1.0):
            if loop.is_closed() or self._closing:
                return
            loop.call_soon_threadsafe(self._news.set)

    async def follow(self) -> None:
        """Look for news until cancelled."""
        position = "0"
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._news.wait()
            self._news.clear()
            try:
                position, heads = await self._link.run(self._link.log.news, position)
            except ClusterError:
                await asyncio.sleep(RETRY_S)
                continue
            self._followers.news(heads)

    def close(self) -> None:
        """End the thread that waits for notices, within a second."""
        self._closing = True
