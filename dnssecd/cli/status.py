"""`dnssecd status`."""

from __future__ import annotations

from typing import Any

import typer

from dnssecd.cli.common import Cli, OptionalZone, command, optional_zone
from dnssecd.cli.output import pairs, print_alerts, say, span, table, when
from dnssecd.control import messages


def register(app: typer.Typer) -> None:
    @command(app, "status")
    def status(cli: Cli, zone: OptionalZone = None) -> None:
        """What is served, by whom, and what is wrong."""
        result = cli.ask(messages.status.ShowStatus(zone=optional_zone(zone)))
        cli.show(result, lambda: _render(result))


def _render(result: messages.status.Status) -> None:
    table(
        ("zone", "state", "serial", "input", "runway", "secondaries", "alerts"),
        [_row(zone) for zone in result.zones],
        empty="no zones",
    )
    for zone in result.zones:
        notes = [*zone.blockers, *zone.warnings]
        if notes:
            say()
            say(f"{zone.zone}")
            pairs([("  note", notes)])
    say()
    say(f"key service: {result.signer.state} ({_signer_mode(result.signer.mode)})")
    if result.clock_suspect:
        say()
        say(f"clock not confirmed: {result.clock}; if the time is right: dnssecd clock confirm")
    alerts = [*result.alerts, *(alert for zone in result.zones for alert in zone.alerts)]
    unique = {(alert.name, alert.zone, alert.subject): alert for alert in alerts}
    print_alerts(list(unique.values()))


def _signer_mode(mode: str) -> str:
    return "child of the daemon: for demos" if mode == "child" else mode


def _row(zone: messages.zones.ZoneStatus) -> tuple[Any, ...]:
    secondaries = zone.secondaries
    published = zone.serial
    current = sum(1 for one in secondaries if published is not None and one.serial == published)
    return (
        zone.zone,
        zone.state,
        zone.serial,
        zone.input_serial,
        span(zone.runway_seconds),
        _secondaries(current, len(secondaries), waiting=published is None),
        ", ".join(sorted({alert.name for alert in zone.alerts})) or "-",
    )


def _secondaries(current: int, number: int, *, waiting: bool) -> str | None:
    if not number:
        return "none"
    return None if waiting else f"{current}/{number} current"


def zone_pairs(zone: messages.zones.ZoneDetails) -> list[tuple[str, Any]]:
    """The lines of one zone in full."""
    return [
        ("zone", zone.zone),
        ("state", zone.state),
        ("serial", zone.serial),
        ("input serial", zone.input_serial),
        ("source", zone.source),
        ("file", zone.file),
        ("policy", zone.policy),
        ("denial", zone.denial),
        ("records", zone.records),
        ("signatures made for the last version", zone.signatures or None),
        ("published", when(zone.last_published)),
        ("first expiration", when(zone.earliest_expiration)),
        ("runway", span(zone.runway_seconds)),
        ("next wake", when(zone.next_wake)),
        ("primaries", _servers(zone.primaries)),
        ("secondaries", _servers(zone.secondaries)),
        ("waits for", zone.blockers),
        ("warnings", zone.warnings),
    ]


def _servers(servers: list[messages.zones.ServerSeen]) -> list[str]:
    return [
        f"{one.name} has {_serial(one.serial)}"
        + (f", seen {when(one.seen_at)}" if one.seen_at else "")
        + (f": {one.detail}" if one.detail else "")
        for one in servers
    ]


def _serial(serial: int | None) -> str:
    return "no known serial" if serial is None else f"serial {serial}"
