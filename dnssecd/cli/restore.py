"""`dnssecd restore`: restore zones from a backup, on the same host or on a standby."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from dnssecd.cli.common import BAD, USAGE, Bad, Cli, command
from dnssecd.cli.output import progress, say, say_wrapped, table
from dnssecd.core.dns.names import full_name

_FENCED = (
    "a standby publishes in place of the primary: two publishers at the same time make every zone bogus",
    "make sure that the primary can no longer publish (power off, network disconnected, or its TSIG keys removed "
    "from the secondaries), then confirm it: --standby --primary-fenced",
)


def register(app: typer.Typer) -> None:
    """Add the commands of this module to *app*."""
    command(app, "restore")(_restore)


def _restore(
    cli: Cli,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file made by `dnssecd backup`.")],
    zone: Annotated[
        list[str] | None, typer.Option("--zone", metavar="ZONE", help="Restore only this zone (repeatable).")
    ] = None,
    keys: Annotated[
        bool,
        typer.Option(
            "--keys", help="Import keys from the backup that are missing in the key stores of this host."
        ),
    ] = False,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(
            "--passphrase-file",
            metavar="F",
            help="File with the passphrase of the keys; default: ask for it.",
        ),
    ] = None,
    raise_serial: Annotated[
        bool,
        typer.Option(
            "--raise-serial", help="Publish content that is older than the public zone, with a higher serial."
        ),
    ] = False,
    accept_older_keys: Annotated[
        bool,
        typer.Option(
            "--accept-older-keys", help="Restore key states that are older than those on this host."
        ),
    ] = False,
    accept_other_keys: Annotated[
        bool,
        typer.Option(
            "--accept-other-keys",
            help="Publish although validators have other keys: the zone is bogus while these are cached.",
        ),
    ] = False,
    standby: Annotated[
        bool, typer.Option("--standby", help="This host takes over from a failed primary.")
    ] = False,
    primary_fenced: Annotated[
        bool,
        typer.Option("--primary-fenced", help="You confirm that the primary can no longer publish."),
    ] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Show what would happen; change nothing. The daemon may be running."),
    ] = False,
    after_loss: Annotated[
        bool,
        typer.Option(
            "--after-loss", help="With --check: judge as if this host had lost its state and its key files."
        ),
    ] = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Restore the other zones if some are refused.")
    ] = False,
) -> None:
    """Restore zones from a backup while the daemon is stopped. Refuses to move serials or key states backwards.

    With --check nothing is changed, and the daemon may be running. The backup is compared with the serials and key
    states of this host and with the public servers. All zones are restored or none, unless --keep-going is given; the
    result for each zone is shown in any case. Exit status 1 if any zone was refused.
    """
    from dnssecd.backup.judge import Options
    from dnssecd.backup.restore import Wish
    from dnssecd.cli.keyservice import passphrase

    if standby != primary_fenced:
        raise Bad(*_FENCED, USAGE)
    if standby and accept_other_keys:
        raise Bad(
            "a standby must publish with the keys that are live",
            "omit --accept-other-keys",
            USAGE,
        )
    if passphrase_file is not None and not keys:
        raise Bad("--passphrase-file is given without --keys", "add --keys", USAGE)
    if after_loss and not check:
        raise Bad("--after-loss is only for a check", "add --check", USAGE)
    options = Options(raise_serial or after_loss, accept_older_keys, accept_other_keys, standby)
    zones = tuple(dict.fromkeys(map(full_name, zone or ())))
    config = _load(cli)
    secret = passphrase(passphrase_file, confirm=False) if keys else None
    wish = Wish(file, zones, secret, options, check, keep_going, after_loss=after_loss)
    result = _result(_carry_out(config, wish), check)
    cli.show(result, lambda: _render(result))
    if not result["ok"]:
        raise typer.Exit(BAD)


def _load(cli: Cli) -> Any:
    from dnssecd.config import load

    return load(cli.config_path)


def _carry_out(config: Any, wish: Any) -> Any:
    from dnssecd.backup.read import BadArchive
    from dnssecd.store.errors import StoreError
    from dnssecd.store.statedir import StateInUse

    try:
        return _check(config, wish) if wish.check else _restore_now(config, wish)
    except StateInUse as error:
        raise Bad(
            f"{error}: restore works only while the daemon is stopped",
            "stop the daemon first: systemctl stop dnssecd; or only look, with --check",
        ) from None
    except BadArchive as error:
        raise Bad(f"{error}; nothing was changed", "use another backup") from None
    except (OSError, StoreError) as error:
        if wish.check:
            raise Bad(
                f"the check was interrupted: {error}", "check disk space and permissions; nothing was changed"
            ) from None
        raise Bad(
            f"the restore was interrupted: {error}",
            "check disk space and permissions, then run it again: each zone is either restored or unchanged",
        ) from None


def _restore_now(config: Any, wish: Any) -> Any:
    from dnssecd.backup.restore import restore
    from dnssecd.backup.workplace import owned
    from dnssecd.clock import SystemClock

    _check_user(config)
    with owned(config), progress("restoring") as advance:
        return restore(config, wish, (getpass.getuser(), os.getuid()), SystemClock().now(), advance)


def _check(config: Any, wish: Any) -> Any:
    from dnssecd.backup.restore import restore
    from dnssecd.backup.workplace import checking
    from dnssecd.clock import SystemClock
    from dnssecd.replacing import replace

    with checking(config) as beside_daemon, progress("checking") as advance:
        if not beside_daemon:
            _check_user(config)
        wish = replace(wish, beside_daemon=beside_daemon)
        return restore(config, wish, (getpass.getuser(), os.getuid()), SystemClock().now(), advance)


def _check_user(config: Any) -> None:
    """Refuse to run as the wrong user: a key service that is a child process creates its files as that user."""
    state_dir = config.server.state_dir
    if os.geteuid() or config.signer.socket is not None or not state_dir.exists():
        return
    owner = state_dir.stat().st_uid
    if owner:
        raise Bad(
            f"{state_dir} belongs to user {owner}, and the keys must belong to the same user",
            f"run this command as that user (sudo -u '#{owner}')",
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
        ("zone", "backup", "this host", "public", "result"),
        [
            (zone["zone"], zone["serial"], zone["present"], zone["public"], _then(zone, refused))
            for zone in result["zones"]
        ],
        empty="no zones",
    )
    say()
    for zone in result["zones"]:
        for note in zone["notes"]:
            say_wrapped(f"  note: {zone['zone']} {note}")
    for note in result["notes"]:
        say_wrapped(f"  note: {note}")
    for refusal in result["refusals"]:
        say_wrapped(f"REFUSED ({refusal['code']}): {refusal['what']}")
        say_wrapped(f"  to do: {refusal['remedy']}")
    if result["refusals"]:
        say()
        say_wrapped(_came_of(result, refused))
    elif result["restored"]:
        say("restored; start the daemon: systemctl start dnssecd")
    else:
        say("the restore would succeed; nothing was changed (--check)")


def _came_of(result: dict[str, Any], refused: dict[str, str]) -> str:
    restored = result["zones_restored"]
    if restored:
        return f"{_zones(len(restored))} restored; {_zones(len(refused))} refused and unchanged"
    well = [zone["zone"] for zone in result["zones"] if zone["zone"] not in refused]
    text = _unchanged(result["keys_brought"])
    which = "the 1 zone that was" if len(well) == 1 else f"the {len(well)} zones that were"
    return f"{text}; --keep-going restores {which} not refused" if well else text


def _zones(number: int) -> str:
    return "1 zone" if number == 1 else f"{number} zones"


def _unchanged(keys: int) -> str:
    """Return the result of a refused restore. Keys are imported first, so some may be in the key stores."""
    if not keys:
        return "nothing was changed"
    brought = "1 key was imported and stays" if keys == 1 else f"{keys} keys were imported and stay"
    return f"no zone was restored; {brought} in the key stores for a later restore"


def _then(zone: dict[str, Any], refused: dict[str, str]) -> str:
    if zone["zone"] in refused:
        return f"REFUSED ({refused[zone['zone']]})"
    if not zone["held"]:
        return "served unchanged"
    above = zone["serial"] if zone["above"] is None else zone["above"]
    return f"published above {above} after the daemon has checked the public servers"
