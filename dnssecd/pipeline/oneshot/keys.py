"""The keys of one-shot signing: found in a store, made there, or brought in from files."""

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
    """Return the zone's keys in the store, made where they are not there.

    ``algorithms`` none and no ``csk`` means those the store holds for the zone or, when it holds none, a KSK and a
    ZSK of the default algorithm. Raises SignerError.
    """
    held = signer.keys(spec.origin)
    wishes = _wishes(algorithms, csk) if algorithms or csk or not held else _held_kinds(held)
    found = held_keys(msgspec.structs.replace(spec, keys=wishes), held)
    return [
        found.get(wish)
        or signer.generate(
            spec.origin,
            cast(RoleName, wish.role),
            wish.algorithm,
            store=spec.keystore,
            idempotency=idempotency_of(wish),
        )
        for wish in wishes
    ]


def _wishes(algorithms: Sequence[int], csk: bool) -> tuple[KeyWish, ...]:
    kinds = ("csk",) if csk else ("ksk", "zsk")
    numbers = dict.fromkeys(algorithms or (DEFAULT_ALGORITHM,))
    return tuple(KeyWish(role, number) for number in numbers for role in kinds)


def _held_kinds(held: Iterable[KeyInfo]) -> tuple[KeyWish, ...]:
    """Return the kinds of key that a store holds for the zone; a KSK or ZSK alone gets its other half."""
    kinds: dict[int, set[str]] = {}
    for info in held:
        kinds.setdefault(info.algorithm, set()).add(info.role)
    return tuple(
        KeyWish(role, number)
        for number, found in sorted(kinds.items())
        for role in (("csk",) if "csk" in found and "ksk" not in found else ("ksk", "zsk"))
    )


def imported_keys(
    spec: ZoneSpec, signer: SignerClient, files: Sequence[KeyFile], *, csk: bool
) -> list[KeyInfo]:
    """Bring the keys of BIND key files into the store (``csk``: see bindkeys.roles); BadKeyFile, SignerError."""
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
        raise BadKeyFile(f"{file.path}: the private key is not that of the DNSKEY beside it")
    return info


def keyset_of(spec: ZoneSpec, keys: Sequence[KeyInfo], now: int) -> Keyset:
    """Return the key set of keys that are all in use; Rejected where they do not go together."""
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
        raise Rejected("input-error", f"the keys given do not go together: {error}") from error


def _key(info: KeyInfo, now: int) -> Key:
    return new_key(info.id, Role(info.role), info.algorithm, info.public_key, info.store, now, info.bits)
