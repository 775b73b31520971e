"""SIGHUP: the configuration is read again. Many signals, as of a script in a loop, make one reload after the other."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from dnssecd.control.command import Refused
from dnssecd.control.messages.config import ConfigReloaded
from dnssecd.sdnotify import notify

log = structlog.get_logger("dnssecd")


class Hangups:
    """Handles SIGHUP: errors are reported by event and log. Belongs to the event loop."""

    def __init__(
        self,
        reload: Callable[[], Awaitable[ConfigReloaded]],
        note: Callable[[ConfigReloaded], Awaitable[None]],
    ) -> None:
        """note: records a reload in the history."""
        self._reload, self._note = reload, note
        self._task: asyncio.Task[None] | None = None
        self._wanted = False

    def heard(self) -> None:
        """Reload soon. Signals that arrive before a reload begins are one; during it they ask for another one."""
        self._wanted = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while self._wanted:
            self._wanted = False
            notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
            try:
                await self._once()
            finally:  # the service manager waits for it, also after a failure
                notify("READY=1")

    async def _once(self) -> None:
        try:
            result = await self._reload()
            log.info("configuration reloaded", changes=len(result.changes))
            await self._note(result)
        except Refused as refused:
            log.error("configuration not applied", cause=refused.what, remedy=refused.remedy)
        except Exception:  # a bug must not end this task: later signals would wait for nothing
            log.exception("a reload of the configuration failed")

    async def close(self) -> None:
        """End a reload that is running."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
