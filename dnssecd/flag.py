"""An event for objects that are many and mostly quiet: what waits for it takes memory only while it waits.

``asyncio.Event`` keeps a queue of 700 octets from the start. Each zone has two of them, and each of its servers two.
"""

import asyncio


class Flag:
    """Used as ``asyncio.Event`` is, on one event loop."""

    __slots__ = ("_set", "_waiting")

    def __init__(self, *, is_set: bool = False) -> None:
        self._set = is_set
        self._waiting: set[asyncio.Future[None]] | None = None

    def is_set(self) -> bool:
        """Tell whether it is set."""
        return self._set

    def clear(self) -> None:
        """From now on, :meth:`wait` waits."""
        self._set = False

    def set(self) -> None:
        """Wake all that wait, even if it is cleared before they run."""
        self._set = True
        for waiting in self._waiting or ():
            if not waiting.done():
                waiting.set_result(None)

    async def wait(self) -> None:
        """Return when it is set."""
        if self._set:
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting = self._waiting or set()
        self._waiting.add(waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)
            self._waiting = self._waiting or None
