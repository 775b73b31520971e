"""`dnssecd zone …`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from dnssecd.cli.common import (
    USAGE,
    Bad,
    Cli,
    OptionalZone,
    ZoneArgument,
    command,
    duration,
    optional_zone,
    to_json,
    zone_name,
)
from dnssecd.cli.output import copy_text, pairs, print_alerts, print_json, progress, say, span, table, when
from dnssecd.cli.private_file import PrivateFile
from dnssecd.cli.status import zone_pairs
from dnssecd.control import messages

_WAIT_S = 300
_GRACE_S = 30


def register(app: typer.Typer) -> None:
    zone = typer.Typer(help="Zones: look, reload, export, import, wait.", no_args_is_help=True)
    app.add_typer(zone, name="zone")
    command(zone, "list")(_list)
    command(zone, "show")(_show)
    command(zone, "reload")(_reload)
    command(zone, "export")(_export)
    command(zone, "import")(_import)
    command(zone, "restore")(_restore)
    command(zone, "history")(_history)
    command(zone, "wait")(_wait)
    command(zone, "freeze")(_freeze)
    command(zone, "thaw")(_thaw)


def _list(cli: Cli) -> None:
    """All zones, one a line."""
    result = cli.ask(messages.zones.ListZones())
    cli.show(
        result,
        lambda: table(
            ("zone", "state", "serial", "input", "runway", "policy", "source", "records"),
            [
                (
                    zone.zone,
                    zone.state,
                    zone.serial,
                    zone.input_serial,
                    span(zone.runway_seconds),
                    zone.policy,
                    zone.source,
                    zone.records,
                )
                for zone in result.zones
            ],
            empty="no zones",
        ),
    )


def _show(cli: Cli, zone: ZoneArgument) -> None:
    """All about one zone."""
    result = cli.ask(messages.zones.ShowZone(zone=zone_name(zone)))

    def render() -> None:
        pairs(zone_pairs(result))
        keys = result.keys
        if keys:
            say()
            key_table(keys)
        print_alerts(result.alerts)

    cli.show(result, render)


def key_table(keys: list[messages.keys.KeyRow]) -> None:
    """Keys and the states of their records."""
    columns = ("zone", "role", "tag", "algorithm", "goal", "dnskey", "zrrsig", "krrsig", "ds")
    table(columns, [[getattr(key, column) for column in columns] for key in keys], empty="no keys")


def _reload(
    cli: Cli,
    zone: ZoneArgument,
    accept_change: Annotated[
        bool, typer.Option("--accept-change", help="Let the change through that max_change held back.")
    ] = False,
    first_publication: Annotated[
        bool,
        typer.Option(
            "--first-publication", help="Publish though it is not known whether the zone is signed."
        ),
    ] = False,
) -> None:
    """Read the zone's input again."""
    request = messages.zones.ReloadZone(
        zone=zone_name(zone), accept_change=accept_change, first_publication=first_publication
    )
    with progress(f"reloading {request.zone}") as advance:
        result = cli.ask(request, on_progress=advance)
    cli.show(result, lambda: say(result.message))


def _restore(
    cli: Cli,
    zone: ZoneArgument,
    first_publication: Annotated[
        bool,
        typer.Option("--first-publication", help="Publish though not all servers say what they serve."),
    ] = False,
) -> None:
    """Bring a removed zone back: content, keys and their states, and a later serial.

    The configuration has to have the zone again. What is served of it now is set aside as if it were removed.
    """
    request = messages.zones.RestoreZone(zone=zone_name(zone), first_publication=first_publication)
    with progress(f"restoring {request.zone}") as advance:
        result = cli.ask(request, on_progress=advance)
    cli.show(result, lambda: say(result.message))


def _export(
    cli: Cli,
    zone: ZoneArgument,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Without DNSSEC records.")] = False,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write there (mode 0600), not to stdout."),
    ] = None,
) -> None:
    """The zone as served, as a zone file."""
    request = messages.zones.ExportZone(zone=zone_name(zone), unsigned=unsigned)
    if output is None:
        chunks: list[str] = []
        result = cli.ask(request, on_chunk=chunks.append if cli.json else copy_text)
        if cli.json:
            print_json({**to_json(result), "text": "".join(chunks)})
        return
    with PrivateFile(output) as file, progress(f"exporting {request.zone}") as advance:
        result = cli.ask(request, on_chunk=file.write, on_progress=advance)
    message = f"{result.zone} serial {result.serial}: {result.records} records written to {output}"
    cli.show({**to_json(result), "file": output}, lambda: say(message))


def _import(
    cli: Cli,
    zone: ZoneArgument,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A zone file that the daemon may read.")],
    replace: Annotated[bool, typer.Option("--replace", help="The zone becomes what the file says.")] = False,
    merge: Annotated[
        bool,
        typer.Option("--merge", help="The file's RRsets take the place of the zone's; all others stay."),
    ] = False,
    accept_change: Annotated[
        bool, typer.Option("--accept-change", help="Let through what max_change would hold back.")
    ] = False,
    first_publication: Annotated[
        bool,
        typer.Option(
            "--first-publication", help="Publish though it is not known whether the zone is signed."
        ),
    ] = False,
) -> None:
    """Bring a zone file into a dynamic zone."""
    if replace == merge:
        raise Bad("it is not clear how to import", "give either --replace or --merge", USAGE)
    request = messages.zones.ImportZone(
        zone=zone_name(zone),
        path=os.path.abspath(file),
        how="merge" if merge else "replace",
        accept_change=accept_change,
        first_publication=first_publication,
    )
    with progress(f"importing into {request.zone}") as advance:
        result = cli.ask(request, on_progress=advance)

    def render() -> None:
        say(result.message)
        for warning in result.warnings:
            say(f"  warning: {warning}")

    cli.show(result, render)


def _history(
    cli: Cli,
    zone: OptionalZone = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the latest.")] = 50,
) -> None:
    """What happened to a zone: who, when, what, which serial; without one, what was done to the daemon as a whole."""
    result = cli.ask(messages.zones.ShowHistory(zone=optional_zone(zone), limit=limit))
    cli.show(
        result,
        lambda: table(
            ("at", "who", "what", "serial", "detail"),
            [(when(entry.at), entry.who, entry.what, entry.serial, entry.detail) for entry in result.entries],
            empty="nothing yet",
        ),
    )


def _wait(
    cli: Cli,
    zone: ZoneArgument,
    serial: Annotated[
        int | None, typer.Option(min=0, max=2**32 - 1, help="Until this serial is served.")
    ] = None,
    current: Annotated[bool, typer.Option("--current", help="Until the present serial is served.")] = False,
    all_secondaries: Annotated[
        bool, typer.Option("--all-secondaries", help="By every secondary, not by us alone.")
    ] = False,
    timeout: Annotated[str, typer.Option(metavar="DURATION", help="Give up after this.")] = "5m",
) -> None:
    """Wait until a serial is being served."""
    if (serial is None) == (not current):
        raise Bad("what to wait for is not clear", "give either --serial N or --current", USAGE)
    seconds = duration(timeout)
    request = messages.zones.WaitForSerial(
        zone=zone_name(zone),
        serial=serial,
        current=current,
        all_secondaries=all_secondaries,
        timeout=float(seconds),
    )
    with progress(f"waiting for {request.zone}") as advance:
        result = cli.ask(request, on_progress=advance, silence_s=seconds + _GRACE_S)
    cli.show(result, lambda: say(f"{result.zone} serial {result.serial} is served"))


def _freeze(cli: Cli, zone: ZoneArgument) -> None:
    """Begin no roll-over steps and take no input, until thawed."""
    result = cli.ask(messages.zones.FreezeZone(zone=zone_name(zone)))
    cli.show(result, lambda: say(result.message))


def _thaw(cli: Cli, zone: ZoneArgument) -> None:
    """End a freeze."""
    result = cli.ask(messages.zones.ThawZone(zone=zone_name(zone)))
    cli.show(result, lambda: say(result.message))
