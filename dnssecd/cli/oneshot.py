"""Commands that work on files and need no daemon; what they do is imported when they are run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dnssecd.cli.common import Cli, command


def register(app: typer.Typer) -> None:
    command(app, "verify")(_verify)


def _verify(
    cli: Cli,
    file: Annotated[Path, typer.Argument(help="Signed zone file.", metavar="FILE", exists=True)],
    origin: Annotated[str, typer.Option(help="Name of the zone.", metavar="NAME")],
    time: Annotated[
        str | None, typer.Option(help="Judge as of this time: epoch seconds or YYYYMMDDHHMMSS.", metavar="T")
    ] = None,
    zonemd: Annotated[bool, typer.Option("--zonemd", help="Demand a ZONEMD record that verifies.")] = False,
    ds: Annotated[
        list[str] | None,
        typer.Option("--ds", help="DS at the parent, of which one must match.", metavar="DS"),
    ] = None,
) -> None:
    """Check a signed zone file, whoever signed it; every violation is listed."""
    from dnssecd.cli.verify import run

    raise typer.Exit(run(file, origin, time, zonemd, ds or [], cli.json, typer.echo))
