"""Tables, times and progress: for people on a terminal, plain for pipes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from dnssecd.control import messages
from dnssecd.durations import about

_STYLES = {"critical": "bold red", "error": "red", "warning": "yellow", "info": "blue"}


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], empty: str = "") -> None:
    """Print *rows* under *columns*; *empty* when there are none."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not cells and empty:
        say(empty)
    elif sys.stdout.isatty():
        _rich_table(columns, cells)
    else:
        _plain_table(columns, cells)


def _rich_table(columns: Sequence[str], cells: list[list[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(column.upper(), overflow="fold")
    for row in cells:
        grid.add_row(*(Text(printable(cell), style=_STYLES.get(cell, "")) for cell in row))
    Console().print(grid)


def _plain_table(columns: Sequence[str], cells: list[list[str]]) -> None:
    lines = [[column.upper() for column in columns], *([printable(cell) for cell in row] for row in cells)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def pairs(items: Iterable[tuple[str, Any]]) -> None:
    """Print ``label: value`` lines, values aligned; a list takes a line each; None is left out."""
    shown = [(label, value) for label, value in items if value is not None and value != []]
    width = max((len(label) for label, _ in shown), default=0) + 2
    for label, value in shown:
        lines = value if isinstance(value, list) else str(value).splitlines() or [""]
        for number, line in enumerate(lines):
            say(f"{label + ':' if number == 0 else '':{width}}{line}")


def say(line: object = "", *, err: bool = False) -> None:
    """Print one line, on standard error if ``err``. Control characters, line ends included, are escaped.

    All that commands print goes through here, :func:`say_lines`, :func:`copy_text` or :func:`print_json`.
    """
    print(printable(str(line)), file=sys.stderr if err else sys.stdout, flush=err)


def say_lines(text: str, *, err: bool = False) -> None:
    """Print a text of several lines, each as by :func:`say`."""
    for line in text.rstrip("\n").split("\n"):
        say(line, err=err)


def copy_text(text: str) -> None:
    """Print master file text: escaped for a terminal, as it is into a file or pipe, where it is data."""
    if sys.stdout.isatty():
        text = "".join(char if char in "\n\t" else printable(char) for char in text)
    sys.stdout.write(text)


def print_json(value: Any) -> None:
    """Print one JSON document on standard output; what does not print is escaped as JSON has it."""
    text = json.dumps(value, ensure_ascii=False)
    if not text.isprintable():
        text = "".join(char if char.isprintable() else _json_escape(char) for char in text)
    sys.stdout.write(text + "\n")


def _json_escape(char: str) -> str:
    """Return the escape of a character that stands in a string: all others of a document are printable."""
    return "\\u007f" if char == "\x7f" else json.dumps(char)[1:-1]


def printable(text: str) -> str:
    """*text* without control characters: what comes from zones and peers must not drive the terminal."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def when(epoch: float | None) -> str | None:
    """``2026-11-24 03:30:00Z``."""
    return None if epoch is None else datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def span(seconds: float | None) -> str | None:
    """``29d 11h``; ``expired 2h ago`` for what is past."""
    if seconds is None:
        return None
    return about(seconds) if seconds >= 0 else f"expired {about(-seconds)} ago"


def print_alerts(alerts: list[messages.alerts.Alert]) -> None:
    """Each alert with cause, effect and remedy."""
    for alert in alerts:
        subject = f" {alert.subject}" if alert.subject else ""
        say()
        say(f"{alert.severity.upper()} {alert.name} {alert.zone or 'daemon'}{subject}")
        acked = f"; acknowledged by {alert.acked_by}" if alert.acked_by else ""
        pairs(
            [
                ("  cause", alert.cause),
                ("  effect", alert.effect),
                ("  to do", alert.remedy),
                ("  since", f"{when(alert.first_seen)}, {_times(alert.count)}{acked}"),
            ]
        )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


Advance = Callable[[float, float | None, str], None]


@contextmanager
def progress(label: str) -> Iterator[Advance]:
    """A bar on a terminal, nothing otherwise; gives a function to be told (done, total, text)."""
    if not sys.stderr.isatty():
        yield lambda done, total, text: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[said]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None, said="")
        yield lambda done, total, text: bar.update(task, completed=done, total=total, said=printable(text))
