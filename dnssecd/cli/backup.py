"""`dnssecd backup`: the state of all zones in one file. The daemon may be running or stopped."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from dnssecd.cli.common import BAD, USAGE, Bad, Cli, command
from dnssecd.cli.output import progress, say, say_wrapped

PassphraseOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file", metavar="F", help="File with the passphrase of the keys; default: ask for it."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to *app*."""
    command(app, "backup")(_backup)


def _backup(
    cli: Cli,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="File to write (mode 0600); default: dnssecd-backup-TIME.tar in [backup] directory, or in the current "
            "directory. An incomplete backup gets the suffix .incomplete.",
        ),
    ] = None,
    keys: Annotated[
        bool, typer.Option("--keys", help="Include the private keys of software key stores, encrypted.")
    ] = False,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Back up all zones to one file: versions, journals, key states, history. The daemon may be running.

    Private keys are included only with --keys, each encrypted under the passphrase. The command gets them from the key
    service; only root and the user of the key service may do so. Keys in tokens cannot be exported. The configuration
    is not included: keep a copy.
    """
    if passphrase_file is not None and not keys:
        raise Bad("--passphrase-file is given without --keys", "add --keys", USAGE)
    with progress("backing up") as advance:
        result = make_backup(cli, output, keys=keys, passphrase_file=passphrase_file, advance=advance)
    cli.show(result, lambda: _render(result))
    if not result["ok"]:
        raise typer.Exit(BAD)


def make_backup(
    cli: Cli,
    output: Path | None,
    *,
    keys: bool,
    passphrase_file: Path | None,
    advance: Callable[[float, float | None, str], None],
) -> dict[str, Any]:
    """Write the file and return what is in it. Raise Bad when that fails."""
    from dnssecd.backup import write
    from dnssecd.cli.keyservice import passphrase
    from dnssecd.clock import SystemClock
    from dnssecd.config import load

    config = load(cli.config_path, read_secrets=False)
    now = int(SystemClock().now())
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    target = output or (config.backup.directory or Path()) / f"dnssecd-backup-{moment}.tar"
    secret = passphrase(passphrase_file, confirm=True) if keys else None
    if not (config.server.state_dir / "zones").is_dir():
        raise Bad(
            f"there is no daemon state in {config.server.state_dir}",
            "is this the configuration of the daemon?",
        )
    group = _group_of_daemon(config, target)
    try:
        with write.archive_file(target, now) as writer:
            zones, damaged = write.write_zones(writer, config, advance)
            damaged |= write.write_common(writer, config.server.state_dir)
            stored = None if secret is None else _with_keys(cli, writer, secret, advance)
            if group is not None and secret is None:
                writer.share(group)
            manifest = write.finish(writer, config, os.uname().nodename, now, zones, damaged, stored)
    except OSError as error:
        raise Bad(
            f"{error.filename or target}: {error.strerror or error}",
            "run this as root or the daemon's user; if the disk is full, choose another file with -o",
        ) from None
    _note(config.server.state_dir, now, f"{writer.target.absolute()}{' keys=yes' if keys else ''}")
    return _result(writer.target, manifest)


def _group_of_daemon(config: Any, target: Path) -> int | None:
    """Return the group that may read the backup: that of the daemon, where root writes into [backup] directory."""
    watched = config.backup.directory
    if os.geteuid() or watched is None or not watched.is_dir():
        return None
    same = target.absolute().parent.resolve() == watched.resolve()
    return int(config.server.state_dir.stat().st_gid) if same else None


def _with_keys(
    cli: Cli, writer: Any, secret: bytes, advance: Callable[[float, float | None, str], None]
) -> list[Any]:
    """Add to the archive, encrypted, every private key that the key service exports."""
    from dnssecd.backup.manifest import StoredKey
    from dnssecd.cli.keyservice import file_name, key_service
    from dnssecd.core.dns.names import wire_to_text
    from dnssecd.keyservice_client.errors import SignerError
    from dnssecd.signer.key_file import CannotOpen
    from dnssecd.signer.reopened import Opened

    found: list[StoredKey] = []
    with key_service(cli) as (_, client):
        keys = client.keys()
        opened = Opened(secret)
        for number, info in enumerate(keys):
            advance(number, len(keys), f"{info.role} {info.tag}")
            member, reason, in_token = f"keys/{file_name(info)}.key", "", False
            try:
                content = client.export_key(info.id, secret)
                opened.check(content, info)
                writer.octets(member, content)
            except CannotOpen as error:
                member, reason = "", f"the exported key cannot be decrypted: {error}"
            except SignerError as error:
                if error.code == "refused":
                    raise
                member, reason, in_token = "", str(error), error.code == "unsupported"
            found.append(
                StoredKey(
                    info.id,
                    tuple(map(wire_to_text, info.zones)),
                    info.role,
                    info.algorithm,
                    info.tag,
                    info.store,
                    member or None,
                    reason,
                    in_token,
                )
            )
    return found


def _note(state_dir: Path, now: int, detail: str) -> None:
    """Record the backup in the daemon's history. A backup is complete without this record."""
    import getpass

    from dnssecd.store.errors import StoreError
    from dnssecd.store.operator_log import Act, ActLog

    path = state_dir / "acts.sqlite"
    if not path.exists():
        return
    try:
        log = ActLog(path)
        try:
            log.record(Act(now, getpass.getuser(), os.getuid(), "backup", detail), ())
        finally:
            log.close()
    except (StoreError, OSError, KeyError):
        return


def _result(file: Path, manifest: Any) -> dict[str, Any]:
    return {
        "ok": manifest.whole,
        "file": str(file),
        "octets": file.stat().st_size,
        "zones": len(manifest.zones),
        "with_keys": manifest.with_keys,
        "keys": sum(key.member is not None for key in manifest.keys),
        "keys_in_tokens": sum(key.in_token for key in manifest.keys),
        "keys_missing": [
            {"tag": key.tag, "zones": list(key.zones), "reason": key.reason} for key in manifest.lost_keys
        ],
        "damaged": manifest.damaged,
    }


def _render(result: dict[str, Any]) -> None:
    kept = f" and {result['keys']} private keys, encrypted" if result["with_keys"] else ", no private keys"
    say(f"{result['file']}: {result['zones']} zones{kept}; {result['octets']:,} bytes")
    if result["keys_in_tokens"]:
        say(f"{result['keys_in_tokens']} keys are in tokens: back these up with the vendor's tools")
    for what, why in result["damaged"].items():
        say_wrapped(f"  NOT INCLUDED: {what} ({why})")
    for key in result["keys_missing"]:
        say_wrapped(f"  NOT INCLUDED: key {key['tag']} of {', '.join(key['zones'])} ({key['reason']})")
    if not result["ok"]:
        say_wrapped("the backup is incomplete, hence the suffix; the previous complete backup is unchanged")
    if result["with_keys"]:
        say("keep the passphrase in another place")
