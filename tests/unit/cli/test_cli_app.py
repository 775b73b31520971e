"""Which modules a command line imports."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer

from dnssecd.cli import app

_SHOW = """
import sys
sys.argv = ["dnssecd", "status", "--socket", "/nowhere"]
from dnssecd.cli import main
try:
    main()
except SystemExit as end:
    print(end.code, sorted(name for name in sys.modules if name.startswith("dnssecd.cli.")))
"""


@pytest.mark.parametrize(("module", "commands"), app.MODULES.items())
def test_each_module_has_the_commands_of_the_table(module: str, commands: tuple[str, ...]) -> None:
    root = typer.main.get_command(app.build(commands[0]))
    assert tuple(root.commands) == commands, module  # type: ignore[attr-defined]


@pytest.mark.parametrize("first", [None, "--json", "no-such-command", ""])
def test_other_command_lines_have_all_commands(first: str | None) -> None:
    root = typer.main.get_command(app.build(first))
    assert set(root.commands) == {name for names in app.MODULES.values() for name in names}  # type: ignore[attr-defined]


def test_status_imports_no_module_of_other_commands() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SHOW], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("3 "), done.stderr
    assert "dnssecd.cli.status" in done.stdout
    assert "dnssecd.cli.key" not in done.stdout
