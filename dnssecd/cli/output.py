"""Tables, times and progress: for people on a terminal, plain for pipes."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dnssecd.cli import tables
from dnssecd.control import messages
from dnssecd.core.utc import about, moment

_BOLD, _RED, _GREEN, _YELLOW, _BLUE = "1", "31", "32", "33", "34"
_STYLES = {
    "critical": "1;31",
    "error": _RED,
    "warning": _YELLOW,
    "info": _BLUE,
    "bogus": "1;31",
    "secure": _GREEN,
    "rolling": _BLUE,
    "insecure": _YELLOW,
}
WIDTH_MIN = 40


def line_width(*, err: bool = False) -> int | None:
    """Return the columns of the terminal, or $COLUMNS; None for a pipe or file: lines are then not wrapped."""
    if (sys.stderr if err else sys.stdout).isatty() or os.environ.get("COLUMNS", "").isdigit():
        return max(WIDTH_MIN, shutil.get_terminal_size().columns)
    return None


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    empty: str = "",
    *,
    optional: Sequence[str] = (),
) -> None:
    """Print *rows* under *columns*, or the text *empty* when there are no rows.

    optional: columns that are left out, the last one first, where the table is too wide otherwise.
    """
    cells = [["" if cell is None else printable(str(cell)) for cell in row] for row in rows]
    if not cells and empty:
        say(empty)
        return
    for line in tables.lay_out(columns, cells, line_width(), optional, _style if _is_coloured() else str):
        sys.stdout.write(line + "\n")


def _is_coloured() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def _style(text: str) -> str:
    """Return a cell with its colour; headings are in upper case."""
    code = _STYLES.get(text.strip()) or (_BOLD if text.strip().isupper() and text.strip().isalpha() else "")
    return f"\x1b[{code}m{text}\x1b[0m" if code else text


def pairs(items: Iterable[tuple[str, Any]]) -> None:
    """Print ``label: value`` lines, values aligned. A list prints one line for each item; None is omitted."""
    for line in tables.pair_lines(items, line_width()):
        say(line)


def say_wrapped(text: str, indent: str | None = None, *, err: bool = False) -> None:
    """Print one paragraph, wrapped at words on a terminal. indent: of continued lines; default: two more columns."""
    if indent is None:
        indent = " " * (len(text) - len(text.lstrip(" ")) + 2)
    for line in tables.wrap(printable(text), line_width(err=err), indent):
        say(line, err=err)


def say(line: object = "", *, err: bool = False) -> None:
    """Print one line, on standard error if ``err``. Control characters, line ends included, are escaped.

    Commands print only through this function, :func:`say_lines`, :func:`copy_text` and :func:`print_json`.
    """
    print(printable(str(line)), file=sys.stderr if err else sys.stdout, flush=err)


def say_lines(text: str, *, err: bool = False) -> None:
    """Print each line of a text as :func:`say` does."""
    for line in text.rstrip("\n").split("\n"):
        say(line, err=err)


def copy_text(text: str) -> None:
    """Print master file text: escaped on a terminal, unchanged into a file or pipe."""
    if sys.stdout.isatty():
        text = "".join(char if char in "\n\t" else printable(char) for char in text)
    sys.stdout.write(text)


def print_json(value: Any) -> None:
    """Print one JSON document on standard output; characters that cannot be printed get JSON escapes."""
    text = json.dumps(value, ensure_ascii=False)
    if not text.isprintable():
        text = "".join(char if char.isprintable() else _json_escape(char) for char in text)
    sys.stdout.write(text + "\n")


def _json_escape(char: str) -> str:
    """Return the JSON escape of a character. It is inside a string: all others of a document are printable."""
    return "\\u007f" if char == "\x7f" else json.dumps(char)[1:-1]


def printable(text: str) -> str:
    """Return *text* without control characters: data from zones and peers must not control the terminal."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def clear() -> None:
    """Clear the terminal; in a pipe or file, print an empty line."""
    sys.stdout.write("\x1b[H\x1b[2J" if sys.stdout.isatty() else "\n")


def when(epoch: float | None) -> str | None:
    """Return a time as in ``2026-11-24 03:30:00Z``, None for None."""
    return None if epoch is None else moment(epoch)


def span(seconds: float | None) -> str | None:
    """Return a span as in ``29d 11h``, or ``expired 2h ago`` if it is negative; None for None."""
    if seconds is None:
        return None
    return about(seconds) if seconds >= 0 else f"expired {about(-seconds)} ago"


def print_alerts(alerts: list[messages.alerts.Alert], *, below: bool = True) -> None:
    """Print each alert with cause, effect and remedy. below: something stands above the first."""
    for number, alert in enumerate(alerts):
        subject = f" {alert.subject}" if alert.subject else ""
        if below or number:
            say()
        say_wrapped(f"{alert.severity.upper()} {alert.name} {alert.zone or 'daemon'}{subject}")
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
    """Show a bar on a terminal, otherwise nothing. Provides the function to call with (done, total, text)."""
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
