"""A zone's keys before its first version: made once, found again later, proven before use."""

from collections.abc import Iterable

from dnssecd.core.keys.keyset import Key, Keyset, KeysetError, initial_keyset, new_key
from dnssecd.core.keys.keystate import Role, State
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_protocol import ORDERS_MAX, KeyInfo, KeyOrder, Proof
from dnssecd.pipeline.jobs.spec import KeyWish, ZoneSpec
from dnssecd.pipeline.version.ahead import CeremonyState, first_offline_ksk
from dnssecd.pipeline.version.rejected import Rejected

ROLES: dict[str, Role] = {"ksk": Role.KSK, "zsk": Role.ZSK, "csk": Role.CSK}


def idempotency_of(wish: KeyWish) -> str:
    """Return the idempotency text of a zone's first key of a kind: repeated requests make only one key."""
    return f"first {wish.role} of algorithm {wish.algorithm}"


def held_keys(spec: ZoneSpec, held: Iterable[KeyInfo]) -> dict[KeyWish, KeyInfo]:
    """Return the keys for a zone's first key set from its held keys: the oldest of each kind in the policy.

    So a key that was imported, adopted, or made and cloned in advance is used, and no new key is made.
    """
    by_age = sorted(held, key=lambda info: (info.created, info.id))
    found: dict[KeyWish, KeyInfo] = {}
    for wish in spec.keys:
        for info in by_age:
            fits = (info.store, info.role, info.algorithm) == (wish.keystore, wish.role, wish.algorithm)
            if fits and info not in found.values():
                found[wish] = info
                break
    return found


def first_keyset(spec: ZoneSpec, signer: SignerClient, now: int, ceremony: CeremonyState) -> Keyset:
    """Return the key set of a zone that has never been published; make missing keys.

    If a crash ended an earlier attempt, its key is found by the idempotency text, so no second key is made.
    Every key proves itself against its DNSKEY first. Raises Rejected, SignerError.
    """
    if not spec.signed:
        return Keyset(spec.origin, signed=False)
    orders = _orders(spec)
    if orders:
        infos, proven = signer.keys_or_new(spec.origin, orders, spec.tag_range)
    else:
        infos, proven = signer.keys(spec.origin), {}
    held = held_keys(spec, infos)
    asked_for: dict[str, KeyInfo] = {info.role: info for info in infos if info.id == ceremony.first_zsk}
    keys = tuple(
        first_offline_ksk(ceremony, wish.keystore, wish.algorithm, spec.name, now)
        if wish.keystore in spec.offline
        else _first_key(spec, wish, asked_for.get(wish.role) or held.get(wish), proven, signer, now)
        for wish in spec.keys
    )
    try:
        return initial_keyset(spec.origin, keys, now)
    except KeysetError as error:
        raise Rejected("signing-failed", f"the zone's first keys do not fit together: {error}") from error


def _orders(spec: ZoneSpec) -> tuple[KeyOrder, ...]:
    """Return the keys that may be made at once for a zone without any; none where others may have to be found first."""
    if spec.given or spec.share or spec.offline:
        return ()
    orders = tuple(
        KeyOrder(ROLES[wish.role].value, wish.algorithm, wish.keystore, wish.bits, idempotency_of(wish))
        for wish in spec.keys
    )
    return orders if len({order.idempotency for order in orders}) == len(orders) <= ORDERS_MAX else ()


def _first_key(
    spec: ZoneSpec,
    wish: KeyWish,
    held: KeyInfo | None,
    proven: dict[str, list[Proof]],
    signer: SignerClient,
    now: int,
) -> Key:
    role = ROLES[wish.role]
    if held is None and spec.given:
        raise Rejected(
            "key-wanted",
            f'the zone has no {wish.role} in key store "{wish.keystore}" yet, and the policy has no key made',
            f"add one (dnssecd key import, key generate), then: dnssecd zone reload {spec.name}",
        )
    if held is not None:
        info, proofs = held, proven.get(held.id) or signer.prove(spec.origin, held.id, held.dnskey)
    else:
        info, proofs = signer.generate_proven(
            spec.origin,
            role.value,
            wish.algorithm,
            store=wish.keystore,
            bits=wish.bits,
            idempotency=idempotency_of(wish),
            share=spec.share,
            tags=spec.tag_range,
        )
    _check_proven(info, proofs)
    return new_key(info.id, role, info.algorithm, info.public_key, info.store, now, info.bits)


def prove(spec: ZoneSpec, info: KeyInfo, signer: SignerClient) -> None:
    """Sign with each key in every token that should hold it, and check the signature; raise Rejected."""
    _check_proven(info, signer.prove(spec.origin, info.id, info.dnskey))


def _check_proven(info: KeyInfo, proofs: Iterable[Proof]) -> None:
    for proof in proofs:
        if proof.error:
            raise Rejected(
                "signing-failed",
                f"key {info.tag} ({info.role}) is not the key with which token {proof.token} signs: "
                f"{proof.error}",
                "take the token out of service and run `dnssecd keystore test`; nothing was published",
            )


def is_used(key: Key) -> bool:
    """Return whether any record of a key was ever published."""
    return any(key.record(rec).state is not State.HIDDEN for rec in key.records)


def check_available(spec: ZoneSpec, keyset: Keyset, signer: SignerClient) -> None:
    """Check that every key of a published zone is still in its store with the same public key.

    A key that is missing is an error and never a reason to make another, unless it was reported lost; raises Rejected.
    """
    found = {info.id: info for info in signer.keys(spec.origin)}
    for key in keyset.keys:
        if key.lost or key.foreign or key.keystore in spec.offline:
            continue
        info = found.get(key.key_id)
        if info is None and key.keystore in spec.shared and not is_used(key):
            continue  # the node that made it ended before this one got it: it is not used before enough nodes hold it
        if info is None or info.state == "missing":
            raise Rejected(
                "signing-failed",
                f"key {key.tag} ({key.role.value}) of this zone is not in key store {key.keystore!r}",
                "bring the key store back or restore it from its backup; no new key is made instead, and "
                "the last published version is still served",
            )
        if info.public_key != key.public_key:
            raise Rejected(
                "signing-failed",
                f"key store {key.keystore!r} has another key under the id of key {key.tag} ({key.role.value})",
                "the key store was exchanged or wrongly restored; bring the right one back",
            )
