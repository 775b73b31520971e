"""The help: no summary is cut off, every command of the root is under a heading."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from dnssecd.cli import app, help_text


def groups(found: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words that lead to each group of commands."""
    yield words
    for name, inner in found.commands.items():
        if hasattr(inner, "commands"):
            yield from groups(inner, (*words, name))


APP = app.build()
GROUPS = list(groups(typer.main.get_command(APP)))


@pytest.mark.parametrize("words", GROUPS, ids=" ".join)
@pytest.mark.parametrize("width", [80, 120])
def test_no_summary_is_cut_off(words: tuple[str, ...], width: int) -> None:
    shown = CliRunner().invoke(APP, [*words, "--help"], terminal_width=width).stdout
    assert "..." not in shown.replace("[ARGS]...", "").replace("[OPTIONS]...", "")
    assert max(map(len, shown.splitlines())) <= width
    assert len(GROUPS) > 10


def test_every_command_of_the_root_is_shown_once_under_a_heading() -> None:
    shown = CliRunner().invoke(APP, ["--help"]).stdout
    commands = typer.main.get_command(APP).commands  # type: ignore[attr-defined]
    lines = [line.split()[0] for line in shown.splitlines() if line.startswith("  ") and line[2] != " "]
    assert all(lines.count(name) == 1 for name in commands), shown
    named = {name for names in help_text.SECTIONS.values() for name in names}
    assert named <= set(commands), "a heading names a command that does not exist"
    assert "dnssecd explain example.com" in shown
