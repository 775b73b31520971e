"""`dnssecd key …`."""

from __future__ import annotations

import typer

from dnssecd.cli.common import Cli, OptionalZone, command, optional_zone
from dnssecd.cli.zone import key_table


def register(app: typer.Typer) -> None:
    key = typer.Typer(help="Keys and their states.", no_args_is_help=True)
    app.add_typer(key, name="key")
    command(key, "list")(_list)


def _list(cli: Cli, zone: OptionalZone = None) -> None:
    """All keys, or those of a zone, with the states of their records."""
    result = cli.call("key.list", {"zone": optional_zone(zone)})
    cli.show(result, lambda: key_table(result["keys"]))
