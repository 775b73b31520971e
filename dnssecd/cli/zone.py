"""`dnssecd zone …`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated, Any

import typer

from dnssecd.cli.check_config import check_zone
from dnssecd.cli.common import (
    USAGE,
    Bad,
    Cli,
    FirstPublication,
    OptionalZone,
    ZoneArgument,
    command,
    duration,
    optional_zone,
    to_json,
)
from dnssecd.cli.output import (
    copy_text,
    pairs,
    print_alerts,
    print_json,
    progress,
    say,
    say_wrapped,
    span,
    table,
    when,
)
from dnssecd.cli.private_file import PrivateFile
from dnssecd.cli.status import zone_pairs
from dnssecd.control import messages
from dnssecd.core.dns.names import full_name

_GRACE_S = 30


def register(app: typer.Typer) -> None:
    """Add the commands of this module to *app*."""
    zone = typer.Typer(help="Zones: show, check, reload, export, import, wait.", no_args_is_help=True)
    app.add_typer(zone, name="zone")
    command(zone, "list")(_list)
    command(zone, "show")(_show)
    command(zone, "check")(check_zone)
    command(zone, "reload")(_reload)
    command(zone, "export")(_export)
    command(zone, "import")(_import)
    command(zone, "add")(_add)
    command(zone, "remove")(_remove)
    command(zone, "restore")(_restore)
    command(zone, "approve")(_approve)
    command(zone, "reject")(_reject)
    command(zone, "history")(_history)
    command(zone, "wait")(_wait)
    command(zone, "freeze")(_freeze)
    command(zone, "thaw")(_thaw)
    command(zone, "owner")(_owner)
    command(zone, "move")(_move)


def _list(
    cli: Cli,
    bad: Annotated[
        bool, typer.Option("--bad", help="Only zones that are not served, are bogus, or have an alert.")
    ] = False,
    sort: Annotated[
        str,
        typer.Option("--sort", metavar="BY", help="name, runway (shortest first) or security (worst first)."),
    ] = "name",
) -> None:
    """List all zones, one per line."""
    if sort not in _ORDERS:
        raise Bad(f'zones cannot be sorted by "{sort}"', f"give one of {', '.join(_ORDERS)}", USAGE)
    result = cli.ask(messages.zones.ListZones())
    rows = sorted((row for row in result.zones if not bad or _is_bad(row)), key=_ORDERS[sort])
    shown = messages.zones.ZoneRows(zones=rows)
    cli.show(shown, lambda: _print_rows(rows, with_alerts=bad))


#: Worst first.
_SECURITY = ("bogus", "insecure", "unknown", "ds-due", "rolling", "secure")

_ORDERS: dict[str, Callable[[messages.zones.ZoneRow], Any]] = {
    "name": lambda row: row.zone,
    "runway": lambda row: (row.runway_seconds is None, row.runway_seconds or 0, row.zone),
    "security": lambda row: (_SECURITY.index(row.security), row.zone),
}


def _is_bad(row: messages.zones.ZoneRow) -> bool:
    return row.serial is None or row.security == "bogus" or row.severity not in ("", "info")


def _print_rows(rows: list[messages.zones.ZoneRow], *, with_alerts: bool) -> None:
    from dnssecd.cli.status_text import security_text
    from dnssecd.clock import SystemClock

    today = (when(SystemClock().now()) or "")[:10]
    columns = ["zone", "state", "security", "serial", "input", "runway", "secondaries", "policy", "source"]
    cells = [
        [
            row.zone,
            row.state,
            security_text(row.security, row.ds_due_at, day=today),
            row.serial,
            row.input_serial,
            span(row.runway_seconds),
            _share(row),
            row.policy,
            row.source,
            row.records,
        ]
        for row in rows
    ]
    optional = ["runway", "secondaries", "security", "state", "input", "policy", "source", "records"]
    columns.append("records")
    if with_alerts:
        columns.insert(2, "alerts")
        for line, row in zip(cells, rows, strict=True):
            line.insert(2, ", ".join(row.alert_names) or "-")
    table(columns, cells, empty="no zones", optional=optional)


def _share(row: messages.zones.ZoneRow) -> str:
    if not row.servers:
        return "none"
    return "-" if row.serial is None else f"{row.servers_current}/{row.servers}"


def _show(cli: Cli, zone: ZoneArgument) -> None:
    """Show everything about one zone."""
    result = cli.ask(messages.zones.ShowZone(zone=full_name(zone)))

    def render() -> None:
        pairs(zone_pairs(result))
        keys = result.keys
        if keys:
            say()
            key_table(keys, with_zone=False)
        print_alerts(result.alerts)

    cli.show(result, render)


def key_table(keys: list[messages.keys.KeyRow], *, verbose: bool = False, with_zone: bool = True) -> None:
    """Print keys; ``verbose``: with the states of their records (docs/key-states.md)."""
    columns: tuple[str, ...] = ("role", "tag", "algorithm", "keystore", "goal", "state")
    if with_zone:
        columns = ("zone", *columns)
    if verbose:
        columns += ("dnskey", "zrrsig", "krrsig", "ds")
    if any(key.signer for key in keys):
        columns += ("signer",)
    table(columns, [[getattr(key, column) for column in columns] for key in keys], empty="no keys")


def _reload(
    cli: Cli,
    zone: ZoneArgument,
    accept_change: Annotated[
        bool, typer.Option("--accept-change", help="Accept the change that max_change refused.")
    ] = False,
    accept_older: Annotated[
        bool,
        typer.Option(
            "--accept-older", help="Load the file although another node loaded a newer input (clusters)."
        ),
    ] = False,
    first_publication: FirstPublication = False,
) -> None:
    """Read the input of the zone again."""
    request = messages.zones.ReloadZone(
        zone=full_name(zone),
        accept_change=accept_change,
        accept_older=accept_older,
        first_publication=first_publication,
    )
    with progress(f"reloading {request.zone}") as advance:
        result = cli.ask(request, on_progress=advance)
    cli.show(result, lambda: say_wrapped(result.message))


def _add(
    cli: Cli,
    zone: ZoneArgument,
    template: Annotated[
        str, typer.Option("--template", metavar="NAME", help="The [zone-template.NAME] of the configuration.")
    ],
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="FILE", help="Its zone file; default: as the template says."),
    ] = None,
) -> None:
    """Add a zone while the daemon runs, with the settings of a template.

    The daemon stores it: the zone is there after a restart. The configuration file is not changed.
    """
    path = None if file is None else os.path.abspath(file)
    result = cli.ask(messages.zones.AddZone(zone=full_name(zone), template=template, file=path))
    cli.show(result, lambda: _say_changed(result))


def _remove(
    cli: Cli,
    zone: ZoneArgument,
    ds_is_gone: Annotated[
        bool,
        typer.Option("--ds-is-gone", help="Do not look for a DS at the parent: no validator uses one."),
    ] = False,
) -> None:
    """Remove a zone that was added with `zone add`, or that is no longer in the configuration.

    Refused while the parent has a DS of it, or cannot be queried. Its database and keys are kept: `zone restore`.
    """
    request = messages.zones.RemoveZone(zone=full_name(zone), ds_is_gone=ds_is_gone)
    with progress(f"removing {request.zone}"):
        result = cli.ask(request)
    cli.show(result, lambda: say_wrapped(result.message))


def _restore(
    cli: Cli,
    zone: ZoneArgument,
    first_publication: Annotated[
        bool,
        typer.Option(
            "--first-publication", help="Publish although dnssecd cannot see what some servers serve."
        ),
    ] = False,
) -> None:
    """Restore a removed zone: its content, keys and key states, with a higher serial.

    A zone of the configuration file must be there again; one that was added is added again.

    Its current state is kept in the same way as that of a removed zone.
    """
    request = messages.zones.RestoreZone(zone=full_name(zone), first_publication=first_publication)
    with progress(f"restoring {request.zone}") as advance:
        result = cli.ask(request, on_progress=advance)
    cli.show(result, lambda: say_wrapped(result.message))


def _approve(cli: Cli, zone: ZoneArgument, first_publication: FirstPublication = False) -> None:
    """Publish the content that waits for a review (`review` in the configuration).

    The input is read again: if it has other content by now, that waits in turn.
    """
    request = messages.zones.ApproveZone(zone=full_name(zone), first_publication=first_publication)
    with progress(f"publishing {request.zone}") as advance:
        result = cli.ask(request, on_progress=advance)
    cli.show(result, lambda: say_wrapped(result.message))


def _reject(cli: Cli, zone: ZoneArgument) -> None:
    """Refuse the content that waits for a review. The last version is still served."""
    result = cli.ask(messages.zones.RejectZone(zone=full_name(zone)))
    cli.show(result, lambda: say_wrapped(result.message))


def _export(
    cli: Cli,
    zone: ZoneArgument,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Omit DNSSEC records.")] = False,
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="File to write (mode 0600); default: standard output."
        ),
    ] = None,
) -> None:
    """Write the served zone as a zone file."""
    request = messages.zones.ExportZone(zone=full_name(zone), unsigned=unsigned)
    if output is None:
        chunks: list[str] = []
        result = cli.ask(request, on_chunk=chunks.append if cli.json else copy_text)
        if cli.json:
            print_json({**to_json(result), "text": "".join(chunks)})
        return
    with PrivateFile(output) as file, progress(f"exporting {request.zone}") as advance:
        result = cli.ask(request, on_chunk=file.write, on_progress=advance)
    message = f"{result.zone} serial {result.serial}: {result.records} records written to {output}"
    cli.show({**to_json(result), "file": output}, lambda: say_wrapped(message))


def _import(
    cli: Cli,
    zone: ZoneArgument,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A zone file that the daemon can read.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the content of the zone by the file.")
    ] = False,
    merge: Annotated[
        bool,
        typer.Option("--merge", help="Replace only the RRsets that are in the file; keep all others."),
    ] = False,
    accept_change: Annotated[
        bool, typer.Option("--accept-change", help="Accept a change that max_change would refuse.")
    ] = False,
    first_publication: FirstPublication = False,
) -> None:
    """Import a zone file into a dynamic zone."""
    if replace == merge:
        raise Bad(
            "give exactly one of --replace and --merge",
            "--replace replaces the zone, --merge only the RRsets in the file",
            USAGE,
        )
    request = messages.zones.ImportZone(
        zone=full_name(zone),
        path=os.path.abspath(file),
        how="merge" if merge else "replace",
        accept_change=accept_change,
        first_publication=first_publication,
    )
    with progress(f"importing into {request.zone}") as advance:
        result = cli.ask(request, on_progress=advance)
    cli.show(result, lambda: _say_changed(result))


def _history(
    cli: Cli,
    zone: OptionalZone = None,
    limit: Annotated[
        int, typer.Option(min=1, max=10_000, help="Maximum number of entries; the latest are shown.")
    ] = 50,
) -> None:
    """Show the history of a zone: user, time, change, serial. Without a zone: operator actions on the daemon."""
    result = cli.ask(messages.zones.ShowHistory(zone=optional_zone(zone), limit=limit))
    cli.show(
        result,
        lambda: table(
            ("at", "who", "what", "serial", "detail"),
            [(when(entry.at), entry.who, entry.what, entry.serial, entry.detail) for entry in result.entries],
            empty="no entries",
        ),
    )


def _wait(
    cli: Cli,
    zone: ZoneArgument,
    serial: Annotated[
        int | None, typer.Option(min=0, max=2**32 - 1, help="Wait until this serial is served.")
    ] = None,
    current: Annotated[
        bool, typer.Option("--current", help="Wait until the current serial is served.")
    ] = False,
    all_secondaries: Annotated[
        bool,
        typer.Option("--all-secondaries", help="Wait until every secondary serves it, not only dnssecd."),
    ] = False,
    timeout: Annotated[str, typer.Option(metavar="DURATION", help="Stop waiting after this time.")] = "5m",
) -> None:
    """Wait until a serial is served."""
    if (serial is None) == (not current):
        raise Bad(
            "give exactly one of --serial and --current",
            "--serial N waits for serial N, --current for the current serial",
            USAGE,
        )
    seconds = duration(timeout)
    request = messages.zones.WaitForSerial(
        zone=full_name(zone),
        serial=serial,
        current=current,
        all_secondaries=all_secondaries,
        timeout=float(seconds),
    )
    with progress(f"waiting for {request.zone}") as advance:
        result = cli.ask(request, on_progress=advance, silence_s=seconds + _GRACE_S)
    cli.show(result, lambda: say(f"{result.zone} serial {result.serial} is served"))


def _freeze(cli: Cli, zone: ZoneArgument) -> None:
    """Start no rollover steps and accept no input until `zone thaw`."""
    result = cli.ask(messages.zones.FreezeZone(zone=full_name(zone)))
    cli.show(result, lambda: say_wrapped(result.message))


def _thaw(cli: Cli, zone: ZoneArgument) -> None:
    """End a freeze."""
    result = cli.ask(messages.zones.ThawZone(zone=full_name(zone)))
    cli.show(result, lambda: say_wrapped(result.message))


def _owner(cli: Cli, zone: ZoneArgument) -> None:
    """Show which node of the cluster makes the versions of a zone, and how far each node is."""
    result = cli.ask(messages.cluster.ShowOwner(zone=full_name(zone)))
    cli.show(result, lambda: _render_owner(result))


def _render_owner(result: messages.cluster.ZoneOwner) -> None:
    moving = f", moves to node {result.move_to}" if result.move_to else ""
    since = f" since {when(result.since)}" if result.since is not None else ""
    say(f"{result.zone} is owned by {result.owner or 'no node'}{since} (epoch {result.epoch}){moving}")
    rows = [(row.node, row.records_behind, row.detail) for row in result.nodes]
    table(("node", "records behind", "detail"), rows)


def _move(
    cli: Cli,
    zone: ZoneArgument,
    node: Annotated[str, typer.Argument(metavar="NODE", help="Name of the node.")],
) -> None:
    """Let another node make the versions of a zone."""
    result = cli.ask(messages.cluster.MoveZone(zone=full_name(zone), node=node))
    cli.show(result, lambda: say_wrapped(result.message))


def _say_changed(result: messages.zones.ZoneAdded | messages.zones.ZoneImported) -> None:
    say_wrapped(result.message)
    for warning in result.warnings:
        say_wrapped(f"  warning: {warning}")
