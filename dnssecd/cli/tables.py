"""Text in a given width: tables that break no word, pairs of label and value, paragraphs. Pure."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any

GAP = "  "
#: Cells up to this width are not wrapped as long as a column can be left out instead.
WRAPPED_MIN = 26
#: What is not broken at its spaces if it fits into a line: spans, times, and commands to copy.
_TOGETHER = re.compile(
    r"\d+[dhm] \d+[hms]\b"
    r"|\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\dZ| UTC)?"
    r"|\bdnssecd (?:alerts|anchors|backup|check|clock|cluster|config|ds|explain|key|keystore|ksr|migrate|node|plan"
    r"|restore|schedule|simulate|skr|status|zone)\b(?: [^\s,;:()]+)*"
)
_COMMAND_MAX = 60
#: Stands for a space that is not a place to break; printed texts have no control characters.
_JOINED = "\0"

#: Returns a padded cell with its colour, of the same width on the screen.
Style = Callable[[str], str]


def lay_out(
    columns: Sequence[str],
    cells: Sequence[Sequence[str]],
    width: int | None,
    optional: Sequence[str] = (),
    style: Style = str,
) -> list[str]:
    """Return the lines of a table of at most ``width`` columns (None: any).

    Where it is too wide, columns without content are left out, then optional columns, the last one first; then cells
    are wrapped at words. If that is not enough, each row is a block of lines.
    """
    names = list(columns)
    rows = [list(row) for row in cells]
    empty = [name for at, name in enumerate(columns) if rows and not any(row[at] for row in rows)]
    for name in (*empty, *(name for name in reversed(optional) if name not in empty)):
        if width is None or sum(_wished(names, rows)) + _gaps(names) <= width:
            break
        at = names.index(name)
        names.pop(at)
        for row in rows:
            row.pop(at)
    widths = _widths(names, rows, width)
    if widths is None:
        return _blocks(columns, cells, width)
    heads = [[name.upper() for name in names], *rows]
    return [line for row in heads for line in _row(row, widths, style)]


def _natural(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(names, *rows, strict=True)]


def _wished(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the width of each column for which no other is left out: long texts may be wrapped."""
    least = [max(map(_longest_word, column)) for column in zip(names, *rows, strict=True)]
    return [
        min(wide, max(word, WRAPPED_MIN)) for wide, word in zip(_natural(names, rows), least, strict=True)
    ]


def _gaps(names: Sequence[str]) -> int:
    return len(GAP) * (len(names) - 1)


def _widths(names: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> list[int] | None:
    """Return the width of each column; None if words would be broken."""
    widths = _natural(names, rows)
    if width is None:
        return widths
    least = [max(map(_longest_word, column)) for column in zip(names, *rows, strict=True)]
    room = width - _gaps(names)
    if sum(least) > room:
        return None
    while sum(widths) > room:
        widest = max(range(len(widths)), key=lambda at: (widths[at] > least[at], widths[at]))
        widths[widest] -= 1
    return widths


def _longest_word(text: str) -> int:
    return max(map(len, text.split()), default=0)


def _row(row: Sequence[str], widths: Sequence[int], style: Style) -> list[str]:
    wrapped = [_wrap(cell, width) or [""] for cell, width in zip(row, widths, strict=True)]
    lines = []
    for number in range(max(map(len, wrapped))):
        parts = [lines_of[number] if number < len(lines_of) else "" for lines_of in wrapped]
        last = max((at for at, part in enumerate(parts) if part), default=0)
        padded = [part.ljust(width) for part, width in zip(parts[:last], widths, strict=False)]
        lines.append(GAP.join(style(part) for part in [*padded, parts[last]]))
    return lines


def _blocks(columns: Sequence[str], cells: Sequence[Sequence[str]], width: int | None) -> list[str]:
    lines: list[str] = []
    for row in cells:
        lines += [""] if lines else []
        lines += pair_lines([(name, cell) for name, cell in zip(columns, row, strict=True) if cell], width)
    return lines


def pair_lines(items: Iterable[tuple[str, Any]], width: int | None) -> list[str]:
    """Return ``label: value`` lines, values aligned. A list has a line for each item; None is omitted."""
    shown = [(label, value) for label, value in items if value is not None and value != []]
    indent = max((len(label) for label, _ in shown), default=0) + 2
    lines = []
    for label, value in shown:
        values = value if isinstance(value, list) else str(value).splitlines() or [""]
        room = None if width is None else width - indent
        wrapped = [line for one in values for line in wrap(str(one), room)]
        lines += [
            f"{label + ':' if number == 0 else '':{indent}}{line}" for number, line in enumerate(wrapped)
        ]
    return lines


def wrap(text: str, width: int | None, indent: str = "") -> list[str]:
    """Return a paragraph in lines of at most ``width`` columns, unless a word is longer. indent: of continued lines."""
    if width is None or len(text) <= width:
        return [text]
    return _wrap(text, width, indent) or [""]


def _wrap(text: str, width: int, indent: str = "") -> list[str]:
    if len(text) <= width:
        return [text]
    room = min(_COMMAND_MAX, width - len(indent))
    joined = _TOGETHER.sub(lambda found: _join(found[0], room), text)
    lines = textwrap.wrap(
        joined, max(1, width), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return [line.replace(_JOINED, " ") for line in lines]


def _join(text: str, room: int) -> str:
    return text.replace(" ", _JOINED) if len(text) <= room else text


def shorten(text: str, width: int | None, lines: int, indent: str = "") -> list[str]:
    """Return a paragraph in at most ``lines`` lines; what is cut off is marked."""
    wrapped = [indent + line for line in wrap(text, None if width is None else width - len(indent))]
    if len(wrapped) <= lines:
        return wrapped
    last = wrapped[lines - 1]
    if width is not None and len(last) + 2 > width and " " in last.strip():
        last = last.rsplit(" ", 1)[0]
    return [*wrapped[: lines - 1], last + " …"]
