"""`dnssecd ds …`."""

from __future__ import annotations

import typer

from dnssecd.cli.common import BAD, Cli, ZoneArgument, command, zone_name
from dnssecd.cli.output import say, say_lines, table, when
from dnssecd.cli.rollover import KeyTag
from dnssecd.control import messages


def register(app: typer.Typer) -> None:
    ds = typer.Typer(help="DS records: what the parent is to have.", no_args_is_help=True)
    app.add_typer(ds, name="ds")
    command(ds, "show")(_show)
    command(ds, "check")(_check)
    command(ds, "confirm")(_confirm)


def _show(cli: Cli, zone: ZoneArgument) -> None:
    """The DS records to hand to the parent."""
    result = cli.ask(messages.ds.ShowDs(zone=zone_name(zone)))
    cli.show(result, lambda: say_lines(result.text))


def _check(cli: Cli, zone: ZoneArgument) -> None:
    """What each of the parent's servers has now; exit status 1 unless all have just what they should."""
    result = cli.ask(messages.ds.CheckDs(zone=zone_name(zone)))
    cli.show(result, lambda: _render_check(result))
    if not result.ok:
        raise typer.Exit(BAD)


def _render_check(result: messages.ds.DsChecked) -> None:
    wanted = ", ".join(map(str, result.wanted)) or "none"
    say(f"{result.zone} is to have DS with key tags: {wanted}")
    table(
        ("server", "DS", "of other keys", "TTL", "seen", "verdict"),
        [
            (
                row.server,
                ", ".join(map(str, row.ds)) or "none",
                ", ".join(map(str, row.foreign)) or None,
                row.ttl or None,
                when(row.at),
                "as wanted" if row.ok else row.failure or "not as wanted",
            )
            for row in result.servers
        ],
        empty="no server of the parent is known",
    )


def _confirm(cli: Cli, zone: ZoneArgument, key_tag: KeyTag) -> None:
    """Say that the parent has (or, where it is to go, no longer has) the DS of a key."""
    result = cli.ask(messages.ds.ConfirmDs(zone=zone_name(zone), key_tag=key_tag))
    cli.show(result, lambda: say(result.message))
