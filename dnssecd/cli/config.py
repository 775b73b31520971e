"""`dnssecd config …`."""

from __future__ import annotations

from typing import Annotated

import typer

from dnssecd.cli.common import Cli, command, zone_name
from dnssecd.cli.output import printable, say, say_lines
from dnssecd.control import messages


def register(app: typer.Typer) -> None:
    config = typer.Typer(help="The configuration of the running daemon.", no_args_is_help=True)
    app.add_typer(config, name="config")
    command(config, "diff")(_diff)
    command(config, "reload")(_reload)


def _diff(cli: Cli) -> None:
    """What the configuration file has that the running daemon does not, and the other way round."""
    result = cli.ask(messages.config.DiffConfig())
    cli.show(result, lambda: say_lines("\n".join(map(printable, result.changes)) or "nothing differs"))


def _reload(
    cli: Cli,
    remove: Annotated[
        list[str] | None,
        typer.Option(metavar="ZONE", help="A zone that is no longer configured may be removed (repeatable)."),
    ] = None,
    ds_is_gone: Annotated[
        bool,
        typer.Option(
            "--ds-is-gone", help="Remove though the parent has, or may have, a DS: no validator relies on it."
        ),
    ] = False,
) -> None:
    """Apply the configuration file as a whole, or not at all."""
    zones = [zone_name(zone) for zone in remove or []]
    result = cli.ask(messages.config.ReloadConfig(remove=zones, ds_is_gone=ds_is_gone))
    cli.show(result, lambda: _render(result))


def _render(result: messages.config.ConfigReloaded) -> None:
    for warning in result.warnings:
        say(f"warning: {warning}")
    for change in result.changes:
        say(f"  {change}")
    say("the configuration is applied" if result.changed else "the configuration has not changed")
