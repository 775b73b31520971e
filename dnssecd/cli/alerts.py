"""`dnssecd alerts …`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dnssecd.cli.common import BAD, Bad, Cli, OptionalZone, command, optional_zone
from dnssecd.cli.output import print_alerts


def register(app: typer.Typer) -> None:
    alerts = typer.Typer(help="What is wrong, and what to do about it.", no_args_is_help=True)
    app.add_typer(alerts, name="alerts")
    command(alerts, "list")(_list)
    command(alerts, "ack")(_ack)


def _list(cli: Cli, zone: OptionalZone = None) -> None:
    """What fires now, worst first."""
    result = cli.call("alerts.list", {"zone": optional_zone(zone)})
    cli.show(result, lambda: _render(result["alerts"]))


def _render(alerts: list[dict[str, Any]]) -> None:
    if not alerts:
        print("nothing is wrong")
    print_alerts(alerts)


def _ack(
    cli: Cli,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the alert, as in `alerts list`.")],
    zone: OptionalZone = None,
) -> None:
    """Say that you have seen an alert: it is not escalated."""
    result = cli.call("alerts.ack", {"name": name, "zone": optional_zone(zone)})
    if not result["acknowledged"]:
        raise Bad(f"no alert {name} fires" + (f" for {zone}" if zone else ""), "see dnssecd alerts list", BAD)
    cli.show(result, lambda: print(f"{name} is acknowledged"))
