"""Manual pages from the tree of commands: dnssecd(8), and one page for each command below it.

    python deploy/packaging/manpages.py DIRECTORY

What no command can say of itself (files, signals, the environment) is in docs/man/dnssecd.8.in.
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

SECTION = "8"
FIXED_PARTS = Path(__file__).parents[2] / "docs/man/dnssecd.8.in"
#: Options of every command, told once, in dnssecd(8).
COMMON = frozenset({"config", "socket", "json", "help", "install_completion", "show_completion"})


def pages() -> dict[str, str]:
    """File name → roff text, of all pages."""
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
    """Text as roff shows it: no request, no escape, hyphens that can be copied."""
    plain = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{plain}" if plain[:1] in {".", "'"} else plain


def _header(name: str, summary: str) -> Iterator[str]:
    yield f'.TH "{escape(name.upper())}" "{SECTION}" "" "dnssecd {version("dnssecd")}" "dnssecd"'
    yield ".SH NAME"
    yield f"{escape(name)} \\- {escape(summary)}"


def summary_of(command: Any) -> str:
    """What a command does, in a line without a full stop."""
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
    below = getattr(command, "commands", {})
    contexts = [_below(one, word, context) for word, one in below.items()] or [context]
    yield ".SH SYNOPSIS"
    for index, one in enumerate(contexts):
        yield from [".br"] if index else []
        yield _synopsis(one)
    yield ".SH DESCRIPTION"
    yield escape(str(command.help or ""))
    for word, one in below.items():
        yield f'.SH "{escape(f"dnssecd {context.info_name} {word}")}"'
        yield from _paragraphs(str(one.help or ""))
        yield from _options(one, _below(one, word, context), ".PP")
    if not below:
        yield from _options(command, context, ".SH OPTIONS")
    yield ".SH SEE ALSO"
    yield f".BR dnssecd ({SECTION})"
    yield "for the options that every command takes, exit status and files."


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
    """Write all pages; return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    found = []
    for name, text in pages().items():
        path = directory / name
        path.write_text(text)
        found.append(path)
    return found


if __name__ == "__main__":
    write(Path(sys.argv[1]))
