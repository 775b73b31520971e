"""Manual pages from the tree of commands: dnssecd(8), one page for each command below it, and dnssecd.toml(5).

    python deploy/packaging/manpages.py DIRECTORY     (writes into DIRECTORY/man8 and DIRECTORY/man5)

Parts that do not belong to one command (files, signals, the environment) are in docs/man/dnssecd.8.in.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import typer

from dnssecd.cli.app import build

sys.path.insert(0, str(Path(__file__).parent))
import configpage

SECTION = "8"
FIXED_PARTS = Path(__file__).parents[2] / "docs/man/dnssecd.8.in"
#: Options of every command, described once, in dnssecd(8).
COMMON = frozenset({"config", "socket", "json", "help", "install_completion", "show_completion"})


def pages() -> dict[str, str]:
    """Return file name → roff text of all pages."""
    root = typer.main.get_command(build())
    context = root.context_class(root, info_name="dnssecd")
    found = {f"dnssecd.{SECTION}": "\n".join(_main_page(root, context)) + "\n"}
    for name, command in root.commands.items():
        text = "\n".join(_page(command, _below(command, name, context)))
        found[f"dnssecd-{name}.{SECTION}"] = text + "\n"
    return found


def _below(command: Any, name: str, parent: Any) -> Any:
    return command.context_class(command, info_name=name, parent=parent)


def escape(text: str) -> str:
    """Return text for roff: no requests, no escapes, hyphens that can be copied."""
    plain = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    plain = "".join(char if char.isascii() else f"\\[u{ord(char):04X}]" for char in plain)
    return f"\\&{plain}" if plain[:1] in {".", "'"} else plain


def _header(name: str, summary: str) -> Iterator[str]:
    yield f'.TH "{escape(name.upper())}" "{SECTION}" "" "dnssecd {version("dnssecd")}" "dnssecd"'
    yield ".SH NAME"
    yield f"{escape(name)} \\- {escape(summary)}"


def summary_of(command: Any) -> str:
    """Return the summary of a command: one line without a full stop."""
    first = str(command.help or "").strip().partition("\n\n")[0]
    first = re.split(r"(?<=[a-z)])[.:;] ", " ".join(first.split()), maxsplit=1)[0]
    return first.rstrip(".")


def _main_page(root: Any, context: Any) -> Iterator[str]:
    before, _, after = FIXED_PARTS.read_text().partition('.\\" COMMANDS\n')
    yield from _header("dnssecd", "hidden-primary DNSSEC signing daemon")
    yield before.rstrip()
    yield ".SH COMMANDS"
    for name, command in root.commands.items():
        yield ".TP"
        yield f".BR dnssecd\\-{escape(name)} ({SECTION})"
        yield escape(summary_of(command))
        below = getattr(command, "commands", None)
        if below:
            yield escape(f"({', '.join(below)})")
    yield after.rstrip()


def _page(command: Any, context: Any) -> Iterator[str]:
    name = f"dnssecd-{context.info_name}"
    yield from _header(name, summary_of(command))
    below = list(_leaves(command, context))
    contexts = [one for _, one in below] or [context]
    yield ".SH SYNOPSIS"
    for index, one in enumerate(contexts):
        yield from [".br"] if index else []
        yield _synopsis(one)
    yield ".SH DESCRIPTION"
    yield escape(str(command.help or ""))
    for one, its_context in below:
        yield f'.SH "{escape(its_context.command_path)}"'
        yield from _paragraphs(str(one.help or ""))
        yield from _options(one, its_context, ".PP")
    if not below:
        yield from _options(command, context, ".SH OPTIONS")
    yield ".SH SEE ALSO"
    yield f".BR dnssecd ({SECTION})"
    yield "for the common options, exit status and files."


def _leaves(command: Any, context: Any) -> Iterator[tuple[Any, Any]]:
    """All commands below one, with their contexts, at any depth."""
    for word, one in getattr(command, "commands", {}).items():
        its_context = _below(one, word, context)
        if hasattr(one, "commands"):
            yield from _leaves(one, its_context)
        else:
            yield one, its_context


def _paragraphs(text: str) -> Iterator[str]:
    for index, paragraph in enumerate(text.strip().split("\n\n")):
        yield from [".PP"] if index else []
        yield escape(paragraph)


def _synopsis(context: Any) -> str:
    words = []
    for parameter in context.command.params:
        if parameter.name in COMMON or getattr(parameter, "hidden", False):
            continue
        words.append(_usage(parameter))
    return " ".join([f"\\fB{escape(context.command_path)}\\fR", *words])


def _usage(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        word = f"\\fI{escape(str(parameter.metavar or parameter.name.upper()).strip('[]'))}\\fR"
    else:
        value = f" \\fI{escape(parameter.metavar)}\\fR" if parameter.metavar else ""
        word = f"\\fB{escape(parameter.opts[0])}\\fR{value}"
    if getattr(parameter, "multiple", False):
        word += "..."
    return word if parameter.required else f"[{word}]"


def _options(command: Any, context: Any, heading: str) -> Iterator[str]:
    records = [
        record
        for parameter in command.params
        if parameter.name not in COMMON and (record := parameter.get_help_record(context))
    ]
    if records:
        yield heading
    for names, text in records:
        yield ".TP"
        yield f"\\fB{escape(names)}\\fR"
        yield escape(text or "")


def write(directory: Path) -> list[Path]:
    """Write all pages, each into the folder of its section; return their paths."""
    found = []
    for name, text in {**pages(), "dnssecd.toml.5": configpage.page()}.items():
        path = directory / f"man{name[-1]}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        found.append(path)
    return found


if __name__ == "__main__":
    write(Path(sys.argv[1]))
