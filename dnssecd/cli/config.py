"""`dnssecd config …`."""

from __future__ import annotations

from typing import Annotated

import typer

from dnssecd.cli.common import USAGE, Bad, Cli, command
from dnssecd.cli.completion import complete_secondary, complete_zone
from dnssecd.cli.output import copy_text, printable, say, say_lines, say_wrapped
from dnssecd.control import messages
from dnssecd.core.dns.names import full_name


def register(app: typer.Typer) -> None:
    """Add the commands of this module to *app*."""
    config = typer.Typer(
        help="The configuration: differences, reload, secondaries, schema.", no_args_is_help=True
    )
    app.add_typer(config, name="config")
    command(config, "diff")(_diff)
    command(config, "reload")(_reload)
    command(config, "secondary")(_secondary)
    command(config, "schema")(_schema)


def _diff(cli: Cli) -> None:
    """Show differences between the configuration file and the running daemon."""
    result = cli.ask(messages.config.DiffConfig())
    cli.show(result, lambda: say_lines("\n".join(map(printable, result.changes)) or "nothing differs"))


def _reload(
    cli: Cli,
    remove: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ZONE",
            help="Allow the removal of a zone that is no longer configured (repeatable).",
            autocompletion=complete_zone,
        ),
    ] = None,
    ds_is_gone: Annotated[
        bool,
        typer.Option("--ds-is-gone", help="Remove the zone although the parent has, or may have, a DS."),
    ] = False,
) -> None:
    """Apply the configuration file. If any part is refused, nothing is applied."""
    zones = [full_name(zone) for zone in remove or []]
    result = cli.ask(messages.config.ReloadConfig(remove=zones, ds_is_gone=ds_is_gone))
    cli.show(result, lambda: _render(result))


def _render(result: messages.config.ConfigReloaded) -> None:
    for warning in result.warnings:
        say_wrapped(f"warning: {warning}")
    for change in result.changes:
        say_wrapped(f"  {change}")
    say("the configuration is applied" if result.changed else "the configuration has not changed")


def _secondary(
    cli: Cli,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the secondary.", autocompletion=complete_secondary)
    ],
    server: Annotated[
        str | None,
        typer.Option("--for", metavar="SERVER", help="bind, knot, nsd or powerdns; default: all four."),
    ] = None,
    primary: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Address that the secondary reaches dnssecd at."),
    ] = None,
) -> None:
    """Print what a secondary's own configuration needs: TSIG key (with its secret), primary, zones."""
    from dnssecd.cli.secondary_side import find_side
    from dnssecd.config import load
    from dnssecd.config.secondary_text import SERVERS, render_secondary
    from dnssecd.config.values import Bad as BadValue
    from dnssecd.config.values import parse_address

    if server is not None and server not in SERVERS:
        raise Bad(f'"{server}" is not known', f"choose one of {', '.join(SERVERS)}", USAGE)
    try:
        address = parse_address(primary) if primary is not None else None
    except BadValue as bad:
        raise Bad(f"--primary: {bad.what}", bad.remedy, USAGE) from None
    side = find_side(load(cli.config_path), name, address)
    texts = {kind: render_secondary(kind, side) for kind in ([server] if server is not None else SERVERS)}
    cli.show({"secondary": name, "texts": texts}, lambda: say_lines("\n".join(texts.values())))


def _schema(cli: Cli) -> None:
    """Print the JSON Schema of the configuration file, for editors that complete and check it."""
    from importlib.resources import files

    copy_text((files("dnssecd.config") / "schema.json").read_text())
