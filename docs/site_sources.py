"""Prepares the sources of the site: `PYTHONPATH=. .venv/bin/python docs/site_sources.py DIR`, as `make docs` does.

Documents are copied, and some of the top folder beside them; the reference of commands is generated from the commands.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from dnssecd.cli.app import build
from docs import pictures

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
#: Documents at the top of the repository → their names in the site.
OTHERS = {"CHANGELOG.md": "changelog.md", "SECURITY.md": "report.md", "CONTRIBUTING.md": "contributing.md"}
#: Options of every command, described once.
COMMON = {"config", "socket", "json", "help"}


def commands() -> str:
    """Return the page of all commands."""
    root = typer.main.get_command(build())
    context = root.context_class(root, info_name="dnssecd")
    lines = [
        "# Commands",
        "",
        "Every command takes `--config FILE`, `--socket PATH`, `--json` and `--help`. Manual pages have the same text.",
        "",
        "Exit status: 0 success, 1 problem found, 2 usage error, 3 daemon not running. `status` and `check`: 0 OK, "
        "1 warning, 2 critical, 3 no daemon. `verify`: 4 for violations of RFCs only.",
        "",
    ]
    for words, command, its_context in sorted(_leaves(root, context, ()), key=lambda one: one[0]):
        lines += [
            f"## {' '.join(words)}",
            "",
            f"    {_usage(command, its_context)}",
            "",
            _text(command.help),
            "",
        ]
        rows = [
            record
            for parameter in command.params
            if parameter.name not in COMMON and (record := parameter.get_help_record(its_context))
        ]
        if rows:
            lines += ["| option | meaning |", "|---|---|"]
            lines += [f"| `{_cell(names)}` | {_cell(text)} |" for names, text in rows]
            lines.append("")
    return "\n".join(lines)


def _leaves(group: Any, context: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    for name, command in group.commands.items():
        its_context = command.context_class(command, info_name=name, parent=context)
        if hasattr(command, "commands"):
            yield from _leaves(command, its_context, (*words, name))
        else:
            yield (*words, name), command, its_context


def _usage(command: Any, context: Any) -> str:
    return " ".join([context.command_path, *command.collect_usage_pieces(context)])


def _text(text: str | None) -> str:
    return re.sub(r"(?<=\S)\n(?=\S)", " ", (text or "").strip()).replace("<", "&lt;")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def prepare(target: Path) -> None:
    """Write the sources of the site."""
    shutil.rmtree(target, ignore_errors=True)
    pictures.write()
    shutil.copytree(
        DOCS, target, ignore=shutil.ignore_patterns("*.py", "man", "__pycache__", "requirements.*")
    )
    (target / "commands.md").write_text(commands())
    for name, page in OTHERS.items():
        (target / page).write_text(_relinked((ROOT / name).read_text(), "docs/"))
    shutil.copy(ROOT / "config.example.toml", target)
    for path in target.rglob("*.md"):
        text = path.read_text()
        for name, page in OTHERS.items():
            text = re.sub(
                rf"\]\((?:\.\./)*{re.escape(name)}",
                f"]({'../' * (len(path.relative_to(target).parts) - 1)}{page}",
                text,
            )
        path.write_text(text)


def _relinked(text: str, folder: str) -> str:
    """Return a document of the top folder with its links to docs/ as seen from there."""
    return text.replace(f"]({folder}decisions/)", "](architecture.md)").replace(f"]({folder}", "](")


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
