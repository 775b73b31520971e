"""`dnssecd key …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dnssecd.cli.common import (
    BAD,
    USAGE,
    Bad,
    Cli,
    OptionalZone,
    ZoneArgument,
    check_role,
    command,
    optional_zone,
)
from dnssecd.cli.key_custody import add_trash_and_consent
from dnssecd.cli.key_export import add_export
from dnssecd.cli.keystore import AlgorithmOption, algorithm_option
from dnssecd.cli.other_signers import add_foreign_to_key, import_public
from dnssecd.cli.output import progress, say, say_wrapped, table, when
from dnssecd.cli.rollover import add_to_key
from dnssecd.cli.zone import key_table
from dnssecd.control import messages
from dnssecd.core.dns.names import full_name

RoleOption = Annotated[str | None, typer.Option("--role", metavar="ROLE", help="ksk, zsk or csk.")]
StoreOption = Annotated[
    str | None,
    typer.Option("--keystore", metavar="NAME", help="Key store; default: that of the role in the policy."),
]
PassphraseOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file", metavar="F", help="File with the passphrase of the backup; default: ask for it."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to *app*."""
    key = typer.Typer(help="Keys and their states.", no_args_is_help=True)
    app.add_typer(key, name="key")
    command(key, "list")(_list)
    command(key, "generate")(_generate)
    command(key, "import")(_import)
    command(key, "backup")(_backup)
    command(key, "audit")(_audit)
    add_export(key)
    add_trash_and_consent(key)
    add_to_key(key)
    add_foreign_to_key(key)


def _list(
    cli: Cli,
    zone: OptionalZone = None,
    stored: Annotated[
        bool, typer.Option("--stored", help="List the content of the key stores, including keys not in use.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also show the states of records (docs/key-states.md).")
    ] = False,
) -> None:
    """List the keys of one zone or of all."""
    name = optional_zone(zone)
    if stored:
        held = cli.ask(messages.keys.ListStoredKeys(zone=name))
        cli.show(held, lambda: _stored_table(held.keys))
    else:
        used = cli.ask(messages.keys.ListKeys(zone=name))
        cli.show(used, lambda: key_table(used.keys, verbose=verbose))


def _stored_table(keys: list[messages.keys.StoredKey]) -> None:
    table(
        ("zone", "role", "tag", "algorithm", "key store", "state", "created", "id"),
        [
            (
                ", ".join(key.zones),
                key.role,
                key.tag,
                key.algorithm,
                key.keystore,
                key.state,
                when(key.created),
                key.id,
            )
            for key in keys
        ],
        empty="no keys",
    )


def _show_made(result: messages.keys.KeysAdded) -> None:
    _stored_table(result.keys)
    say()
    say_wrapped(result.message)


def _generate(
    cli: Cli,
    zone: ZoneArgument,
    role: RoleOption = None,
    algorithm: AlgorithmOption = None,
    bits: Annotated[int | None, typer.Option(help="Size of an RSA key.", min=2048, max=4096)] = None,
    keystore: StoreOption = None,
) -> None:
    """Generate the keys that a zone's policy needs, before its first publication; or one key with these options.

    You can then clone keys into other tokens, and hand over their DS, before the zone is signed.
    """
    request = messages.keys.GenerateKeys(
        zone=full_name(zone),
        role=None if role is None else check_role(role),
        algorithm=algorithm_option(algorithm),
        bits=bits,
        keystore=keystore,
    )
    with progress("making keys") as advance:
        result = cli.ask(request, on_progress=advance)
    cli.show(result, lambda: _show_made(result))


def _import(
    cli: Cli,
    zone: ZoneArgument,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE]...",
            help="BIND key file, PEM or PKCS#8, or a file of dnssecd key backup or backup --keys; or all BIND "
            "key files of a zone; or, with --from, the key list of another signer.",
        ),
    ] = None,
    system: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="SIGNER", help="knot, opendnssec, powerdns or bind: import keys and states."
        ),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            "--keys", metavar="DIR", help="Directory of Knot's or PowerDNS's private keys, with --from."
        ),
    ] = None,
    role: RoleOption = None,
    algorithm: AlgorithmOption = None,
    keystore: StoreOption = None,
    cka_id: Annotated[
        str | None,
        typer.Option("--cka-id", metavar="HEX", help="CKA_ID of a key that is already in the token."),
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Label of a key that is already in the token.")
    ] = None,
    passphrase_file: PassphraseOption = None,
    public_only: Annotated[
        bool,
        typer.Option(
            "--public-only",
            help="FILE has DNSKEY records of another signer of the zone (or is such a record, quoted): publish them.",
        ),
    ] = False,
    signer: Annotated[
        str | None, typer.Option("--signer", metavar="NAME", help="That signer's name, with --public-only.")
    ] = None,
) -> None:
    """Import a zone's key from a file into a software key store, or use a key that is already in a token.

    A private key goes directly to the key service, not through the daemon. Root, the user of the key service and key
    officers may do this. Several BIND keys, BIND keys with .state files, and keys --from other signers are imported
    with their states: the zone then waits for its migration (dnssecd migrate; docs/migration.md). With --public-only
    the DNSKEY of another signer of the zone (RFC 8901) is published beside the zone's own.
    """
    if public_only:
        import_public(cli, full_name(zone), [str(file) for file in files or ()], signer)
        return
    request = messages.keys.AdoptKey(
        zone=full_name(zone),
        role=None if role is None else check_role(role),
        algorithm=algorithm_option(algorithm),
        keystore=keystore,
        cka_id=cka_id,
        label=label,
    )
    if sum(bool(given) for given in (files, cka_id, label)) != 1:
        raise Bad("give exactly one source of the key", "give one of FILE, --cka-id, --label", USAGE)
    result = _taken_in(cli, files, request, passphrase_file, system, keys) if files else cli.ask(request)
    cli.show(result, lambda: _show_made(result))


def _taken_in(
    cli: Cli,
    files: list[Path],
    wanted: messages.keys.AdoptKey,
    passphrase_file: Path | None,
    system: str | None,
    keys: Path | None,
) -> messages.keys.KeysAdded:
    from dnssecd.cli.foreignkeys import have_states, take_in_bind
    from dnssecd.cli.foreignlists import take_in_listed
    from dnssecd.cli.keyservice import take_in

    if keys is not None and system in (None, "bind"):
        raise Bad("--keys goes with --from knot or powerdns", "omit it, or name the signer", USAGE)
    if system is None and not have_states(files):
        return take_in(cli, files[0], wanted, passphrase_file)
    if wanted.role or wanted.algorithm:
        raise Bad("the files state role and algorithm", "omit --role and --algorithm", USAGE)
    if system not in (None, "bind"):
        return take_in_listed(cli, wanted.zone, system, files, keys, wanted.keystore)
    return take_in_bind(cli, wanted.zone, files, wanted.keystore)


def _backup(
    cli: Cli,
    zone: OptionalZone = None,
    directory: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="DIR", help="Directory for the files (created with mode 0700)."
        ),
    ] = None,
    passphrase_file: PassphraseOption = None,
    confirm: Annotated[
        list[Path] | None,
        typer.Option(
            "--confirm",
            metavar="FILE",
            help="Open a backup (of this command, or of `dnssecd backup --keys`), and record which keys it contains.",
        ),
    ] = None,
    key_tag: Annotated[
        int | None, typer.Option("--key-tag", metavar="N", help="A key in a token, with --word.")
    ] = None,
    word: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="Where the vendor's backup of a key in a token is: your word counts."
        ),
    ] = None,
) -> None:
    """Back up the keys of software key stores to files, encrypted under a passphrase; `key import` restores them.

    The command gets the keys directly from the key service, for root, its own user and key officers. Keys in tokens
    cannot be exported. Where the policy has require_backup, --confirm makes a backup count.
    """
    name = optional_zone(zone)
    if sum(bool(given) for given in (directory, confirm, word)) != 1 or (word is None) != (key_tag is None):
        raise Bad(
            "it is not clear what to do", "give one of -o DIR, --confirm FILE, --key-tag with --word", USAGE
        )
    if directory is None:
        _confirm(cli, name, confirm or [], passphrase_file, key_tag, word or "")
        return
    from dnssecd.cli.keyservice import backup

    written = backup(cli, name, directory, passphrase_file)
    cli.show(written, lambda: _render_backup(written, directory))
    if not written["ok"]:
        raise typer.Exit(BAD)


def _confirm(
    cli: Cli,
    zone: str | None,
    files: list[Path],
    passphrase_file: Path | None,
    key_tag: int | None,
    word: str,
) -> None:
    from dnssecd.cli.keyservice import confirm_backups

    if files:
        result = confirm_backups(cli, files, passphrase_file)
    elif zone is None:
        raise Bad("--key-tag is given without a zone", "name the zone", USAGE)
    else:
        result = cli.ask(messages.keys.ConfirmBackup(zone=zone, key_tag=key_tag, detail=word))
    cli.show(result, lambda: _show_confirmed(result))


def _show_confirmed(result: messages.keys.BackupsConfirmed) -> None:
    _stored_table(result.keys)
    say()
    say_wrapped(result.message)


def _render_backup(result: dict[str, Any], directory: Path) -> None:
    table(
        ("zone", "role", "tag", "key store", "file"),
        [
            (", ".join(key["zones"]), key["role"], key["tag"], key["keystore"], key["file"] or key["reason"])
            for key in result["keys"]
        ],
        empty="no keys",
    )
    written = sum(key["file"] is not None for key in result["keys"])
    say()
    say(
        f"{written} of {len(result['keys'])} keys written to {directory}; keep the passphrase in another place"
    )


def _audit(
    cli: Cli,
    limit: Annotated[
        int, typer.Option(min=1, max=1000, help="Maximum number of entries; the latest are shown.")
    ] = 50,
) -> None:
    """Check the audit log of key use, and show its last entries."""
    result = cli.ask(messages.keys.CheckAudit(limit=limit))
    cli.show(result, lambda: _render_audit(result))
    if not result.ok:
        raise typer.Exit(BAD)


def _render_audit(result: messages.keys.Audit) -> None:
    table(
        ("number", "at", "event", "what"),
        [
            (
                entry.number,
                when(entry.at),
                entry.event,
                " ".join(f"{name}={value}" for name, value in entry.fields.items()),
            )
            for entry in result.entries
        ],
        empty="no entries",
    )
    if result.ok:
        say()
        say_wrapped(f"the chain of {result.count} entries holds; its head is {result.head}")
        if result.detail:
            say_wrapped(result.detail)
        say_wrapped(
            "keep a copy of the head on another host: only it reveals that entries at the end were removed"
        )
    else:
        say()
        say_wrapped(f"THE CHAIN IS BROKEN: {result.detail}")
        say_wrapped(
            f"the {result.count} entries before it are intact; keep the file, and see docs/operations.md"
        )
