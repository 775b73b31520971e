"""`dnssecd key rollover …` and other commands about keys over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dnssecd.cli.common import (
    USAGE,
    Bad,
    Cli,
    ZoneArgument,
    check_role,
    command,
    duration,
    to_json,
)
from dnssecd.cli.completion import complete_key_tag
from dnssecd.cli.output import say, say_lines, say_wrapped, span, table, when
from dnssecd.cli.sizes import show_sizes
from dnssecd.control import messages
from dnssecd.core.dns.names import full_name
from dnssecd.core.utc import minute

if TYPE_CHECKING:
    from dnssecd.control.messages.base import Request

LONG_S = 660.0
WAKES = {
    "resign": "renew signatures",
    "load": "read the input",
    "parent": "check the parent",
    "rollover": "check the keys",
}

#: What events of a calendar say of records (RFC 7583): words for people.
RECORDS = {"dnskey": "DNSKEY", "krrsig": "DNSKEY signature", "zrrsig": "signatures", "ds": "DS"}
STATES = {"omnipresent": "in all caches", "hidden": "gone from caches"}
#: What events of a calendar say of keys.
EVENTS = {
    "generate": "key is made",
    "use spare key": "spare key is used",
    "goal present": "key is to stay",
    "goal standby": "key is to stand by",
    "goal absent": "key is to leave",
    "publish dnskey": "DNSKEY is published",
    "withdraw dnskey": "DNSKEY is withdrawn",
    "sign dnskey set": "signs the DNSKEY RRset",
    "stop signing dnskey set": "stops signing the DNSKEY RRset",
    "sign zone": "signs the zone",
    "retire signatures": "signatures are replaced",
    "submit ds": "DS is due",
    "withdraw ds": "DS is to leave",
    "revoke": "key is revoked",
    "remove": "key is removed",
}

#: Wake-ups of a kind up to this number have a line each.
SINGLE_MAX = 5

KeyTag = Annotated[
    int,
    typer.Option(
        "--key-tag",
        metavar="N",
        min=0,
        max=65_535,
        help="Tag of the key.",
        autocompletion=complete_key_tag,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to *app*."""
    clock = typer.Typer(help="The clock of this machine.", no_args_is_help=True)
    app.add_typer(clock, name="clock")
    command(clock, "confirm")(_confirm_clock)
    command(app, "schedule")(_schedule)
    command(app, "plan")(_plan)
    command(app, "simulate")(_simulate)


def _schedule(
    cli: Cli,
    load: Annotated[
        bool, typer.Option("--load", help="Show the signatures that each key store has to make, by day.")
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", help="Show each zone, also where many zones do the same.")
    ] = False,
) -> None:
    """Show what the daemon will do next; what many zones do has one line, with the first of them."""
    result = cli.ask(messages.forecasts.ShowSchedule(load=load), silence_s=LONG_S)
    rows = _wake_rows(result.wakes, every=every)
    cli.show(
        result,
        lambda: (
            _render_load(result.load or [])
            if load
            else table(("at", "what", "of"), rows, empty="nothing is scheduled")
        ),
    )


def _wake_rows(wakes: list[messages.forecasts.Wake], *, every: bool) -> list[tuple[Any, ...]]:
    """Return a row for each wake-up, or for the first of a kind that has more than SINGLE_MAX."""
    kinds: dict[str, list[messages.forecasts.Wake]] = {}
    for wake in wakes:
        kinds.setdefault(wake.what, []).append(wake)
    rows = []
    for what, same in kinds.items():
        text = WAKES.get(what, what)
        if every or len(same) <= SINGLE_MAX:
            rows += [(wake.at, text, wake.subject) for wake in same]
        else:
            more = f"{same[0].subject}, then {len(same) - 1} more until {minute(same[-1].at)}"
            rows.append((same[0].at, text, more))
    return [(when(at), text, subject) for at, text, subject in sorted(rows)]


def _render_load(loads: list[messages.forecasts.StoreLoad]) -> None:
    for store in loads:
        say(f"key store {store.keystore}: first expiration in {span(store.runway_seconds) or 'no zone'}")
        table(
            ("day", "signatures"),
            [((when(day.day) or "")[:10], day.signatures) for day in store.days],
        )


def _plan(cli: Cli) -> None:
    """Show the effect of the changed configuration file on keys and signatures, before `config reload`."""
    result = cli.ask(messages.forecasts.ShowPlan(), silence_s=LONG_S)
    cli.show(result, lambda: _render_plan(result))


def _render_plan(result: messages.forecasts.Plan) -> None:
    for zone in result.zones:
        say(zone.zone)
        for note in zone.notes:
            say_wrapped(f"  {note}")
        if zone.events:
            _render_events(zone.events)
        if zone.summary:
            say_wrapped(f"{zone.zone} {zone.summary[0].lower()}{zone.summary[1:]}")
    for word, names in (("added", result.added), ("removed", result.removed)):
        for name in names:
            say(f"{name} {word}")
    if not (result.zones or result.added or result.removed):
        say("keys and signatures do not change")


def _simulate(
    cli: Cli,
    zone: ZoneArgument,
    days: Annotated[
        int | None, typer.Option("--days", min=1, max=3650, help="How far to look ahead; needed for steps.")
    ] = None,
    ds_delay: Annotated[
        str, typer.Option(metavar="DURATION", help='How long the parent takes to change the DS; or "never".')
    ] = "1d",
    outage: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT:FROM:FOR",
            help="Simulate an outage of secondaries, parent or signer, as in parent:10d:2d (start, duration).",
        ),
    ] = None,
    svg: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write a picture of the key states over time to this file."),
    ] = None,
    algorithm: Annotated[
        str | None,
        typer.Option(
            metavar="ALGORITHM",
            help="Instead of steps, show what this algorithm does to the size of answers, transfers and store.",
        ),
    ] = None,
) -> None:
    """Show the calendar of all coming steps, computed from the zone, its policy and its TTLs."""
    if algorithm is not None:
        show_sizes(cli, full_name(zone), algorithm)
        return
    if days is None:
        raise Bad("it is not known how far to look ahead", "give --days NUMBER", USAGE)
    never = ds_delay == "never"
    request = messages.forecasts.Simulate(
        zone=full_name(zone),
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
        say_wrapped(f"note: {note}")
    _render_events(result.events)
    if result.summary:
        say_wrapped(result.summary)


def _write_picture(path: str, picture: str) -> None:
    try:
        with open(path, "w", encoding="utf-8") as out:
            out.write(picture)
    except OSError as error:
        raise Bad(
            f"{path} cannot be written: {error.strerror}", "name a file in a directory that you can write to"
        ) from None


def _render_events(events: list[messages.forecasts.ComingEvent]) -> None:
    table(
        ("at", "key", "event", "detail"),
        [
            (when(event.at), f"{event.role} {_key(event)}", _event(event.event), event.detail)
            for event in events
        ],
        empty="no steps",
    )
    if any(event.stand_in for event in events):
        say("new-1, new-2, …: future keys; their tags are not known yet")


def _event(text: str) -> str:
    """Return an event as people call it: "dnskey omnipresent" is "DNSKEY in all caches"."""
    if text in EVENTS:
        return EVENTS[text]
    record, _, state = text.partition(" ")
    return f"{RECORDS[record]} {STATES[state]}" if record in RECORDS and state in STATES else text


def _key(event: messages.forecasts.ComingEvent) -> str:
    return f"new-{event.stand_in}" if event.stand_in else str(event.key_tag)


def _confirm_clock(cli: Cli) -> None:
    """Confirm that the time is correct after it was in doubt: signing continues."""
    result = cli.ask(messages.status.ConfirmClock())
    cli.show(result, lambda: say_wrapped(result.message))


def add_to_key(key: typer.Typer) -> None:
    """Add the commands of the group `key`."""
    command(key, "rollover")(_rollover)
    command(key, "retire")(_retire)
    command(key, "revoke")(_revoke)
    command(key, "compromised")(_compromised)
    command(key, "lost")(_lost)
    command(key, "approve")(_approve)


def _rollover(
    cli: Cli,
    zone: ZoneArgument,
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help="ksk, zsk or csk.")],
) -> None:
    """Replace the active key of a role. Every step waits until it is safe."""
    show_changed(cli, messages.rollovers.RollOver(zone=full_name(zone), role=check_role(role)))


def _retire(cli: Cli, zone: ZoneArgument, key_tag: KeyTag) -> None:
    """Retire a key as soon as it is safe; replaces it first if it is in use."""
    show_changed(cli, messages.rollovers.RetireKey(zone=full_name(zone), key_tag=key_tag))


def _revoke(cli: Cli, zone: ZoneArgument, key_tag: KeyTag) -> None:
    """Retire a KSK with the REVOKE bit (RFC 5011): validators remove it from their trust anchors."""
    show_changed(cli, messages.rollovers.RevokeKey(zone=full_name(zone), key_tag=key_tag))


def _compromised(cli: Cli, zone: ZoneArgument, key_tag: KeyTag) -> None:
    """Replace a compromised key now, by the fastest safe steps. Shows the consequences and the operator's tasks."""
    result = cli.ask(messages.rollovers.ReportCompromise(zone=full_name(zone), key_tag=key_tag))
    cli.show(result, lambda: say_lines(result.text))


def _lost(
    cli: Cli,
    zone: ZoneArgument,
    key_tag: Annotated[
        int,
        typer.Argument(
            metavar="TAG", help="Tag of the key, as in `key list`.", autocompletion=complete_key_tag
        ),
    ],
    do: Annotated[
        bool, typer.Option("--do", help="Carry the plan out. Without it, the plan is only shown.")
    ] = False,
    found: Annotated[
        bool, typer.Option("--found", help="The private key is back: end the recovery.")
    ] = False,
) -> None:
    """Replace a key whose private key is lost, by the fastest safe steps. Shows the plan and what it costs."""
    if do and found:
        raise Bad("--do and --found exclude each other", "give one of them", USAGE)
    if found:
        show_changed(cli, messages.rollovers.ReportFound(zone=full_name(zone), key_tag=key_tag))
        return
    result = cli.ask(messages.rollovers.ReportLoss(zone=full_name(zone), key_tag=key_tag, begin=do))
    cli.show(result, lambda: say_lines(result.text))


def _approve(
    cli: Cli,
    zone: ZoneArgument,
    step: Annotated[
        str | None,
        typer.Option(
            "--step", metavar="STEP", help="Name of the step, as in `explain`; default: the only one."
        ),
    ] = None,
) -> None:
    """Approve a step that waits for approval (policy: manual)."""
    show_changed(cli, messages.rollovers.ApproveStep(zone=full_name(zone), step=step))


def show_changed(cli: Cli, request: Request[messages.rollovers.KeysChanged]) -> None:
    """Send a request that changes keys, and show what waits then."""
    result = cli.ask(request)
    cli.show(result, lambda: _render(result))


def _render(result: messages.rollovers.KeysChanged) -> None:
    say_wrapped(result.message)
    if result.summary:
        say_wrapped(f"{result.summary} All else is automatic: dnssecd explain {result.zone}")
        return
    for wait in result.waiting:
        until = f", until {when(wait.until)}" if wait.until else ""
        say_wrapped(f"  {wait.step}: held by {wait.gate} ({wait.rule}){until}")
    if result.waiting:
        say_wrapped(f"for the reasons and the servers concerned: dnssecd explain {result.zone} --rules")
