"""Signals for an event loop that may be busy.

``loop.add_signal_handler`` has the kernel write the number of a signal to the pipe by which threads wake the loop, and
reads it there. That pipe has room for some hundred wake-ups: while more threads report their results than the loop
takes up, as at a start with thousands of zones, the number is lost, and with it the order to stop. Here the handler
runs at once, in the main thread, and leaves a call for the loop in memory.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress


def on_signal(loop: asyncio.AbstractEventLoop, number: signal.Signals, call: Callable[[], object]) -> None:
    """Call something in the loop for each signal of a number; only from the main thread."""

    def handle(*_: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: there is nothing left to stop
            loop.call_soon_threadsafe(call)

    signal.signal(number, handle)
    signal.siginterrupt(number, False)  # calls of libraries, as those of tokens, continue
