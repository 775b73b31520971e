"""Import keys of another signer with their states.

The public part goes to the daemon; private keys go to the key service only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from dnssecd.cli.common import Bad, Cli
from dnssecd.cli.keyservice import key_service, read
from dnssecd.clock import SystemClock
from dnssecd.control.messages.keys import KeysAdded, describe_key
from dnssecd.control.messages.migration import NoteKeys
from dnssecd.core.dns.names import text_to_wire, wire_to_text
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.keyservice_protocol import KeyInfo, Role
from dnssecd.migration import bind
from dnssecd.migration.foreign import ForeignError, ForeignKey, is_gone

_SUFFIXES = (".key", ".private", ".state")
_IN_TOKEN = re.compile(rb"^Label: *(?:pkcs11:(?:[^;\n]*;)*?object=)?([^;?\n]+)", re.MULTILINE)


@dataclass(frozen=True)
class Found:
    """A key, and its private key as in its file; None: it is in the token under `label` or `cka_id` (hex)."""

    key: ForeignKey
    private: bytes | None
    label: str = ""
    cka_id: str = ""


def have_states(files: Sequence[Path]) -> bool:
    """Return whether the files belong to a signer that keeps key states: then the states are imported too."""
    return len(files) > 1 or any(_beside(file, ".state").exists() for file in files)


def take_in_bind(cli: Cli, zone: str, files: Sequence[Path], keystore: str | None) -> KeysAdded:
    """Import BIND's keys of a zone: first the key states into the daemon, then the private keys.

    Skip revoked keys and keys that BIND no longer uses: a zone that still serves such a key cannot migrate.
    """
    bases = dict.fromkeys(_beside(file, "") for file in files)
    found = _read_all(zone, list(bases))
    if not found:
        raise Bad(
            f"none of these keys of {zone} is in use or scheduled for use", "name the current key files"
        )
    return take_in_foreign(cli, zone, found, keystore)


def take_in_foreign(cli: Cli, zone: str, found: Sequence[Found], keystore: str | None) -> KeysAdded:
    """Note the keys in the daemon, then import them. In this order nothing is published with them in between."""
    with key_service(cli) as (config, client):
        if zone not in config.zones:
            raise Bad(f"the configuration has no zone {zone}", "list the configured zones: dnssecd zone list")
        keys = [msgspec.json.encode(one.key).decode() for one in found]
        noted = cli.ask(NoteKeys(zone=zone, keys=keys))
        policy = config.policy_of(zone)
        infos = [
            _brought_in(
                client, one, keystore or policy.keystore_of(one.key.role.value), share=policy.share_keys
            )
            for one in found
        ]
    return KeysAdded(zone=zone, keys=[describe_key(info) for info in infos], message=noted.message)


def _read_all(zone: str, bases: list[Path]) -> list[Found]:
    origin = text_to_wire(zone)
    now = int(SystemClock().now())
    read_ones: dict[Path, ForeignKey] = {}
    for base in bases:
        try:
            read_ones[base] = _read(base, origin)
        except bind.RevokedKey:
            continue
        except ForeignError as error:
            raise Bad(str(error), "name the files of this zone's keys in BIND's key directory") from None
    found = zip(read_ones, bind.with_roles(list(read_ones.values())), strict=True)
    return [_with_private(key, base) for base, key in found if not is_gone(key, now)]


def _read(base: Path, origin: bytes) -> ForeignKey:
    state = _beside(base, ".state")
    text = read(state).decode("utf-8", "replace") if state.exists() else None
    key = _beside(base, ".key")
    return bind.parse_key(read(key).decode("utf-8", "replace"), text, origin, str(key))


def _with_private(key: ForeignKey, base: Path) -> Found:
    content = read(_beside(base, ".private"))
    if b"PrivateKey:" not in content and b"PrivateExponent:" not in content:
        label = _IN_TOKEN.search(content)
        if label is None:
            raise Bad(
                f"{base}.private has neither a private key nor the label of one in a token",
                "name the files of another key",
            )
        return Found(key, None, label[1].decode("utf-8", "replace").strip())
    return Found(key, content)


def _brought_in(client: SignerClient, found: Found, store: str, *, share: bool) -> KeyInfo:
    key = found.key
    role: Role = found.key.role.value
    held = {info.dnskey: info for info in client.keys(key.zone)}.get(key.rdata)
    if held is not None and held.role == role:
        return held
    try:
        if found.private is None:
            info = client.adopt(
                key.zone, role, key.algorithm, store=store, label=found.label, cka_id=found.cka_id
            )
        else:
            created = key.created or 0
            info = client.import_key(
                key.zone, role, key.algorithm, found.private, store=store, created=created
            )
    except SignerError as error:
        if error.temporary or error.code == "refused":
            raise
        if error.code != "exists":
            raise Bad(f"{key.source}: {error}", "see docs/migration.md") from None
        info = _shared(client, key, share=share)
    if info.dnskey != key.rdata:
        raise Bad(
            f"{key.source}: the private key does not belong to the DNSKEY in the .key file",
            "import the matching pair; the key just imported is not used for signing",
        )
    return info


def _shared(client: SignerClient, key: ForeignKey, *, share: bool) -> KeyInfo:
    """Bind a key that was imported for another zone: zones of one signer may share keys."""
    same = [info for info in client.keys(b"") if info.dnskey == key.rdata]
    where = f"{key.source}: key {key.tag}"
    if not same or same[0].role != key.role.value:
        raise Bad(
            f"{where} is already in a key store, with another role or algorithm",
            "compare with: dnssecd key list --stored",
        )
    if not share:
        others = ", ".join(wire_to_text(zone) for zone in same[0].zones[:3])
        raise Bad(
            f"{where} is also a key of {others}",
            "set share_keys = true in the policy of these zones, or give each zone its own key before it migrates",
        )
    return client.bind(key.zone, same[0].id)


def _beside(path: Path, suffix: str) -> Path:
    """Return the file of the same key with another suffix ("": none)."""
    base = path.with_suffix("") if path.suffix in _SUFFIXES else path
    return base.with_name(base.name + suffix)
