"""`dnssecd migrate …`: coming over from another signer."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from dnssecd.cli.common import BAD, Cli, ZoneArgument, command, zone_name
from dnssecd.cli.output import pairs, progress, say
from dnssecd.control import messages

LONG_S = 3700.0

Against = Annotated[
    str,
    typer.Option(
        "--against",
        metavar="SERVER|FILE",
        help="The zone as it is served today: a server of the configuration or an address (AXFR), or a signed "
        "zone file that the daemon may read.",
    ),
]
Tsig = Annotated[
    str | None, typer.Option("--tsig", metavar="NAME", help="TSIG key for the transfer from an address.")
]


def register(app: typer.Typer) -> None:
    migrate = typer.Typer(help="Coming over from another signer.", no_args_is_help=True)
    app.add_typer(migrate, name="migrate")
    command(migrate, "check")(_check)
    command(migrate, "adopt")(_adopt)
    command(migrate, "forget")(_forget)


def _check(cli: Cli, zone: ZoneArgument, against: Against, tsig: Tsig = None) -> None:
    """Sign in shadow and compare with what is served today: nothing but signatures may differ. Publishes nothing."""
    file, server = _locate(against)
    request = messages.migration.CheckMigration(zone=zone_name(zone), file=file, server=server, tsig=tsig)
    result = _carry_out(cli, request)
    cli.show(result, lambda: _render(result))
    if not result.ok:
        raise typer.Exit(BAD)


def _adopt(
    cli: Cli,
    zone: ZoneArgument,
    against: Against,
    tsig: Tsig = None,
    accept_change: Annotated[
        bool, typer.Option("--accept-change", help="Take a zone file that differs much from what is served.")
    ] = False,
    first_publication: Annotated[
        bool,
        typer.Option("--first-publication", help="Go on although the parent's servers cannot be asked."),
    ] = False,
) -> None:
    """Take a zone over as it is served today: its keys go on, good signatures stay, the serial goes above."""
    file, server = _locate(against)
    request = messages.migration.AdoptZone(
        zone=zone_name(zone),
        file=file,
        server=server,
        tsig=tsig,
        accept_change=accept_change,
        first_publication=first_publication,
    )
    result = _carry_out(cli, request)
    cli.show(result, lambda: _render(result))


def _forget(cli: Cli, zone: ZoneArgument) -> None:
    """Give up bringing a zone over; imported private keys stay in their key stores."""
    result = cli.ask(messages.migration.ForgetMigration(zone=zone_name(zone)))
    cli.show(result, lambda: say(result.message))


def _locate(against: str) -> tuple[str | None, str | None]:
    """Return the path of a file, or the server, that has the signed zone; the other is None."""
    return (os.path.abspath(against), None) if os.path.exists(against) else (None, against)


def _carry_out(
    cli: Cli, request: messages.migration.CheckMigration | messages.migration.AdoptZone
) -> messages.migration.MigrationReport:
    with progress(f"signing {request.zone}") as advance:
        return cli.ask(request, on_progress=advance, silence_s=LONG_S)


def _render(result: messages.migration.MigrationReport) -> None:
    serial = result.serial
    head = "taken over and served from here" if result.published else "compared, nothing was published"
    say(f"{result.zone} {head}")
    pairs(
        [
            ("serial", f"{serial.served} as served, {serial.ours} here"),
            ("signatures", f"{result.kept} RRsets keep theirs, {result.fresh} have fresh ones"),
            ("as expected", result.remarks),
            ("held", result.held),
            ("warnings", result.warnings),
        ]
    )
    if result.held:
        say(f"what is held begins when you say so: dnssecd key approve {result.zone} --step STEP")
    for difference in result.differences:
        say(f"{difference.owner} {difference.type}: {difference.detail}")
        for word in ("served", "ours"):
            for line in getattr(difference, word):
                say(f"  {'-' if word == 'served' else '+'} {line.replace(chr(9), ' ')}")
    if result.differing:
        say(f"{result.differing} RRset(s) differ in more than signatures")
    else:
        say("nothing differs but signatures")
