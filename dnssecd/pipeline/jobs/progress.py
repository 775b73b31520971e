"""How far long work has come: told by whoever does it, shown by whoever has a screen or a log."""

from collections.abc import Callable

#: stage ("read", "sign", "verify", "write"), done so far, total (None: not known).
Progress = Callable[[str, int, int | None], None]


def untold(stage: str, done: int, total: int | None) -> None:
    """Tell nobody."""
