"""Plain text for mail: lines of 72 columns, times, durations; nothing foreign drives a reader's terminal."""

from __future__ import annotations

import re
import textwrap
from datetime import UTC, datetime

from dnssecd.durations import about
from dnssecd.ops.log import redact

WIDTH = 72

_COMMAND_LAST = re.compile(r"(.*?:)\s+(dnssecd [^:]+)", re.S)


def clean(text: str) -> str:
    """*text* without secrets and control characters; line ends stay."""
    shown = str(redact(None, "", {"text": text})["text"])
    return "\n".join("".join(map(_visible, line)).rstrip() for line in shown.splitlines())


def one_line(text: str, length: int = 200) -> str:
    """*text* fit for a header."""
    line = " ".join(clean(text).split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _visible(char: str) -> str:
    if char.isprintable():
        return char
    return " " if char == "\t" else f"\\x{ord(char):02x}"


def wrap(text: str, indent: int = 0) -> list[str]:
    """Lines of *text*, each of its own lines wrapped for itself. A word that is too long stays whole."""
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
    """Lines of a remedy; a command it ends with stands alone, unbroken, to be copied."""
    match = _COMMAND_LAST.fullmatch(clean(text))
    if match is None:
        return wrap(sentence(text), indent)
    return [*wrap(sentence(match[1]), indent), command(match[2], indent + 2)]


def command(text: str, indent: int) -> str:
    return " " * indent + one_line(text, 500)


def sentence(text: str) -> str:
    """*text* with a capital, unless it begins with a command, and a full stop."""
    return stop(text if text.startswith("dnssecd") else text[:1].upper() + text[1:])


def stop(text: str) -> str:
    """*text* with a full stop, unless it ends in some other way."""
    return text + "." if text[-1:].isalnum() or text[-1:] == ")" else text


def moment(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M UTC")


def ago(epoch: float, now: float) -> str:
    return f"{about(now - epoch)} ago" if now - epoch >= 1 else "just now"


def times(count: int) -> str:
    return "seen once" if count == 1 else f"seen {count} times"
