"""`dnssecd key rollover …` and what else is about keys over time."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dnssecd.cli.common import Cli, ZoneArgument, command, zone_name

KeyTag = Annotated[int, typer.Option("--key-tag", metavar="N", min=0, max=65_535, help="Tag of the key.")]


def register(app: typer.Typer) -> None:
    clock = typer.Typer(help="This machine's time.", no_args_is_help=True)
    app.add_typer(clock, name="clock")
    command(clock, "confirm")(_confirm_clock)


def _confirm_clock(cli: Cli) -> None:
    """Say that the time is right, after it was in doubt: signing goes on."""
    result = cli.call("clock.confirm")
    cli.show(result, lambda: print(result["message"]))


def add_to_key(key: typer.Typer) -> None:
    """Add the commands of the group `key`."""
    command(key, "rollover")(_rollover)
    command(key, "retire")(_retire)
    command(key, "revoke")(_revoke)
    command(key, "approve")(_approve)


def _rollover(
    cli: Cli,
    zone: ZoneArgument,
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help="ksk, zsk or csk.")],
) -> None:
    """Give the key in use in a role a successor; every step waits until it is safe."""
    _ask(cli, "key.rollover", {"zone": zone_name(zone), "role": role})


def _retire(cli: Cli, zone: ZoneArgument, key_tag: KeyTag) -> None:
    """Have a key leave as soon as it safely can; one in use gets a successor first."""
    _ask(cli, "key.retire", {"zone": zone_name(zone), "key_tag": key_tag})


def _revoke(cli: Cli, zone: ZoneArgument, key_tag: KeyTag) -> None:
    """Have a KSK leave, revoked (RFC 5011), so that validators that trust it take it out."""
    _ask(cli, "key.revoke", {"zone": zone_name(zone), "key_tag": key_tag})


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
    _ask(cli, "key.approve", {"zone": zone_name(zone), "step": step})


def _ask(cli: Cli, name: str, args: dict[str, Any]) -> None:
    result = cli.call(name, args)
    cli.show(result, lambda: _render(result))


def _render(result: dict[str, Any]) -> None:
    print(result["message"])
    for wait in result.get("waiting", []):
        print(f"  {wait['step']}: held by {wait['gate']} ({wait['rule']})")
    if result.get("waiting"):
        print(f"dnssecd explain {result['zone']} tells what is awaited from whom")
