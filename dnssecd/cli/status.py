"""`dnssecd status` and `dnssecd check`."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, NoReturn

import typer

from dnssecd.cli.common import UNREACHABLE, Cli, OptionalZone, command, is_config_errors, optional_zone
from dnssecd.cli.output import clear, line_width, print_alerts, say, span, when
from dnssecd.control import client, messages

#: Exit status by level of the verdict, as Nagios has it; for `check`, 3 is "unknown".
LEVELS = {"ok": 0, "warning": 1, "critical": 2}
WATCH_S = 5.0
#: The exit status of a request that the daemon does not understand.
USAGE = 2
#: `check` waits for this long for the daemon: less than the 60 s after which Nagios ends a check.
CHECK_S = 50.0


def register(app: typer.Typer) -> None:
    """Add the commands of this module to *app*."""
    command(app, "status")(_status)
    command(app, "check")(_check)


def _status(
    cli: Cli,
    zone: OptionalZone = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every 5 seconds.")] = False,
) -> None:
    """Show whether all is well: the verdict, what is wrong, what waits for you. Exit status 0, 1 or 2.

    0: all is well. 1: something needs attention. 2: critical. The reasons are listed, the worst first.
    """
    result = _ask(cli, zone)
    cli.show(result, partial(_render, result, one=zone is not None))
    while watch:
        _sleep(WATCH_S)
        clear()
        try:
            result = _ask(cli, zone)
        except client.Unreachable as error:
            say(f"dnssecd: {error.what}")
        else:
            cli.show(result, partial(_render, result, one=zone is not None))
    if status := LEVELS[result.verdict.level]:
        raise typer.Exit(status)


def _ask(
    cli: Cli, zone: str | None, *, all_zones: bool = True, silence_s: float = client.ANSWER_S
) -> messages.status.Status:
    """Return the status. Of all zones, text shows those with a note only: the states of 10,000 take long to read."""
    request = messages.status.ShowStatus(zone=optional_zone(zone))
    if request.zone is None and not (cli.json and all_zones):
        try:
            return cli.ask(messages.status.ShowStatus(notable=True), silence_s=silence_s)
        except client.Failed as error:
            if error.exit != USAGE:  # a daemon of an earlier version does not know the field
                raise
    return cli.ask(request, silence_s=silence_s)


def _sleep(seconds: float) -> None:
    from threading import Event

    Event().wait(seconds)


def _render(result: messages.status.Status, *, one: bool) -> None:
    from dnssecd.cli import status_text

    lay_out = status_text.zone_screen if one else status_text.screen
    for line in lay_out(result, line_width()):
        say(line)
    if one:
        zone = result.zones[0]
        unique = {(alert.name, alert.zone, alert.subject): alert for alert in (*result.alerts, *zone.alerts)}
        print_alerts(list(unique.values()))


def _check(cli: Cli, zone: OptionalZone = None) -> None:
    """Print one line for Nagios and its relatives. Exit status 0 (OK), 1 (WARNING), 2 (CRITICAL), 3 (UNKNOWN)."""
    from dnssecd.cli import status_text

    try:
        result = _ask(cli, zone, all_zones=False, silence_s=CHECK_S)
    except (client.Unreachable, client.Failed) as error:
        _unknown(cli, error.what, error.remedy)
    except Exception as error:
        if not is_config_errors(error):
            raise
        _unknown(cli, str(error), "give the socket with --socket, or a configuration that this user can read")
    cli.show(result.verdict, lambda: say(status_text.check_line(result)))
    if status := LEVELS[result.verdict.level]:
        raise typer.Exit(status)


def _unknown(cli: Cli, what: str, remedy: str) -> NoReturn:
    """Report in the form of Nagios that there is no verdict."""
    line = " ".join(f"DNSSECD UNKNOWN - {what}".replace("|", "/").split())
    cli.show({"error": {"what": what, "remedy": remedy}}, lambda: say(line))
    raise typer.Exit(UNREACHABLE)


def zone_pairs(zone: messages.zones.ZoneDetails) -> list[tuple[str, Any]]:
    """Return the lines that describe one zone in full."""
    return [
        ("zone", zone.zone),
        ("state", zone.state),
        ("security", f"{zone.security}: {zone.security_detail}" if zone.security_detail else zone.security),
        ("serial", zone.serial),
        ("input serial", zone.input_serial),
        ("source", zone.source),
        ("file", zone.file),
        ("policy", zone.policy),
        ("denial", zone.denial),
        ("records", zone.records),
        ("signatures made for this version", zone.signatures or None),
        ("published", when(zone.last_published)),
        ("first expiration", when(zone.earliest_expiration)),
        ("runway", span(zone.runway_seconds)),
        ("signed ahead until", when(zone.signed_ahead_until)),
        ("next check", when(zone.next_wake)),
        ("primaries", _servers(zone.primaries)),
        ("secondaries", _servers(zone.secondaries)),
        ("answers validated", when(zone.validated_at)),
        ("next step", zone.next_step or None),
        ("waits for", zone.blockers if zone.serial is None or not zone.next_step else None),
        ("warnings", zone.warnings),
    ]


def _servers(servers: list[messages.zones.ServerSeen]) -> list[str]:
    return [
        f"{one.name}{f' ({one.protection})' if one.protection else ''} has {_serial(one.serial)}"
        + (f", seen {when(one.seen_at)}" if one.seen_at else "")
        + (f": {one.detail}" if one.detail else "")
        for one in servers
    ]


def _serial(serial: int | None) -> str:
    return "no known serial" if serial is None else f"serial {serial}"
