"""`dnssecd migrate …`: migration from another signer."""

from __future__ import annotations

from typing import Annotated

import typer

from dnssecd.cli.common import BAD, USAGE, Bad, Cli, ZoneArgument, command
from dnssecd.cli.completion import complete_zone
from dnssecd.cli.migrate_all import AT_ONCE, AT_ONCE_MAX, carry_out, locate
from dnssecd.cli.migrate_config import migrate_config
from dnssecd.cli.output import pairs, progress, say, say_wrapped
from dnssecd.control import messages
from dnssecd.core.dns.names import full_name

LONG_S = 3700.0

Against = Annotated[
    str,
    typer.Option(
        "--against",
        metavar="SERVER|FILE",
        help="Source of the served zone: a server of the configuration or an address (AXFR), or a signed "
        "zone file that the daemon can read.",
    ),
]
Tsig = Annotated[
    str | None, typer.Option("--tsig", metavar="NAME", help="TSIG key for the transfer from an address.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to *app*."""
    migrate = typer.Typer(help="Migration from another signer.", no_args_is_help=True)
    app.add_typer(migrate, name="migrate")
    command(migrate, "config")(migrate_config)
    command(migrate, "check")(_check)
    command(migrate, "adopt")(_adopt)
    command(migrate, "forget")(_forget)


OptionalZone = Annotated[
    str | None, typer.Argument(metavar="[ZONE]", help="Name of the zone.", autocompletion=complete_zone)
]
All = Annotated[
    bool, typer.Option("--all", help="All zones that are not published yet; {zone} in --against is its name.")
]
AtOnce = Annotated[
    int, typer.Option("--at-once", min=1, max=AT_ONCE_MAX, metavar="N", help="With --all: zones at a time.")
]


def _check(
    cli: Cli,
    against: Against,
    zone: OptionalZone = None,
    tsig: Tsig = None,
    every: All = False,
    at_once: AtOnce = AT_ONCE,
) -> None:
    """Sign without publishing, and compare with the served zone: only signatures may differ."""

    def request(name: str) -> messages.migration.CheckMigration:
        file, server = locate(against, name)
        return messages.migration.CheckMigration(zone=name, file=file, server=server, tsig=tsig)

    if _is_for_all(zone, every):
        carry_out(cli, lambda name: cli.ask(request(name), silence_s=LONG_S), at_once, adopt=False)
        return
    result = _carry_out(cli, request(full_name(str(zone))))
    cli.show(result, lambda: _render(result))
    if not result.ok:
        raise typer.Exit(BAD)


def _adopt(
    cli: Cli,
    against: Against,
    zone: OptionalZone = None,
    tsig: Tsig = None,
    accept_change: Annotated[
        bool,
        typer.Option("--accept-change", help="Accept a zone file that differs much from the served zone."),
    ] = False,
    first_publication: Annotated[
        bool,
        typer.Option("--first-publication", help="Continue although the parent's servers cannot be queried."),
    ] = False,
    every: All = False,
    at_once: AtOnce = AT_ONCE,
) -> None:
    """Take over a zone as it is served: keep its keys and valid signatures, and publish a higher serial."""

    def request(name: str) -> messages.migration.AdoptZone:
        file, server = locate(against, name)
        return messages.migration.AdoptZone(
            zone=name,
            file=file,
            server=server,
            tsig=tsig,
            accept_change=accept_change,
            first_publication=first_publication,
        )

    if _is_for_all(zone, every):
        carry_out(cli, lambda name: cli.ask(request(name), silence_s=LONG_S), at_once, adopt=True)
        return
    result = _carry_out(cli, request(full_name(str(zone))))
    cli.show(result, lambda: _render(result))


def _is_for_all(zone: str | None, every: bool) -> bool:
    """Return whether the command is for all zones. Raise Bad where it is not clear."""
    if every == (zone is not None):
        raise Bad("it is not clear for which zone this is", "name a zone, or give --all", USAGE)
    return every


def _forget(cli: Cli, zone: ZoneArgument) -> None:
    """Cancel the migration of a zone. Imported private keys stay in their key stores."""
    result = cli.ask(messages.migration.ForgetMigration(zone=full_name(zone)))
    cli.show(result, lambda: say_wrapped(result.message))


def _carry_out(cli: Cli, request: messages.migration.Migration) -> messages.migration.MigrationReport:
    with progress(f"signing {request.zone}") as advance:
        return cli.ask(request, on_progress=advance, silence_s=LONG_S)


def _render(result: messages.migration.MigrationReport) -> None:
    serial = result.serial
    head = "taken over; dnssecd serves the zone" if result.published else "compared; nothing was published"
    say(f"{result.zone} {head}")
    pairs(
        [
            ("serial", f"served {serial.served}, dnssecd {serial.ours}"),
            ("signatures", f"{result.kept} RRsets keep their signatures, {result.fresh} have new ones"),
            ("as expected", result.remarks),
            ("held", result.held),
            ("warnings", result.warnings),
        ]
    )
    if result.held:
        say(f"to start a held step: dnssecd key approve {result.zone} --step STEP")
    for difference in result.differences:
        say_wrapped(f"{difference.owner} {difference.type}: {difference.detail}")
        for word in ("served", "ours"):
            for line in getattr(difference, word):
                say(f"  {'-' if word == 'served' else '+'} {line.replace(chr(9), ' ')}")
    if result.differing:
        say(f"{result.differing} RRset(s) differ in more than signatures")
    else:
        say("only signatures differ")
