"""A zone's keys before its first version: made once, found again ever after, proven before use."""

from collections.abc import Iterable

from dnssecd.core.keys.keyset import Key, Keyset, KeysetError, initial_keyset, new_key
from dnssecd.core.keys.keystate import Role
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_protocol import KeyInfo
from dnssecd.pipeline.jobs.spec import KeyWish, ZoneSpec
from dnssecd.pipeline.version.rejected import Rejected

_ROLES: dict[str, Role] = {"ksk": Role.KSK, "zsk": Role.ZSK, "csk": Role.CSK}


def idempotency_of(wish: KeyWish) -> str:
    """Return the text under which a zone's first key of a kind is made: once, whoever asks, however often."""
    return f"first {wish.role} of algorithm {wish.algorithm}"


def held_keys(spec: ZoneSpec, held: Iterable[KeyInfo]) -> dict[KeyWish, KeyInfo]:
    """Return which of the keys held for a zone its first key set takes: the oldest of each kind the policy wants.

    So a key that was imported, adopted, or made and cloned beforehand is used and no other is made in its place.
    """
    by_age = sorted(held, key=lambda info: (info.created, info.id))
    found: dict[KeyWish, KeyInfo] = {}
    for wish in spec.keys:
        for info in by_age:
            fits = (info.store, info.role, info.algorithm) == (spec.keystore, wish.role, wish.algorithm)
            if fits and info not in found.values():
                found[wish] = info
                break
    return found


def first_keyset(spec: ZoneSpec, signer: SignerClient, now: int) -> Keyset:
    """Return the key set of a zone that has never been published, making its keys where there are none.

    A key made for this zone by an attempt that a crash cut short is found again by its idempotency text, so no
    second pair is made. Every key proves itself against its DNSKEY first. Raises Rejected, SignerError.
    """
    if not spec.signed:
        return Keyset(spec.origin, signed=False)
    held = held_keys(spec, signer.keys(spec.origin))
    keys = tuple(_first_key(spec, wish, held.get(wish), signer, now) for wish in spec.keys)
    try:
        return initial_keyset(spec.origin, keys, now)
    except KeysetError as error:
        raise Rejected("signing-failed", f"the zone's first keys do not go together: {error}") from error


def _first_key(spec: ZoneSpec, wish: KeyWish, held: KeyInfo | None, signer: SignerClient, now: int) -> Key:
    role = _ROLES[wish.role]
    info = held or signer.generate(
        spec.origin,
        role.value,
        wish.algorithm,
        store=spec.keystore,
        bits=wish.bits,
        idempotency=idempotency_of(wish),
        share=spec.share,
    )
    prove(spec, info, signer)
    return new_key(info.id, role, info.algorithm, info.public_key, info.store, now, info.bits)


def prove(spec: ZoneSpec, info: KeyInfo, signer: SignerClient) -> None:
    """Have every token that should hold a key sign with it, checked against its DNSKEY; raises Rejected."""
    for proof in signer.prove(spec.origin, info.id, info.dnskey):
        if proof.error:
            raise Rejected(
                "signing-failed",
                f"key {info.tag} ({info.role}) is not what token {proof.token} signs with: {proof.error}",
                "take the token out of service and see `dnssecd keystore test`; nothing was published",
            )


def check_available(spec: ZoneSpec, keyset: Keyset, signer: SignerClient) -> None:
    """Check that every key of a published zone is still in its store with the same public key.

    A key that is missing is an error and never a reason to make another; raises Rejected.
    """
    found = {info.id: info for info in signer.keys(spec.origin)}
    for key in keyset.keys:
        info = found.get(key.key_id)
        if info is None or info.state == "missing":
            raise Rejected(
                "signing-failed",
                f"key {key.tag} ({key.role.value}) of this zone is not in key store {key.keystore!r}",
                "bring the key store back or restore it from its backup; no new key is made in its place, and the "
                "version published last is served on",
            )
        if info.public_key != key.public_key:
            raise Rejected(
                "signing-failed",
                f"key store {key.keystore!r} has another key under the id of key {key.tag} ({key.role.value})",
                "the store was swapped or restored wrongly; bring the right one back",
            )
