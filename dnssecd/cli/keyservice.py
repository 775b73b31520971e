"""What commands ask of the key service without the daemon: whatever carries private keys.

The daemon never holds a private key, so neither import nor back-up goes through it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from getpass import getpass
from pathlib import Path
from typing import Any

from dnssecd.cli.common import USAGE, Bad, Cli, moment, to_json
from dnssecd.cli.output import progress
from dnssecd.cli.private_file import PrivateFile
from dnssecd.config import Config, load
from dnssecd.config.signer_owner import signer_owners
from dnssecd.control.messages.keys import AdoptKey, KeysAdded, describe_key
from dnssecd.core.dns.names import text_to_wire, wire_to_text
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_client.describe import remedy_for
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.keyservice_protocol import KeyInfo, Role
from dnssecd.pipeline.oneshot.bind_keys import FILE_OCTETS_MAX, BadKeyFile, read_key_file
from dnssecd.signer.key_file import CannotOpen
from dnssecd.signer.reopened import Opened

DEADLINE_S = 60.0
PASSPHRASE_OCTETS_MIN = 8
_BACKUP_MARK = b'"format":"dnssecd-key-'


@dataclass(frozen=True)
class Private:
    """A private key from a file, and what is known of it; `created` in epoch seconds, 0 when not known."""

    content: bytes
    role: Role
    algorithm: int
    created: int = 0


@contextmanager
def key_service(cli: Cli) -> Iterator[tuple[Config, SignerClient]]:
    """The configuration and a client of the key service; errors of the service end the command."""
    config = load(cli.config_path, read_secrets=False)
    socket = config.signer.socket or config.server.state_dir / "signer" / "signer.sock"
    try:
        with SignerClient(str(socket), DEADLINE_S, owners=_owners(config)) as client:
            yield config, client
    except SignerError as error:
        remedy = (
            "become root or the key service's user" if error.code == "refused" else remedy_for(error.code)
        )
        raise Bad(str(error), remedy) from None


def _owners(config: Config) -> frozenset[int]:
    """Who the key service is; Bad when that cannot be told: private keys and passphrases go to no one else."""
    try:
        owners = signer_owners(config)
    except KeyError:
        raise Bad(
            f"[signer] user: this host has no user {config.signer.user}", "name the key service's user"
        ) from None
    if owners is None:
        raise Bad(
            "it cannot be told which user the key service is",
            'write [signer] user = "dnssecd-signer", or the user that runs it, into the configuration',
        )
    return owners


# Import


def take_in(cli: Cli, file: Path, wanted: AdoptKey, passphrase_file: Path | None) -> KeysAdded:
    """Import the key in `file` as `wanted` (zone, role, algorithm, keystore; None: as file and policy say)."""
    with key_service(cli) as (config, client):
        zone = wanted.zone
        if zone not in config.zones:
            raise Bad(f"the configuration has no zone {zone}", "dnssecd zone list shows those it has")
        policy = config.policy_of(zone)
        store = wanted.keystore or policy.keystore
        content = read(file)
        if _BACKUP_MARK in content.replace(b" ", b""):
            info = client.restore_key(content, passphrase(passphrase_file, confirm=False), store)
        else:
            private = _private(file, content, wanted, policy)
            info = client.import_key(
                text_to_wire(zone),
                private.role,
                private.algorithm,
                private.content,
                store=store,
                created=private.created,
            )
    message = f"dnssecd zone reload {zone} signs with it, if the zone was not published yet"
    return KeysAdded(zone=zone, keys=[describe_key(info)], message=message)


def read(path: Path) -> bytes:
    """The content of a key file; Bad when it cannot be read or is none."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_OCTETS_MAX + 1)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and path.with_name(path.name + ".private").exists():
            return read(path.with_name(path.name + ".private"))
        raise Bad(f"{path}: {error.strerror}", "name a key file that you may read") from None
    if len(content) > FILE_OCTETS_MAX:
        raise Bad(f"{path} is larger than a key file can be", "name a key file")
    return content


def _private(file: Path, content: bytes, wanted: AdoptKey, policy: Any) -> Private:
    role, algorithm = wanted.role, wanted.algorithm
    if content.lstrip().startswith(b";") or b"Private-key-format:" in content or b"DNSKEY" in content:
        return _bind(file, wanted, policy)
    if role is None:
        raise Bad(f"{file} does not say what the key is for", "give --role ksk, zsk or csk", USAGE)
    template = getattr(policy, role)
    if algorithm is None and template is None:
        raise Bad(f"{file} does not say of which algorithm the key is", "give --algorithm", USAGE)
    return Private(content, role, algorithm or template.algorithm)


def _bind(file: Path, wanted: AdoptKey, policy: Any) -> Private:
    """A pair of BIND key files; the flags say the role, but a CSK is told from a KSK by the policy."""
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
    """When BIND says it made the key; 0 when it does not."""
    for line in private.decode("ascii", "replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip().lower() == "created" and value.strip().isdigit():
            return moment(value.strip())
    return 0


# Back-up


def backup(cli: Cli, zone: str | None, directory: Path, passphrase_file: Path | None) -> dict[str, Any]:
    """Write sealed keys into `directory`; keys that cannot be had are listed with the reason."""
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
        return {"file": None, "reason": f"what was written does not open: {error}", "in_token": False}
    return {"file": str(path), "reason": None, "in_token": False}


def file_name(info: KeyInfo) -> str:
    """A name that says which key it is, unique by the key's id."""
    zone = wire_to_text(info.zones[0]).rstrip(".") or "root"
    plain = "".join(char if char.isalnum() or char in ".-_" else "_" for char in zone)[:100]
    return f"{plain}_{info.role}_{info.algorithm}_{info.tag}_{info.id}"


def make_directory(directory: Path) -> None:
    """Make the directory, 0700, where it is missing; Bad when others may look into it."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = directory.stat().st_mode & 0o777
    except OSError as error:
        raise Bad(f"{directory}: {error.strerror}", "choose another place with -o") from None
    if mode & 0o077:
        raise Bad(
            f"others may look into {directory} (mode {mode:04o})",
            "name a directory that only you can look into",
        )


def passphrase(file: Path | None, *, confirm: bool) -> bytes:
    """The passphrase of a back-up, from a file or asked for on the terminal."""
    if file is not None:
        secret = read(file).rstrip(b"\r\n")
    elif sys.stdin.isatty():
        secret = getpass("Passphrase of the back-up: ").encode()
        if confirm and getpass("Once more: ").encode() != secret:
            raise Bad("the two are not the same", "try again", USAGE)
    else:
        raise Bad("there is no terminal to ask for the passphrase on", "give --passphrase-file", USAGE)
    if len(secret) < PASSPHRASE_OCTETS_MIN:
        raise Bad(f"a passphrase has at least {PASSPHRASE_OCTETS_MIN} octets", "choose a longer one", USAGE)
    return secret
