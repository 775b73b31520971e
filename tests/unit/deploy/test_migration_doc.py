"""docs/migration.md: every command and option that it tells people to type exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from dnssecd.cli.app import build

TEXT = (Path(__file__).parents[3] / "docs" / "migration.md").read_text()
TYPED = sorted(set(re.findall(r"(?:`|^ +)(dnssecd [a-z][^`\n]*)", TEXT, re.M)))
ROOT = typer.main.get_command(build())


def test_there_is_something_to_type() -> None:
    assert len(TYPED) > 12
    for signer in ("BIND", "Knot", "OpenDNSSEC", "PowerDNS"):
        assert f"\n## From {signer}\n" in TEXT


@pytest.mark.parametrize("line", TYPED)
def test_what_is_to_be_typed_exists(line: str) -> None:
    words = line.split("#")[0].split()[1:]
    command: Any = ROOT
    while words and getattr(command, "commands", None):
        assert words[0] in command.commands, line
        command = command.commands[words.pop(0)]
    known = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known, line
