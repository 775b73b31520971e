"""`dnssecd key rollover …` and what else is about keys over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dnssecd.cli.common import (
    Bad,
    Cli,
    ZoneArgument,
    check_role,
    command,
    duration,
    to_json,
    zone_name,
)
from dnssecd.cli.output import say, say_lines, span, table, when
from dnssecd.control import messages

if TYPE_CHECKING:
    from dnssecd.control.messages.base import Request

LONG_S = 660.0
WAKES = {
    "resign": "signatures come due",
    "load": "read the input again",
    "parent": "look at the parent",
    "rollover": "look at the keys",
}

KeyTag = Annotated[int, typer.Option("--key-tag", metavar="N", min=0, max=65_535, help="Tag of the key.")]


def register(app: typer.Typer) -> None:
    clock = typer.Typer(help="This machine's time.", no_args_is_help=True)
    app.add_typer(clock, name="clock")
    command(clock, "confirm")(_confirm_clock)
    command(app, "schedule")(_schedule)
    command(app, "plan")(_plan)
    command(app, "simulate")(_simulate)


def _schedule(
    cli: Cli,
    load: Annotated[
        bool, typer.Option("--load", help="What the key stores will have to sign, by day.")
    ] = False,
) -> None:
    """What the daemon will do next, of itself."""
    result = cli.ask(messages.forecasts.ShowSchedule(load=load), silence_s=LONG_S)
    cli.show(result, lambda: _render_load(result.load or []) if load else _render_wakes(result.wakes))


def _render_wakes(wakes: list[messages.forecasts.Wake]) -> None:
    table(
        ("at", "what", "of"),
        [(when(wake.at), WAKES.get(wake.what, wake.what), wake.subject) for wake in wakes],
        empty="nothing is planned",
    )


def _render_load(loads: list[messages.forecasts.StoreLoad]) -> None:
    for store in loads:
        say(f"key store {store.keystore}: first expiration in {span(store.runway_seconds) or 'no zone'}")
        table(
            ("day", "signatures"),
            [((when(day.day) or "")[:10], day.signatures) for day in store.days],
        )


def _plan(cli: Cli) -> None:
    """What the configuration file, as it is now, would do to keys and signatures: before `config reload`."""
    result = cli.ask(messages.forecasts.ShowPlan(), silence_s=LONG_S)
    cli.show(result, lambda: _render_plan(result))


def _render_plan(result: messages.forecasts.Plan) -> None:
    for zone in result.zones:
        say(zone.zone)
        for note in zone.notes:
            say(f"  {note}")
        if zone.events:
            _render_events(zone.events)
    for word, names in (("added", result.added), ("removed", result.removed)):
        for name in names:
            say(f"{name} {word}")
    if not (result.zones or result.added or result.removed):
        say("nothing changes for keys and signatures")


def _simulate(
    cli: Cli,
    zone: ZoneArgument,
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="How far to look ahead.")],
    ds_delay: Annotated[
        str, typer.Option(metavar="DURATION", help='How long the parent takes to change DS; "never".')
    ] = "1d",
    outage: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT:FROM:FOR", help="secondaries, parent or signer do nothing: parent:10d:2d."
        ),
    ] = None,
    svg: Annotated[str | None, typer.Option(metavar="FILE", help="Draw the keys' states over time.")] = None,
) -> None:
    """The calendar of every step ahead, from the zone, its policy and its TTLs as they are."""
    never = ds_delay == "never"
    request = messages.forecasts.Simulate(
        zone=zone_name(zone),
        days=days,
        ds_delay=None if never else duration(ds_delay),
        ds_never=never,
        outages=outage or [],
        svg=svg is not None,
    )
    result = cli.ask(request, silence_s=LONG_S)
    if svg is not None:
        _write_picture(svg, result.svg or "")
    calendar = {name: value for name, value in to_json(result).items() if name != "svg"}
    cli.show(calendar, lambda: _render_calendar(result))


def _render_calendar(result: messages.forecasts.Calendar) -> None:
    for note in result.notes:
        say(f"note: {note}")
    _render_events(result.events)


def _write_picture(path: str, picture: str) -> None:
    try:
        with open(path, "w", encoding="utf-8") as out:
            out.write(picture)
    except OSError as error:
        raise Bad(
            f"{path} cannot be written: {error.strerror}", "name a file in a directory of yours"
        ) from None


def _render_events(events: list[messages.forecasts.ComingEvent]) -> None:
    table(
        ("at", "key", "event", "detail"),
        [(when(event.at), f"{event.role} {_key(event)}", event.event, event.detail) for event in events],
        empty="nothing happens",
    )
    if any(event.stand_in for event in events):
        say("new-1, new-2, …: keys still to be made; their tags are not known yet")


def _key(event: messages.forecasts.ComingEvent) -> str:
    return f"new-{event.stand_in}" if event.stand_in else str(event.key_tag)


def _confirm_clock(cli: Cli) -> None:
    """Say that the time is right, after it was in doubt: signing goes on."""
    result = cli.ask(messages.status.ConfirmClock())
    cli.show(result, lambda: say(result.message))


def add_to_key(key: typer.Typer) -> None:
    """Add the commands of the group `key`."""
    command(key, "rollover")(_rollover)
    command(key, "retire")(_retire)
    command(key, "revoke")(_revoke)
    command(key, "compromised")(_compromised)
    command(key, "approve")(_approve)


def _rollover(
    cli: Cli,
    zone: ZoneArgument,
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help="ksk, zsk or csk.")],
) -> None:
    """Give the key in use in a role a successor; every step waits until it is safe."""

    _ask(cli, messages.rollovers.RollOver(zone=zone_name(zone), role=check_role(role)))


def _retire(cli: Cli, zone: ZoneArgument, key_tag: KeyTag) -> None:
    """Have a key leave as soon as it safely can; one in use gets a successor first."""
    _ask(cli, messages.rollovers.RetireKey(zone=zone_name(zone), key_tag=key_tag))


def _revoke(cli: Cli, zone: ZoneArgument, key_tag: KeyTag) -> None:
    """Have a KSK leave, revoked (RFC 5011), so that validators that trust it take it out."""
    _ask(cli, messages.rollovers.RevokeKey(zone=zone_name(zone), key_tag=key_tag))


def _compromised(cli: Cli, zone: ZoneArgument, key_tag: KeyTag) -> None:
    """Replace a key by the fastest safe way, now; prints what it costs and what people have to do."""
    result = cli.ask(messages.rollovers.ReportCompromise(zone=zone_name(zone), key_tag=key_tag))
    cli.show(result, lambda: say_lines(result.text))


def _approve(
    cli: Cli,
    zone: ZoneArgument,
    step: Annotated[
        str | None,
        typer.Option(
            "--step", metavar="STEP", help="The step, as `explain` names it; default: the only one."
        ),
    ] = None,
) -> None:
    """Let a step happen that waits for approval (policy: manual)."""
    _ask(cli, messages.rollovers.ApproveStep(zone=zone_name(zone), step=step))


def _ask(cli: Cli, request: Request[messages.rollovers.KeysChanged]) -> None:
    result = cli.ask(request)
    cli.show(result, lambda: _render(result))


def _render(result: messages.rollovers.KeysChanged) -> None:
    say(result.message)
    for wait in result.waiting:
        until = f", until {when(wait.until)}" if wait.until else ""
        say(f"  {wait.step}: held by {wait.gate} ({wait.rule}){until}")
    if result.waiting:
        say(f"dnssecd explain {result.zone} tells what is awaited from whom")
