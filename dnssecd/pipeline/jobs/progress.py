"""Progress of long work: the job reports it, a command or the log shows it."""

from collections.abc import Callable

#: stage ("read", "sign", "verify", "write"), done so far, total (None: not known).
Progress = Callable[[str, int, int | None], None]


def untold(stage: str, done: int, total: int | None) -> None:
    """Ignore progress."""
