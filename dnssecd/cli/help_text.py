"""The help of groups: commands by subject, no summary cut off, examples at the end."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

#: Commands of the root by what they are for; all others are under the last heading.
SECTIONS = {
    "Every day": ("status", "check", "explain", "alerts", "schedule"),
    "Zones and keys": ("zone", "key", "ds", "plan", "simulate", "anchors", "ksr", "skr"),
    "Set-up and migration": ("init", "check-config", "config", "migrate", "keystore"),
    "Backup, several nodes": ("backup", "restore", "cluster", "node"),
    "Without a daemon": ("sign", "verify"),
    "Other": (),
}
EXAMPLES = """Examples:

\b
  dnssecd status                       what is wrong, what waits for you
  dnssecd explain example.com          what comes next, and when
  dnssecd ds show example.com          the DS for the parent, when it is time
  dnssecd key rollover example.com --role ksk
  dnssecd COMMAND --help               options and subcommands
"""
_SUMMARY_MAX = 1000


class Group(TyperGroup):
    """A group of commands whose summaries are wrapped, not cut off."""

    # Context and formatter are click's or typer's own, as its version has them.
    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, those of the root by subject."""
        rows = {}
        for name in self.list_commands(ctx):
            found = self.get_command(ctx, name)
            if found is not None and not found.hidden:
                rows[name] = found.get_short_help_str(_SUMMARY_MAX)
        for title, names in _sections(ctx, list(rows)).items():
            if names:
                with formatter.section(title):
                    formatter.write_dl([(name, rows[name]) for name in names])


def _sections(ctx: Any, names: list[str]) -> dict[str, list[str]]:
    if ctx.parent is not None:
        return {"Commands": names}
    placed = {name for listed in SECTIONS.values() for name in listed}
    found = {title: [name for name in listed if name in names] for title, listed in SECTIONS.items()}
    found["Other"] = [name for name in names if name not in placed]
    return found


def apply(app: typer.Typer) -> None:
    """Have an application and all its groups show their help so."""
    app.info.cls = Group
    for group in app.registered_groups:
        if group.typer_instance is not None:
            apply(group.typer_instance)
