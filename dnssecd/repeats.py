"""Log lines that remote hosts can cause: the first of a kind immediately, then one a minute with a count.

A sender of packets chooses how often something happens, but not how much is logged.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

WINDOW_S = 60.0
#: Kinds counted separately in a window; all further kinds are counted together.
KINDS_MAX = 256
#: Different values of a field in one line.
EXAMPLES_MAX = 5


@dataclass(slots=True)
class Repeated:
    """A kind that repeated within one window. ``examples``: the first different values of each field."""

    kind: Hashable
    ends_at: float
    count: int = 0
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, fields: dict[str, str | None]) -> None:
        """Count one more."""
        self.count += 1
        for name, value in fields.items():
            if value is None:
                continue
            seen = self.examples.setdefault(name, [])
            if len(seen) < EXAMPLES_MAX and value not in seen:
                seen.append(value)


#: The kind of everything beyond KINDS_MAX.
OTHERS = ("other kinds",)


class Repeats:
    """Limits what is logged. Not thread-safe; the caller passes the time (monotonic, seconds)."""

    def __init__(self, report: Callable[[Repeated], None]) -> None:
        """report: logs one line for a window with repetitions."""
        self._report = report
        self._windows: dict[Hashable, Repeated] = {}

    def __bool__(self) -> bool:
        return bool(self._windows)

    def first(self, kind: Hashable, now: float) -> Repeated | None:
        """Return None for the first of its kind in a window: log it. Otherwise return the window to add to."""
        window = self._windows.get(kind)
        if window is None and len(self._windows) >= KINDS_MAX:
            window = self._windows.setdefault(OTHERS, Repeated(OTHERS, now + WINDOW_S))
        if window is None:
            self._windows[kind] = Repeated(kind, now + WINDOW_S)
        return window

    def flush(self, now: float, *, all_windows: bool = False) -> None:
        """Report and forget the windows that have ended, or all of them."""
        for kind, window in list(self._windows.items()):
            if all_windows or now >= window.ends_at:
                del self._windows[kind]
                if window.count:
                    self._report(window)
                if window.count and not all_windows:
                    # It may continue: its next line is also a count.
                    self._windows[kind] = Repeated(kind, now + WINDOW_S)
