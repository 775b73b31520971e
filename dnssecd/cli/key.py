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
    zone_name,
)
from dnssecd.cli.keystore import AlgorithmOption, algorithm_option
from dnssecd.cli.output import progress, say, table, when
from dnssecd.cli.rollover import add_to_key
from dnssecd.cli.zone import key_table
from dnssecd.control import messages

RoleOption = Annotated[str | None, typer.Option("--role", metavar="ROLE", help="ksk, zsk or csk.")]
StoreOption = Annotated[
    str | None, typer.Option("--keystore", metavar="NAME", help="Key store; default: that of the policy.")
]
PassphraseOption = Annotated[
    Path | None,
    typer.Option("--passphrase-file", metavar="F", help="Passphrase of the back-up; default: asked for."),
]


def register(app: typer.Typer) -> None:
    key = typer.Typer(help="Keys and their states.", no_args_is_help=True)
    app.add_typer(key, name="key")
    command(key, "list")(_list)
    command(key, "generate")(_generate)
    command(key, "import")(_import)
    command(key, "backup")(_backup)
    command(key, "audit")(_audit)
    add_to_key(key)


def _list(
    cli: Cli,
    zone: OptionalZone = None,
    stored: Annotated[
        bool, typer.Option("--stored", help="What the key stores hold, also keys that are not in use.")
    ] = False,
) -> None:
    """All keys, or those of a zone, with the states of their records."""
    name = optional_zone(zone)
    if stored:
        held = cli.ask(messages.keys.ListStoredKeys(zone=name))
        cli.show(held, lambda: _stored_table(held.keys))
    else:
        used = cli.ask(messages.keys.ListKeys(zone=name))
        cli.show(used, lambda: key_table(used.keys))


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
    say(result.message)


def _generate(
    cli: Cli,
    zone: ZoneArgument,
    role: RoleOption = None,
    algorithm: AlgorithmOption = None,
    bits: Annotated[int | None, typer.Option(help="Size of an RSA key.", min=2048, max=4096)] = None,
    keystore: StoreOption = None,
) -> None:
    """Make the keys a zone's policy asks for, before its first publication; or one that is described.

    So keys can be cloned into other tokens, and their DS be handed over, before anything is signed.
    """
    request = messages.keys.GenerateKeys(
        zone=zone_name(zone),
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
            help="BIND key file, PEM or PKCS#8, or a back-up of ours; or all key files of a zone that BIND signs; "
            "or, with --from, what another signer lists.",
        ),
    ] = None,
    system: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="SIGNER", help="knot, opendnssec, powerdns or bind: take keys and states."
        ),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option("--keys", metavar="DIR", help="Private keys of Knot or PowerDNS, with --from."),
    ] = None,
    role: RoleOption = None,
    algorithm: AlgorithmOption = None,
    keystore: StoreOption = None,
    cka_id: Annotated[
        str | None, typer.Option("--cka-id", metavar="HEX", help="A key already in the token, by its CKA_ID.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="TEXT", help="A key already in the token, by its label.")
    ] = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Take a zone's key from a file into a software key store, or bind one that is in a token already.

    A private key goes to the key service directly, not through the daemon: root, or the user of either, may.
    BIND's keys with .state files beside them, or several, and keys --from other signers are taken with all that is
    known of them: the zone then waits to come over as it is signed (dnssecd migrate; docs/migration.md).
    """
    request = messages.keys.AdoptKey(
        zone=zone_name(zone),
        role=None if role is None else check_role(role),
        algorithm=algorithm_option(algorithm),
        keystore=keystore,
        cka_id=cka_id,
        label=label,
    )
    if sum(bool(given) for given in (files, cka_id, label)) != 1:
        raise Bad("what to import is not clear", "give one of FILE, --cka-id, --label", USAGE)
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
        raise Bad("--keys goes with --from knot or powerdns", "leave it out, or name the signer", USAGE)
    if system is None and not have_states(files):
        return take_in(cli, files[0], wanted, passphrase_file)
    if wanted.role or wanted.algorithm:
        raise Bad("role and algorithm are those in the files", "leave out --role and --algorithm", USAGE)
    if system not in (None, "bind"):
        return take_in_listed(cli, wanted.zone, system, files, keys, wanted.keystore)
    return take_in_bind(cli, wanted.zone, files, wanted.keystore)


def _backup(
    cli: Cli,
    directory: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where the files go (made with mode 0700).")
    ],
    zone: OptionalZone = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Write the keys of software key stores to files, encrypted under a passphrase; `key import` takes them back.

    They come from the key service directly, for root and its own user only. Keys of tokens never leave them.
    """
    from dnssecd.cli.keyservice import backup

    result = backup(cli, optional_zone(zone), directory, passphrase_file)
    cli.show(result, lambda: _render_backup(result, directory))
    if not result["ok"]:
        raise typer.Exit(BAD)


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
    say(f"{written} of {len(result['keys'])} keys written to {directory}; keep the passphrase elsewhere")


def _audit(
    cli: Cli,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many entries, the latest.")] = 50,
) -> None:
    """Check the audit log of all uses of keys, and show its last entries."""
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
        empty="nothing yet",
    )
    if result.ok:
        say()
        say(f"the chain of {result.count} entries holds; its head is {result.head}")
        if result.detail:
            say(result.detail)
        say("note the head elsewhere: a log whose end was cut off shows against it only")
    else:
        say()
        say(f"THE CHAIN IS BROKEN: {result.detail}")
        say(f"the {result.count} entries before hold; keep the file, and see docs/operations.md")
