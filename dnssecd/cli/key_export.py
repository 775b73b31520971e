"""`dnssecd key export`: the private key of a software key store, as other signers read it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from dnssecd.cli.common import USAGE, Bad, Cli, ZoneArgument, command, to_json
from dnssecd.cli.output import say, say_wrapped
from dnssecd.core.dns.names import full_name


def add_export(key: typer.Typer) -> None:
    """Add the command to `dnssecd key`."""
    command(key, "export")(_export)


def _export(
    cli: Cli,
    zone: ZoneArgument,
    tag: Annotated[int, typer.Argument(metavar="TAG", help="Key tag (dnssecd key list --stored).")],
    directory: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where the files go (made with mode 0700).")
    ],
    form: Annotated[
        str, typer.Option("--format", metavar="bind|pem", help="BIND key files, or PKCS#8 in PEM.")
    ] = "bind",
) -> None:
    """Write the private key of a software key store to files that other signers read, NOT encrypted.

    It comes from the key service directly, for root, its own user and key officers. Where the policy says two_person,
    a second key officer must consent first (dnssecd key consent). Keys of tokens never leave them. Each export is in
    the audit log.
    """
    if form not in ("bind", "pem"):
        raise Bad(f'"{form}" is not a format', "give --format bind or --format pem", USAGE)
    result = _write(cli, full_name(zone), tag, directory, form)
    cli.show(result, lambda: _render(result))


def _render(result: dict[str, Any]) -> None:
    for file in result["files"]:
        say(file)
    say_wrapped("the private key is in the clear: move it to where it belongs, and remove the files here")


def _write(cli: Cli, zone: str, tag: int, directory: Path, form: str) -> dict[str, Any]:
    from dnssecd.cli.keyservice import key_service, make_directory
    from dnssecd.control.messages.keys import describe_key
    from dnssecd.core.dns.names import text_to_wire

    with key_service(cli) as (_, client):
        found = [info for info in client.keys(text_to_wire(zone)) if info.tag == tag]
        if not found:
            raise Bad(
                f"no key {tag} of {zone} is in a key store", f"dnssecd key list {zone} --stored shows all"
            )
        if len(found) > 1:
            raise Bad(
                f"{len(found)} keys of {zone} have the tag {tag}",
                "dnssecd key backup writes all of them, encrypted",
            )
        (info,) = found
        make_directory(directory)
        base = directory / _base_name(zone, info.algorithm, tag)
        wanted = [
            Path(f"{base}{suffix}") for suffix in ((".key", ".private") if form == "bind" else (".pem",))
        ]
        for path in wanted:
            if os.path.lexists(path):
                raise Bad(f"{path} is there already", "move it away, or choose another place with -o")
        passphrase = secrets.token_bytes(32)  # for the way from the key service to here
        content = client.export_key(info.id, passphrase)
    for path, text in zip(wanted, _texts(content, passphrase, zone, form), strict=True):
        _create(path, text)
    return {"key": to_json(describe_key(info)), "files": [str(path) for path in wanted]}


def _texts(content: bytes, passphrase: bytes, zone: str, form: str) -> list[str]:
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    from dnssecd.signer import algorithms, private_texts
    from dnssecd.signer import key_file as sealed

    opened = sealed.read(content)
    key = opened.key
    der = sealed.open_sealed(opened, sealed.KeyEncryption(passphrase))
    private = cast("algorithms.PrivateKey", load_der_private_key(der, None))
    if form == "pem":
        return [private_texts.write_pem(private)]
    if key.algorithm not in private_texts.BIND_NAMES:
        name = algorithms.ALGORITHMS[key.algorithm].name
        raise Bad(f"there is no BIND format for {name} keys", "use --format pem")
    tag = algorithms.key_tag(key.dnskey)
    return [
        private_texts.write_bind_public(zone, key.role, tag, key.dnskey, key.created),
        private_texts.write_bind_private(private, key.algorithm, key.created),
    ]


def _base_name(zone: str, algorithm: int, tag: int) -> str:
    """Return the name that BIND gives the files of a key, without suffix."""
    plain = "".join(
        char if char.isascii() and (char.isalnum() or char in "-_.") else _percent(char) for char in zone
    )
    return f"K{plain}+{algorithm:03}+{tag:05}"


def _percent(char: str) -> str:
    return "".join(f"%{octet:02X}" for octet in char.encode())


def _create(path: Path, text: str) -> None:
    """Write a file that only its owner can read, and that was not there before."""
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(path, flags, 0o600), "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise Bad(f"{path} cannot be written ({error.strerror})", "choose another place with -o") from None
