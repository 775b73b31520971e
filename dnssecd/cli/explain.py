"""`dnssecd explain`."""

from __future__ import annotations

from typing import Annotated

import typer

from dnssecd.cli.common import Cli, ZoneArgument, command
from dnssecd.cli.output import say_wrapped
from dnssecd.control import messages
from dnssecd.core.dns.names import full_name


def register(app: typer.Typer) -> None:
    """Add the commands of this module to *app*."""

    @command(app, "explain")
    def explain(
        cli: Cli,
        zone: ZoneArgument,
        rules: Annotated[
            bool,
            typer.Option(
                "--rules", help="Show every wait with record states and rule names (docs/key-states.md)."
            ),
        ] = False,
    ) -> None:
        """Explain a zone in three lines: its state, what comes next and when, what you have to do."""
        result = cli.ask(messages.rollovers.Explain(zone=full_name(zone), rules=rules))
        cli.show(result, lambda: print_lines(result.text, "  " if rules else " " * len("Next: ")))


def print_lines(text: str, indent: str) -> None:
    """Print text that contains data from peers; control characters are escaped."""
    for line in text.splitlines():
        say_wrapped(line, indent)
