"""The manual page dnssecd.toml(5) from docs/configuration.md, which tests compare with the reader."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs/configuration.md"
_INLINE = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*|\[([^\]]+)\]\(([^)]+)\)")
_CELL = re.compile(r"(?<!\\)\|")


def page() -> str:
    """Return the page as roff text."""
    lines = [
        f'.TH "DNSSECD.TOML" "5" "" "dnssecd {version("dnssecd")}" "dnssecd"',
        ".ad l",
        ".SH NAME",
        "dnssecd.toml \\- configuration file of dnssecd",
        ".SH SYNOPSIS",
        "/etc/dnssecd/config.toml",
        ".SH DESCRIPTION",
        *_body(DOCUMENT.read_text().partition("\n")[2]),
        ".SH FILES",
        ".TP",
        "/usr/share/doc/dnssecd/config.example.toml",
        "Every key with its default, to copy from.",
        ".SH SEE ALSO",
        ".BR dnssecd (8),",
        ".BR dnssecd\\-check\\-config (8),",
        ".BR dnssecd\\-config (8)",
    ]
    return "\n".join(lines) + "\n"


def _body(text: str) -> Iterator[str]:
    for block in re.split(r"\n{2,}(?![^\n]*\n*```$)", text.strip()):
        yield from _block(block.strip("\n"))


def _block(block: str) -> Iterator[str]:
    first = block.partition("\n")[0]
    if first.startswith("    "):
        yield from (".PP", ".RS 4", ".nf")
        yield from (_plain(line[4:]) for line in block.splitlines())
        yield from (".fi", ".RE")
    elif first.startswith("```"):
        yield from (".PP", ".RS 4", ".nf")
        yield from (_plain(line) for line in block.splitlines()[1:-1])
        yield from (".fi", ".RE")
    elif first.startswith("#"):
        heading = ".SH" if first.startswith("## ") else ".SS"
        yield f'{heading} "{_plain(first.lstrip("# "))}"'
        rest = block.partition("\n")[2]
        if rest:
            yield from _block(rest)
    elif first.startswith("|"):
        yield from _table(block.splitlines())
    elif first.startswith("* "):
        for item in re.split(r"^\* ", block, flags=re.M)[1:]:
            yield from (".IP \\(bu 2", _text(item))
    else:
        prose, fence, code = block.partition("\n```")
        yield from (".PP", _text(prose))
        if fence:
            yield from _block("```" + code)


def _table(rows: list[str]) -> Iterator[str]:
    """Yield a tagged paragraph for each row: the first cell is the tag, a cell `default` stands beside it."""
    cells = [[cell.strip() for cell in _CELL.split(row.strip().strip("|"))] for row in rows]
    columns = cells[0]
    for row in cells[2:]:
        name, *rest = row
        note = ""
        if columns[1:2] == ["default"]:
            default, rest = rest[0], rest[1:]
            note = (
                f" ({_text(default)})" if default in ("required", "none") else f" (default: {_text(default)})"
            )
        yield from (".TP", f"{_text(name)}{note}", _text(" ".join(rest)) or "\\&")


def _text(text: str) -> str:
    """Return Markdown prose as roff: code and strong text in bold, links without their target."""
    joined = " ".join(text.split())
    parts, end = [], 0
    for match in _INLINE.finditer(joined):
        parts.append(_plain(joined[end : match.start()]))
        code, strong, link, _ = match.groups()
        parts.append(_plain(link) if link else f"\\fB{_plain((code or strong).replace('`', ''))}\\fR")
        end = match.end()
    whole = "".join([*parts, _plain(joined[end:])])
    return f"\\&{whole}" if whole[:1] in {".", "'"} else whole


def _plain(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "".join(char if char.isascii() else f"\\[u{ord(char):04X}]" for char in escaped)
