"""The thread that computes forecasts: a limited number of them, and none for a client that has left."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from dnssecd.control.command import Refused
from dnssecd.control.peer import Caller

#: Forecasts being computed or waiting, in all and for one user.
FORECASTS_MAX = 8
FORECASTS_PER_USER_MAX = 2

Result = TypeVar("Result")
#: Tells whether the result is still wanted; long work checks it at intervals, and ends with simulate.Unwanted.
Wanted = Callable[[], bool]


class ForecastThread:
    """Computes one forecast after another. Methods belong to the event loop's thread."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "forecast")
        self._users: Counter[int] = Counter()

    async def run(self, caller: Caller, work: Callable[[Wanted], Result]) -> Result:
        """Return the result of ``work``; raise Refused if too many wait. If cancelled, the work ends soon."""
        if self._users[caller.uid] >= FORECASTS_PER_USER_MAX or self._users.total() >= FORECASTS_MAX:
            raise Refused(
                f"{self._users.total()} forecasts are being computed",
                "wait until some have ended, then try again",
            )
        gone = threading.Event()
        self._users[caller.uid] += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._thread, work, lambda: not gone.is_set()
            )
        finally:
            gone.set()
            self._users[caller.uid] -= 1

    def close(self) -> None:
        """Accept no more work; a running forecast ends with its client."""
        self._thread.shutdown(wait=False, cancel_futures=True)
