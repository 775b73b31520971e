"""`dnssecd alerts …`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dnssecd.cli.common import BAD, Bad, Cli, OptionalZone, command, optional_zone
from dnssecd.cli.output import print_alerts, progress, say, table
from dnssecd.control import messages


def register(app: typer.Typer) -> None:
    """Add the commands of this module to *app*."""
    alerts = typer.Typer(help="Problems, and what to do about them.", no_args_is_help=True)
    app.add_typer(alerts, name="alerts")
    command(alerts, "list")(_list)
    command(alerts, "test")(_test)
    command(alerts, "ack")(_ack)


def _list(cli: Cli, zone: OptionalZone = None) -> None:
    """List the alerts that fire, worst first."""
    result = cli.ask(messages.alerts.ListAlerts(zone=optional_zone(zone)))
    cli.show(result, lambda: _render(result.alerts))


def _render(alerts: list[messages.alerts.Alert]) -> None:
    if not alerts:
        say("no alert fires")
    print_alerts(alerts, below=False)


def _test(cli: Cli) -> None:
    """Send a test message on every configured channel, and report whether each accepted it."""
    with progress("sending") as advance:
        result = cli.ask(messages.alerts.TestAlerts(), on_progress=advance)
    results = result.results
    cli.show(
        result, lambda: table(("channel", "to", "result", "detail"), [_test_row(one) for one in results])
    )
    if not all(one.ok for one in results):
        raise typer.Exit(BAD)


def _test_row(result: messages.alerts.TrialResult) -> tuple[Any, ...]:
    to = ", ".join(result.to)
    to = f"{to} by {result.target}" if to else result.target
    if result.ok:
        return result.way, to, "delivered", f"in {result.seconds:.1f} s"
    return result.way, to, "FAILED", result.detail


def _ack(
    cli: Cli,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the alert, as in `alerts list`.")],
    zone: OptionalZone = None,
) -> None:
    """Acknowledge an alert in one zone or in all: it is not escalated."""
    result = cli.ask(messages.alerts.AcknowledgeAlert(name=name, zone=optional_zone(zone)))
    if not result.acknowledged:
        raise Bad(f"no alert {name} fires" + (f" for {zone}" if zone else ""), "see dnssecd alerts list", BAD)
    number = result.acknowledged
    cli.show(result, lambda: say(f"{name} is acknowledged" + (f" ({number} alerts)" if number > 1 else "")))
