"""Progress of one-shot work on standard error: a bar on a terminal, otherwise lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dnssecd.cli.output import say

#: One-shot work calls it (pipeline.progress) with the stage, the amount done, and the total or None.
Progress = Callable[[str, int, int | None], None]

#: Work that takes less shows no progress; without a terminal lines are at least this far apart. Seconds.
SHOWN_AFTER_S = 2.0
LINE_EVERY_S = 10.0

_WORDS = {"read": "reading", "sign": "signing", "verify": "verifying", "write": "writing"}
_UNITS = {"read": "records", "sign": "signatures", "verify": "signatures", "write": "records"}


@contextmanager
def shown(quiet: bool) -> Iterator[Progress]:
    """Provide the function that reports progress; with ``quiet`` it shows nothing (output for programs)."""
    if quiet:
        yield lambda stage, done, total: None
    elif sys.stderr.isatty():
        with _bar() as progress:
            yield progress
    else:
        yield _lines()


@contextmanager
def _bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks = {
            stage: bar.add_task(word, total=None, start=False, visible=False, count="")
            for stage, word in _WORDS.items()
        }
        began: set[str] = set()

        def tell(stage: str, done: int, total: int | None) -> None:
            task = tasks[stage]
            if stage not in began:
                began.add(stage)
                bar.start_task(task)
            count = f"{done:,}" + ("" if total is None else f" of {total:,}") + f" {_UNITS[stage]}"
            bar.update(task, completed=done, total=total, visible=True, count=count)

        yield tell


def _lines() -> Progress:
    last = [time.monotonic() - LINE_EVERY_S + SHOWN_AFTER_S]

    def tell(stage: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - last[0] >= LINE_EVERY_S:
            last[0] = now
            of = "" if total is None else f" of {total}"
            say(f"dnssecd: {_WORDS[stage]}: {done}{of} {_UNITS[stage]}", err=True)

    return tell
