"""`dnssecd ds …`."""

from __future__ import annotations

import typer

from dnssecd.cli.common import Cli, ZoneArgument, command, zone_name


def register(app: typer.Typer) -> None:
    ds = typer.Typer(help="DS records: what the parent is to have.", no_args_is_help=True)
    app.add_typer(ds, name="ds")
    command(ds, "show")(_show)


def _show(cli: Cli, zone: ZoneArgument) -> None:
    """The DS records to hand to the parent."""
    result = cli.call("ds.show", {"zone": zone_name(zone)})
    cli.show(result, lambda: print(result["text"].rstrip("\n")))
