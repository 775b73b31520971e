"""Signals that stop a command which has to clean up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopping:
    """A context manager: in it SIGINT, SIGTERM and SIGHUP raise SystemExit, but only in blocks that allow it.

    Elsewhere, where files are being created or removed, a signal waits for the next such block: so the exception never
    comes between creating a file and recording it for removal. Outside the main thread it does nothing.
    """

    def __init__(self) -> None:
        self._asked: int | None = None
        self._allowed = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Stopping:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._hear) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Allow signals to interrupt the block; a signal that waits interrupts it immediately."""
        self._allowed = True
        try:
            self._stop_if_asked()
            yield
        finally:
            self._allowed = False

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._asked = number
        if self._allowed:
            self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        if self._asked is not None:
            self._allowed = False  # raise once only: the cleanup that follows must not be interrupted
            raise SystemExit(128 + self._asked)
