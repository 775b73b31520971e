"""Requests of commands that carry private keys: they go directly to the key service.

The daemon never holds a private key, so import and backup do not go through it.
"""

from __future__ import annotations

import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from getpass import getpass
from pathlib import Path
from typing import Any

from dnssecd.bounded_file import TooLarge, read_at_most
from dnssecd.cli.common import USAGE, Bad, Cli, moment, to_json
from dnssecd.cli.output import progress
from dnssecd.cli.private_file import PrivateFile
from dnssecd.config import Config, load
from dnssecd.config.signer_owner import signer_owners
from dnssecd.control.messages.keys import AdoptKey, BackupsConfirmed, ConfirmBackup, KeysAdded, describe_key
from dnssecd.core.dns.names import text_to_wire, wire_to_text
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_client.describe import remedy_for
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.keyservice_protocol import KeyInfo, Role
from dnssecd.pipeline.oneshot.bind_keys import FILE_OCTETS_MAX, BadKeyFile, read_key_file
from dnssecd.signer.key_file import CannotOpen, Description
from dnssecd.signer.key_file import read as read_sealed
from dnssecd.signer.reopened import Opened

DEADLINE_S = 60.0
CHILD_WAIT_S = 10.0
PASSPHRASE_OCTETS_MIN = 8
_BACKUP_MARK = b'"format":"dnssecd-key-'


@dataclass(frozen=True)
class Private:
    """A private key from a file with its properties; `created` in epoch seconds, 0 if unknown."""

    content: bytes
    role: Role
    algorithm: int
    created: int = 0


@contextmanager
def key_service(cli: Cli) -> Iterator[tuple[Config, SignerClient]]:
    """Provide the configuration and a client of the key service; an error of the service ends the command."""
    config = load(cli.config_path, read_secrets=False)
    socket = config.signer.socket or config.server.state_dir / "signer" / "signer.sock"
    if not config.signer.socket:
        _await(socket)
    try:
        with SignerClient(str(socket), DEADLINE_S, owners=_owners(config)) as client:
            yield config, client
    except SignerError as error:
        remedy = (
            "run this as root, the user of the key service or a key officer ([roles] key_officer)"
            if error.code == "refused"
            else remedy_for(error.code)
        )
        raise Bad(str(error), remedy) from None


def _await(socket: Path) -> None:
    """Wait a moment for the key service that a daemon that was started just now is starting."""
    ends = time.monotonic() + CHILD_WAIT_S
    while not socket.exists() and time.monotonic() < ends:
        time.sleep(0.1)


def _owners(config: Config) -> frozenset[int]:
    """Return the users that may be the key service. Raise Bad if unknown: only it may get private keys."""
    try:
        owners = signer_owners(config)
    except KeyError:
        raise Bad(
            f"[signer] user: this host has no user {config.signer.user}",
            "write the user that runs the key service",
        ) from None
    if owners is None:
        raise Bad(
            "the user of the key service is unknown",
            'add [signer] user = "dnssecd-signer", or the user that runs it, to the configuration',
        )
    return owners


# Import


def take_in(cli: Cli, file: Path, wanted: AdoptKey, passphrase_file: Path | None) -> KeysAdded:
    """Import the key in `file` as `wanted` (zone, role, algorithm, keystore; None: taken from file and policy).

    Of an archive of `dnssecd backup --keys`: the zone's keys that the key service does not have.
    """
    with key_service(cli) as (config, client):
        zone = wanted.zone
        if zone not in config.zones:
            raise Bad(f"the configuration has no zone {zone}", "list the configured zones: dnssecd zone list")
        policy = config.policy_of(zone)
        if _is_archive(file):
            infos = _restore_missing(client, file, wanted, policy, passphrase_file)
            return KeysAdded(zone=zone, keys=[describe_key(info) for info in infos], message=_again(zone))
        content = read(file)
        if _BACKUP_MARK in content.replace(b" ", b""):
            store = wanted.keystore or policy.keystore_of(_sealed_role(file, content))
            info = client.restore_key(content, passphrase(passphrase_file, confirm=False), store)
        else:
            private = _private(file, content, wanted, policy)
            store = wanted.keystore or policy.keystore_of(private.role)
            info = client.import_key(
                text_to_wire(zone),
                private.role,
                private.algorithm,
                private.content,
                store=store,
                created=private.created,
            )
    return KeysAdded(zone=zone, keys=[describe_key(info)], message=_again(zone))


def _again(zone: str) -> str:
    return f"if the zone is not published yet, sign it with this key: dnssecd zone reload {zone}"


def _is_archive(file: Path) -> bool:
    return file.is_file() and tarfile.is_tarfile(file)


def _restore_missing(
    client: SignerClient, file: Path, wanted: AdoptKey, policy: Any, passphrase_file: Path | None
) -> list[KeyInfo]:
    """Restore the keys of a zone in a backup that the key service does not have, or whose files it has lost."""
    zone = text_to_wire(wanted.zone)
    held = {info.dnskey for info in client.keys(b"") if info.state != "missing"}
    copies = [
        (content, key) for content in _sealed_keys(file) if zone in (key := _described(file, content)).zones
    ]
    missing = [(content, key) for content, key in copies if key.dnskey not in held]
    if not missing:
        what = "is missing here" if copies else "is in it"
        raise Bad(f"{file}: no key of {wanted.zone} {what}", "list what is there: dnssecd key list --stored")
    secret = passphrase(passphrase_file, confirm=False)
    return [
        client.restore_key(content, secret, wanted.keystore or policy.keystore_of(key.role))
        for content, key in missing
    ]


def _described(file: Path, content: bytes) -> Description:
    try:
        return read_sealed(content).key
    except CannotOpen as error:
        raise Bad(f"{file}: {error}", "name a complete backup") from None


def read(path: Path) -> bytes:
    """Return the content of a key file. Raise Bad when it cannot be read or is too large."""
    try:
        return read_at_most(path, FILE_OCTETS_MAX)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and path.with_name(path.name + ".private").exists():
            return read(path.with_name(path.name + ".private"))
        raise Bad(f"{path}: {error.strerror}", "name a key file that you may read") from None
    except TooLarge:
        raise Bad(f"{path} is larger than a key file can be", "name a key file") from None


def _sealed_role(file: Path, content: bytes) -> Role:
    try:
        return read_sealed(content).key.role
    except CannotOpen as error:
        raise Bad(f"{file}: {error}", "name a file that `dnssecd key backup` wrote") from None


def _private(file: Path, content: bytes, wanted: AdoptKey, policy: Any) -> Private:
    role, algorithm = wanted.role, wanted.algorithm
    if content.lstrip().startswith(b";") or b"Private-key-format:" in content or b"DNSKEY" in content:
        return _bind(file, wanted, policy)
    if role is None:
        raise Bad(f"{file} does not state the role of the key", "give --role ksk, zsk or csk", USAGE)
    template = getattr(policy, role)
    if algorithm is None and template is None:
        raise Bad(f"{file} does not state the algorithm of the key", "give --algorithm", USAGE)
    return Private(content, role, algorithm or template.algorithm)


def _bind(file: Path, wanted: AdoptKey, policy: Any) -> Private:
    """Return the key of a pair of BIND key files. The flags give the role; the policy decides between CSK and KSK."""
    try:
        pair = read_key_file(file, text_to_wire(wanted.zone))
    except BadKeyFile as error:
        raise Bad(str(error), "name the pair of files that dnssec-keygen made for the zone") from None
    sep: Role = "csk" if policy.csk is not None else "ksk"
    by_flags: Role = sep if pair.flags & 1 else "zsk"
    return Private(
        pair.private,
        wanted.role or by_flags,
        wanted.algorithm or pair.algorithm,
        _created(pair.private),
    )


def _created(private: bytes) -> int:
    """Return the time of creation in BIND's private key file (epoch seconds), 0 if it has none."""
    for line in private.decode("ascii", "replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip().lower() == "created" and value.strip().isdigit():
            return moment(value.strip())
    return 0


# Backup


def backup(cli: Cli, zone: str | None, directory: Path, passphrase_file: Path | None) -> dict[str, Any]:
    """Write encrypted keys into `directory`; list keys that cannot be exported with the reason."""
    keys: list[dict[str, Any]] = []
    with key_service(cli) as (_, client), progress("backing up") as advance:
        found = client.keys(b"" if zone is None else text_to_wire(zone))
        secret = passphrase(passphrase_file, confirm=True)
        make_directory(directory)
        opened = Opened(secret)
        for number, info in enumerate(found):
            advance(number, len(found), f"{info.role} {info.tag}")
            keys.append(to_json(describe_key(info)) | _export(client, info, secret, directory, opened))
    wanted = [key for key in keys if not key["in_token"]]
    return {"keys": keys, "ok": all(key["file"] for key in wanted)}


def confirm_backups(cli: Cli, files: list[Path], passphrase_file: Path | None) -> BackupsConfirmed:
    """Open backups, and have the daemon record the keys whose private half is in them."""
    secret = passphrase(passphrase_file, confirm=False)
    checker, found = Opened(secret), dict[str, None]()
    with key_service(cli) as (_, client):
        listed = client.keys()
    held = {info.id: info for info in listed}
    for file in files:
        for content in _sealed_keys(file):
            try:
                info = held.get(read_sealed(content).key.id)
                if info is not None:
                    checker.check(content, info)
                    found[info.id] = None
            except CannotOpen as error:
                raise Bad(f"{file}: {error}", "check the passphrase, and that the file is whole") from None
    if not found:
        raise Bad("no key of this key service is in these files", "name a backup of these keys")
    names = ", ".join(str(file.absolute()) for file in files)
    return cli.ask(ConfirmBackup(keys=tuple(found), detail=names))


def _sealed_keys(file: Path) -> list[bytes]:
    """Return the encrypted keys in a file of `key backup`, or in an archive of `dnssecd backup --keys`."""
    from dnssecd.backup.read import BadArchive, opened

    if not _is_archive(file):
        return [read(file)]
    try:
        with opened(file) as archive:
            return [archive.octets(key.member) for key in archive.manifest.keys if key.member is not None]
    except BadArchive as error:
        raise Bad(str(error), "name a complete backup") from None


def _export(
    client: SignerClient, info: KeyInfo, secret: bytes, directory: Path, opened: Opened
) -> dict[str, Any]:
    try:
        content = client.export_key(info.id, secret)
    except SignerError as error:
        if error.code == "refused":
            raise
        return {"file": None, "reason": str(error), "in_token": error.code == "unsupported"}
    path = directory / f"{file_name(info)}.key"
    with PrivateFile(str(path)) as file:
        file.write(content.decode("utf-8", "replace"))
    try:
        opened.check(path.read_bytes(), info)
    except (OSError, CannotOpen) as error:
        path.unlink(missing_ok=True)
        return {"file": None, "reason": f"the written file cannot be decrypted: {error}", "in_token": False}
    return {"file": str(path), "reason": None, "in_token": False}


def file_name(info: KeyInfo) -> str:
    """Return a file name with zone, role and tag of the key, unique by the key's id."""
    zone = wire_to_text(info.zones[0]).rstrip(".") or "root"
    plain = "".join(char if char.isalnum() or char in ".-_" else "_" for char in zone)[:100]
    return f"{plain}_{info.role}_{info.algorithm}_{info.tag}_{info.id}"


def make_directory(directory: Path) -> None:
    """Create the directory with mode 0700 if it is missing. Raise Bad when other users can read it."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = directory.stat().st_mode & 0o777
    except OSError as error:
        raise Bad(f"{directory}: {error.strerror}", "choose another directory with -o") from None
    if mode & 0o077:
        raise Bad(
            f"other users have access to {directory} (mode {mode:04o})",
            "name a directory that only you can access",
        )


def passphrase(file: Path | None, *, confirm: bool) -> bytes:
    """Return the passphrase of a backup, from a file or from the terminal."""
    if file is not None:
        secret = read(file).rstrip(b"\r\n")
    elif sys.stdin.isatty():
        secret = getpass("Passphrase of the backup: ").encode()
        if confirm and getpass("Repeat it: ").encode() != secret:
            raise Bad("the two passphrases differ", "try again", USAGE)
    else:
        raise Bad("the passphrase cannot be asked for: there is no terminal", "give --passphrase-file", USAGE)
    if len(secret) < PASSPHRASE_OCTETS_MIN:
        raise Bad(
            f"the passphrase is too short: the minimum is {PASSPHRASE_OCTETS_MIN} bytes",
            "choose a longer passphrase",
            USAGE,
        )
    return secret
