"""The keys of one-shot signing: found in a store, made there, or imported from files."""

from collections.abc import Iterable, Sequence
from typing import cast

import msgspec

from dnssecd.core.keys.keyset import Key, Keyset, KeysetError, initial_keyset, new_key
from dnssecd.core.keys.keystate import Role
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.keyservice_protocol import KeyInfo
from dnssecd.keyservice_protocol import Role as RoleName
from dnssecd.pipeline.jobs.spec import KeyWish, ZoneSpec
from dnssecd.pipeline.oneshot.bind_keys import BadKeyFile, KeyFile, roles
from dnssecd.pipeline.version.first_keys import held_keys, idempotency_of
from dnssecd.pipeline.version.rejected import Rejected

DEFAULT_ALGORITHM = 13


def stored_keys(
    spec: ZoneSpec, signer: SignerClient, algorithms: Sequence[int], *, csk: bool
) -> list[KeyInfo]:
    """Return the zone's keys in the store; missing ones are made.

    Without ``algorithms`` and ``csk``, these are the keys that the store holds for the zone or, if it holds
    none, a KSK and a ZSK of the default algorithm. Raises SignerError.
    """
    held = signer.keys(spec.origin)
    chosen = algorithms or csk or not held
    wishes = _wishes(algorithms, csk, spec.keystore) if chosen else _held_kinds(held, spec.keystore)
    found = held_keys(msgspec.structs.replace(spec, keys=wishes), held)
    return [
        found.get(wish)
        or signer.generate(
            spec.origin,
            cast(RoleName, wish.role),
            wish.algorithm,
            store=wish.keystore,
            idempotency=idempotency_of(wish),
        )
        for wish in wishes
    ]


def _wishes(algorithms: Sequence[int], csk: bool, store: str) -> tuple[KeyWish, ...]:
    kinds = ("csk",) if csk else ("ksk", "zsk")
    numbers = dict.fromkeys(algorithms or (DEFAULT_ALGORITHM,))
    return tuple(KeyWish(role, number, store) for number in numbers for role in kinds)


def _held_kinds(held: Iterable[KeyInfo], store: str) -> tuple[KeyWish, ...]:
    """Return the kinds of key that a store holds for the zone; for a KSK or ZSK alone the other key is added."""
    kinds: dict[int, set[str]] = {}
    for info in held:
        kinds.setdefault(info.algorithm, set()).add(info.role)
    return tuple(
        KeyWish(role, number, store)
        for number, found in sorted(kinds.items())
        for role in (("csk",) if "csk" in found and "ksk" not in found else ("ksk", "zsk"))
    )


def imported_keys(
    spec: ZoneSpec, signer: SignerClient, files: Sequence[KeyFile], *, csk: bool
) -> list[KeyInfo]:
    """Import the keys of BIND key files (``csk``: see bind_keys.roles); raise BadKeyFile or SignerError."""
    wanted = zip(files, roles(files, csk=csk), strict=True)
    return [_imported(spec, signer, file, role) for file, role in wanted]


def _imported(spec: ZoneSpec, signer: SignerClient, file: KeyFile, role: RoleName) -> KeyInfo:
    try:
        info = signer.import_key(spec.origin, role, file.algorithm, file.private, store=spec.keystore)
    except SignerError as error:
        if error.temporary:
            raise
        raise BadKeyFile(f"{file.path}: {error}") from None
    if info.public_key != file.public_key:
        raise BadKeyFile(f"{file.path}: the private key does not belong to the DNSKEY in the .key file")
    return info


def keyset_of(spec: ZoneSpec, keys: Sequence[KeyInfo], now: int) -> Keyset:
    """Return the key set of keys that are all in use; raise Rejected if they do not fit together."""
    made = [_key(info, now) for info in keys]
    found = {key.role for key in made}
    if not (Role.CSK in found or {Role.KSK, Role.ZSK} <= found):
        raise Rejected(
            "input-error",
            "the keys given are not enough: a zone needs a KSK and a ZSK, or a CSK",
            "give more keys",
        )
    try:
        return initial_keyset(spec.origin, tuple(made), now)
    except KeysetError as error:
        raise Rejected("input-error", f"the keys given do not fit together: {error}") from error


def _key(info: KeyInfo, now: int) -> Key:
    return new_key(info.id, Role(info.role), info.algorithm, info.public_key, info.store, now, info.bits)
