"""`dnssecd ds …`."""

from __future__ import annotations

import typer

from dnssecd.cli.common import BAD, Cli, ZoneArgument, command
from dnssecd.cli.output import say, say_lines, say_wrapped, table, when
from dnssecd.cli.rollover import KeyTag
from dnssecd.control import messages
from dnssecd.core.dns.names import full_name


def register(app: typer.Typer) -> None:
    """Add the commands of this module to *app*."""
    ds = typer.Typer(help="DS records for the parent zone.", no_args_is_help=True)
    app.add_typer(ds, name="ds")
    command(ds, "show")(_show)
    command(ds, "check")(_check)
    command(ds, "confirm")(_confirm)


def _show(cli: Cli, zone: ZoneArgument) -> None:
    """Show the DS records to hand to the parent."""
    result = cli.ask(messages.ds.ShowDs(zone=full_name(zone)))
    cli.show(result, lambda: say_lines(result.text))


def _check(cli: Cli, zone: ZoneArgument) -> None:
    """Ask each server of the parent for its DS set. Exit status 1 unless every server has exactly the right one."""
    result = cli.ask(messages.ds.CheckDs(zone=full_name(zone)))
    cli.show(result, lambda: _render_check(result))
    if not result.ok:
        raise typer.Exit(BAD)


def _render_check(result: messages.ds.DsChecked) -> None:
    wanted = ", ".join(map(str, result.wanted)) or "none"
    say(f"expected DS key tags of {result.zone}: {wanted}")
    table(
        ("server", "DS", "of other keys", "TTL", "seen", "verdict"),
        [
            (
                row.server,
                ", ".join(map(str, row.ds)) or "none",
                ", ".join(map(str, row.foreign)) or None,
                row.ttl or None,
                when(row.at),
                "correct" if row.ok else row.failure or "not correct",
            )
            for row in result.servers
        ],
        empty="no server of the parent is known",
    )


def _confirm(cli: Cli, zone: ZoneArgument, key_tag: KeyTag) -> None:
    """Confirm that the parent has the DS of a key; for a DS to be removed: that the parent no longer has it."""
    result = cli.ask(messages.ds.ConfirmDs(zone=full_name(zone), key_tag=key_tag))
    cli.show(result, lambda: say_wrapped(result.message))
