"""Plain text for mail: lines of 72 columns, times, durations; without control characters for a terminal."""

from __future__ import annotations

import re
import textwrap

from dnssecd.core.utc import about
from dnssecd.ops.log import redact

WIDTH = 72

_COMMAND_LAST = re.compile(r"(.*?:)\s+(dnssecd [^:]+)", re.S)


def clean(text: str) -> str:
    """Return *text* without secrets and control characters; line ends stay."""
    shown = str(redact(None, "", {"text": text})["text"])
    return "\n".join("".join(map(_visible, line)).rstrip() for line in shown.splitlines())


def one_line(text: str, length: int = 200) -> str:
    """Return *text* as one line, at most *length* characters, for a header."""
    line = " ".join(clean(text).split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _visible(char: str) -> str:
    if char.isprintable():
        return char
    return " " if char == "\t" else f"\\x{ord(char):02x}"


def wrap(text: str, indent: int = 0) -> list[str]:
    """Return *text* as lines; each of its lines is wrapped separately. A word that is too long is not broken."""
    pad = " " * indent
    lines: list[str] = []
    for line in clean(text).splitlines():
        lines += textwrap.wrap(
            line,
            WIDTH,
            initial_indent=pad,
            subsequent_indent=pad,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
    return lines


def advice(text: str, indent: int = 0) -> list[str]:
    """Return the lines of a remedy; a command at its end has its own line, unbroken, so that it can be copied."""
    match = _COMMAND_LAST.fullmatch(clean(text))
    if match is None:
        return wrap(sentence(text), indent)
    return [*wrap(sentence(match[1]), indent), command(match[2], indent + 2)]


def command(text: str, indent: int) -> str:
    """Return a command as one indented line."""
    return " " * indent + one_line(text, 500)


def sentence(text: str) -> str:
    """Return *text* with a capital letter, unless it starts with a command, and a full stop."""
    return stop(text if text.startswith("dnssecd") else text[:1].upper() + text[1:])


def stop(text: str) -> str:
    """Return *text* with a full stop, unless it ends with other punctuation."""
    return text + "." if text[-1:].isalnum() or text[-1:] == ")" else text


def ago(epoch: float, now: float) -> str:
    """Return the age of a time as in ``3h 2m ago``, or ``just now``."""
    return f"{about(now - epoch)} ago" if now - epoch >= 1 else "just now"


def times(count: int) -> str:
    """Return a count as in ``seen 3 times``."""
    return "seen once" if count == 1 else f"seen {count} times"
