"""`dnssecd restore`: back to what a back-up has, on the host it was made on or on a stand-by."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from dnssecd.cli.common import BAD, USAGE, Bad, Cli, command, zone_name
from dnssecd.cli.output import progress, say, table

_FENCED = (
    "a stand-by publishes in the primary's place: two at once make every zone bogus",
    "make sure that the primary cannot publish any more (powered off, its network taken away, its TSIG keys taken out "
    "at the secondaries), then say so: --standby --primary-fenced",
)


def register(app: typer.Typer) -> None:
    command(app, "restore")(_restore)


def _restore(
    cli: Cli,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A back-up made by `dnssecd backup`.")],
    zone: Annotated[
        list[str] | None, typer.Option("--zone", metavar="ZONE", help="Only this zone; may be given again.")
    ] = None,
    keys: Annotated[
        bool, typer.Option("--keys", help="Bring in keys from the back-up that are not in a key store here.")
    ] = False,
    passphrase_file: Annotated[
        Path | None,
        typer.Option("--passphrase-file", metavar="F", help="Passphrase of the keys; default: asked for."),
    ] = None,
    raise_serial: Annotated[
        bool,
        typer.Option(
            "--raise-serial", help="Publish content older than what is public, with a serial above all."
        ),
    ] = False,
    accept_older_keys: Annotated[
        bool, typer.Option("--accept-older-keys", help="Let key states go back behind those here.")
    ] = False,
    accept_other_keys: Annotated[
        bool,
        typer.Option(
            "--accept-other-keys",
            help="Publish though validators have other keys: bogus while these are cached.",
        ),
    ] = False,
    standby: Annotated[
        bool, typer.Option("--standby", help="This host takes over from a primary that is gone.")
    ] = False,
    primary_fenced: Annotated[
        bool,
        typer.Option("--primary-fenced", help="You declare that the primary cannot publish any more."),
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Only say what would happen.")] = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Restore the zones that are not refused, though others are.")
    ] = False,
) -> None:
    """Restore zones from a back-up while the daemon is stopped; what would go backwards is refused.

    Compared are serials and key states here, and what the public servers serve now. All zones are restored or none,
    unless --keep-going is given; what would become of each is shown either way. Exit status 1 if any was refused.
    """
    from dnssecd.backup.judge import Options

    if standby != primary_fenced:
        raise Bad(*_FENCED, USAGE)
    if standby and accept_other_keys:
        raise Bad(
            "a stand-by publishes with no other keys than those that are live",
            "leave --accept-other-keys out",
            USAGE,
        )
    if passphrase_file is not None and not keys:
        raise Bad("a passphrase was given, but no keys asked for", "add --keys", USAGE)
    options = Options(raise_serial, accept_older_keys, accept_other_keys, standby)
    zones = tuple(dict.fromkeys(map(zone_name, zone or ())))
    result = _result(_carry_out(cli, file, zones, keys, passphrase_file, options, check, keep_going), check)
    cli.show(result, lambda: _render(result))
    if not result["ok"]:
        raise typer.Exit(BAD)


def _carry_out(
    cli: Cli,
    file: Path,
    zones: tuple[str, ...],
    keys: bool,
    passphrase_file: Path | None,
    options: Any,
    check: bool,
    keep_going: bool,
) -> Any:

    from dnssecd.backup.read import BadArchive
    from dnssecd.backup.restore import Wish, owned, restore
    from dnssecd.cli.keyservice import passphrase
    from dnssecd.clock import SystemClock
    from dnssecd.config import load
    from dnssecd.store.errors import StoreError
    from dnssecd.store.statedir import StateInUse

    config = load(cli.config_path)
    _check_user(config)
    secret = passphrase(passphrase_file, confirm=False) if keys else None
    wish = Wish(file, zones, secret, options, check, keep_going)
    try:
        with owned(config), progress("restoring") as advance:
            return restore(config, wish, (getpass.getuser(), os.getuid()), SystemClock().now(), advance)
    except StateInUse as error:
        raise Bad(
            f"{error}: nothing is restored under a running daemon", "stop it first: systemctl stop dnssecd"
        ) from None
    except BadArchive as error:
        raise Bad(f"{error}; nothing was changed", "take another back-up") from None
    except (OSError, StoreError) as error:
        raise Bad(
            f"it broke off: {error}",
            "see disk space and permissions; zones are as they were or restored: do it again",
        ) from None


def _check_user(config: Any) -> None:
    """A key service that is the daemon's child makes its files as whoever starts it."""
    state_dir = config.server.state_dir
    if os.geteuid() or config.signer.socket is not None or not state_dir.exists():
        return
    owner = state_dir.stat().st_uid
    if owner:
        raise Bad(
            f"{state_dir} belongs to user {owner}, and so will its keys",
            f"run this as that user (sudo -u '#{owner}')",
        )


def _result(done: Any, check: bool) -> dict[str, Any]:
    return {
        "ok": not done.refusals,
        "check": check,
        "restored": not done.refusals and not check,
        "zones_restored": list(done.restored),
        "zones": [
            {
                "zone": each.zone,
                "serial": each.serial,
                "present": each.present,
                "public": each.public,
                "held": each.held,
                "above": each.floor,
                "notes": list(each.notes),
            }
            for each in done.decisions
        ],
        "refusals": [
            {"zone": each.zone, "code": each.code, "what": each.what, "remedy": each.remedy}
            for each in done.refusals
        ],
        "notes": list(done.notes),
        "keys_brought": done.keys_brought,
    }


def _render(result: dict[str, Any]) -> None:
    refused = {refusal["zone"]: refusal["code"] for refusal in reversed(result["refusals"])}
    table(
        ("zone", "back-up", "here", "public", "then"),
        [
            (zone["zone"], zone["serial"], zone["present"], zone["public"], _then(zone, refused))
            for zone in result["zones"]
        ],
        empty="no zones",
    )
    say()
    for zone in result["zones"]:
        for note in zone["notes"]:
            say(f"  note: {zone['zone']} {note}")
    for note in result["notes"]:
        say(f"  note: {note}")
    for refusal in result["refusals"]:
        say(f"REFUSED ({refusal['code']}): {refusal['what']}")
        say(f"  to do: {refusal['remedy']}")
    if result["refusals"]:
        say()
        say(_came_of(result, refused))
    elif result["restored"]:
        say("restored; start the daemon: systemctl start dnssecd")
    else:
        say("nothing is in the way; nothing was changed, since only a check was asked for")


def _came_of(result: dict[str, Any], refused: dict[str, str]) -> str:
    restored = result["zones_restored"]
    if restored:
        return f"{_zones(len(restored))} restored; {_zones(len(refused))} refused and left as it was"
    well = [zone["zone"] for zone in result["zones"] if zone["zone"] not in refused]
    text = _unchanged(result["keys_brought"])
    which = "the 1 zone that is" if len(well) == 1 else f"the {len(well)} zones that are"
    return f"{text}; --keep-going restores {which} not refused" if well else text


def _zones(number: int) -> str:
    return "1 zone" if number == 1 else f"{number} zones"


def _unchanged(keys: int) -> str:
    """What came of a restore that was refused: keys are brought in first, and some may have failed."""
    if not keys:
        return "nothing was changed"
    brought = "1 key was brought in and stays" if keys == 1 else f"{keys} keys were brought in and stay"
    return f"no zone was restored; {brought} in the key stores: a later restore finds them there"


def _then(zone: dict[str, Any], refused: dict[str, str]) -> str:
    if zone["zone"] in refused:
        return f"REFUSED ({refused[zone['zone']]})"
    if not zone["held"]:
        return "served as it is"
    above = zone["serial"] if zone["above"] is None else zone["above"]
    return f"published above {above} when the daemon has looked at what is public"
