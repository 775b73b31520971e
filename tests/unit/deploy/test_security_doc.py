"""docs/security.md names commands, settings, events and files that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer

from dnssecd.cli.app import build
from dnssecd.ops.event_kinds import EVENT_KINDS

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/security.md").read_text()
#: Later versions bring these; the text says "not yet" of them, or they are no commands.
NO_COMMANDS = {"signer"}


def commands() -> set[str]:
    found: set[str] = set()

    def walk(command: Any, path: tuple[str, ...]) -> None:
        found.add(" ".join(path))
        for name, one in getattr(command, "commands", {}).items():
            walk(one, (*path, name))

    walk(typer.main.get_command(build()), ())
    return found


def test_commands_exist() -> None:
    named = set(re.findall(r"`dnssecd ([a-z-]+(?: [a-z-]+)?)", TEXT)) - NO_COMMANDS
    named |= {"zone freeze", "key approve", "zone import", "zone history", "simulate", "plan", "schedule"}
    known = commands()
    assert len(named) > 8
    assert {name for name in named if name not in known and name.partition(" ")[0] not in known} == set()
    assert all(name in TEXT for name in ("`zone freeze`", "`key approve`"))


def test_settings_and_events_exist() -> None:
    configuration = (ROOT / "docs/configuration.md").read_text()
    for name in ("max_change", "allow_query", "allow_update", "share_keys", "signed", "manual", "freeze"):
        assert f"`{name}" in TEXT
        assert f"`{name}`" in configuration
    for name in ("ds-mismatch", "clock-step", "refresh-capped"):
        assert f"`{name}`" in TEXT
        assert name in EVENT_KINDS


def test_every_hardening_line_is_explained() -> None:
    """Each setting of the units, by name or by the beginning of its name."""
    explained = re.findall(r"`(\w+\*?)=?[^`]*`", TEXT.partition("## The units")[2].partition("\n## ")[0])
    prefixes = tuple(name.rstrip("*") for name in explained)
    plain = {"Type", "ExecStart", "ExecReload", "TimeoutStartSec", "TimeoutStopSec", "KillMode", "RestartSec"}
    plain |= {
        "UMask",
        "LimitNOFILE",
        "StateDirectoryMode",
        "Description",
        "Documentation",
        "Wants",
        "After",
        "Before",
    }
    plain |= {"ConditionPathExists", "WantedBy"}
    for path in (ROOT / "systemd").glob("*.service"):
        names = set(re.findall(r"^(\w+)=", path.read_text(), flags=re.M)) - plain
        assert {name for name in names if not name.startswith(prefixes)} == set(), path.name
