"""`dnssecd explain`."""

from __future__ import annotations

import typer

from dnssecd.cli.common import Cli, ZoneArgument, command, zone_name
from dnssecd.cli.output import say
from dnssecd.control import messages


def register(app: typer.Typer) -> None:
    @command(app, "explain")
    def explain(cli: Cli, zone: ZoneArgument) -> None:
        """Why a zone is as it is: what is awaited, from whom, and the next look."""
        result = cli.ask(messages.rollovers.Explain(zone=zone_name(zone)))
        cli.show(result, lambda: print_lines(result.text))


def print_lines(text: str) -> None:
    """Print text that holds what peers said."""
    for line in text.splitlines():
        say(line)
