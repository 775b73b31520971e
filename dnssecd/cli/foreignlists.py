"""Import keys that Knot, OpenDNSSEC or PowerDNS list. Private keys are in a directory, a token or the list."""

from __future__ import annotations

from pathlib import Path

from dnssecd.bounded_file import TooLarge, read_at_most
from dnssecd.cli.common import USAGE, Bad, Cli
from dnssecd.cli.foreignkeys import Found, take_in_foreign
from dnssecd.cli.keyservice import read
from dnssecd.clock import SystemClock
from dnssecd.control.messages.keys import KeysAdded
from dnssecd.core.dns.names import text_to_wire
from dnssecd.migration import listed
from dnssecd.migration.foreign import ForeignError
from dnssecd.migration.powerdns import label_in_token
from dnssecd.signer import private_formats
from dnssecd.signer.algorithms import dnskey_rdata
from dnssecd.signer.errors import ServiceError

LISTING_OCTETS_MAX = 16 * 1024 * 1024


def take_in_listed(
    cli: Cli, zone: str, system: str, files: list[Path], keys: Path | None, keystore: str | None
) -> KeysAdded:
    """Import the keys of a zone that `system` lists in a file; `keys`: the directory with the private keys."""
    if system not in listed.SYSTEMS:
        known = ", ".join(sorted(("bind", *listed.SYSTEMS)))
        raise Bad(f"{system} is not a supported signer", f"choose one of {known}", USAGE)
    if len(files) != 1:
        raise Bad("give exactly one file, the list of keys", "to create it, see docs/migration.md", USAGE)
    try:
        found = listed.read(
            system,
            _text(files[0]),
            str(files[0]),
            text_to_wire(zone),
            "" if keys is None else str(keys),
            int(SystemClock().now()),
        )
        brought = [_found(one) for one in found]
    except ForeignError as error:
        raise Bad(str(error), "see docs/migration.md; nothing was imported") from None
    return take_in_foreign(cli, zone, brought, keystore)


def _text(path: Path) -> str:
    try:
        return read_at_most(path, LISTING_OCTETS_MAX).decode("utf-8", "replace")
    except OSError as error:
        raise Bad(f"{path}: {error.strerror}", "name a file that you may read") from None
    except TooLarge:
        raise Bad(f"{path} is larger than 16 MiB", "include the keys of this zone only") from None


def _found(one: listed.Listed) -> Found:
    """Return the key with its public and private part; derive the public part if the list does not have it."""
    key, where = one.key, one.key.private
    assert where is not None, "every reader sets where the private key is"
    content = one.private or (read(Path(where.path)) if where.path else b"")
    label = label_in_token(content)
    if not content or label:
        if not key.public_key:
            raise ForeignError(
                f"{key.source}: the key is in a token, and the list has no public key for it; "
                "add the zone's DNSKEY records to it"
            )
        return Found(key, None, label, where.cka_id)
    if not key.public_key:
        key = one.completed(_public_key(content, key.algorithm, key.source))
    return Found(key, content)


def _public_key(content: bytes, algorithm: int, source: str) -> bytes:
    try:
        return dnskey_rdata(0, algorithm, private_formats.load(content, algorithm).public_key())[4:]
    except ServiceError as error:
        raise ForeignError(f"{source}: {error}") from None
