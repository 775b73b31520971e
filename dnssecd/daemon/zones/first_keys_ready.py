"""Check before the first publication that the keys for a zone's first version exist."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from dnssecd.daemon.zones.first_publication import Permission
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.keyservice_client.client import AsyncSignerClient
from dnssecd.keyservice_protocol import KeyInfo
from dnssecd.pipeline.jobs.spec import KeyWish
from dnssecd.pipeline.version.first_keys import ROLES, idempotency_of

KEY_WANTED = "key-wanted"
NOT_BACKED_UP = "key-not-backed-up"


def keys_lacking(zone: FrontZone, held: Mapping[KeyWish, KeyInfo]) -> Permission | None:
    """Return the refusal for a zone that lacks a key if its policy makes none, else None."""
    if not zone.spec.signed or not zone.spec.given:
        return None
    lacking = [wish for wish in zone.spec.keys if wish not in held]
    if not lacking:
        return None
    wanted = " and ".join(
        f'a {wish.role} of algorithm {wish.algorithm} in key store "{wish.keystore}"' for wish in lacking
    )
    return Permission(
        False,
        event=KEY_WANTED,
        cause=f"the zone needs {wanted}, and its policy makes no keys (keys = given)",
        remedy=f"add it (dnssecd key import, dnssecd key generate), then: dnssecd zone reload {zone.name}",
    )


async def keys_unsaved(
    zone: FrontZone, signer: AsyncSignerClient, held: Mapping[KeyWish, KeyInfo]
) -> Permission | None:
    """Return the refusal for a zone whose first keys have no backup, if its policy requires one; raise SignerError.

    Keys that do not exist yet are made now, so that they can be backed up.
    """
    spec = zone.spec
    if not spec.signed or not spec.require_backup:
        return None
    saved = await asyncio.to_thread(_saved, zone)
    unsaved = []
    for wish in spec.keys:
        if wish.keystore in spec.offline:
            continue
        info = held.get(wish) or await signer.generate(
            zone.origin,
            ROLES[wish.role].value,
            wish.algorithm,
            store=wish.keystore,
            bits=wish.bits,
            idempotency=idempotency_of(wish),
            share=spec.share,
        )
        if info.id not in saved and not await _in_several_tokens(zone, signer, info):
            unsaved.append(f"{info.role} {info.tag} in key store {info.store}")
    if not unsaved:
        return None
    return Permission(
        False,
        event=NOT_BACKED_UP,
        cause=f"the policy requires a backup, and these keys have none that was confirmed: {', '.join(unsaved)}",
        remedy="dnssecd key backup -o DIR, then: dnssecd key backup --confirm FILE; or clone the key to a second token",
    )


def _saved(zone: FrontZone) -> frozenset[str]:
    """Return the ids of the keys with a recorded backup; StoreError or OSError."""
    if not Path(zone.spec.database).exists():
        return frozenset()
    return frozenset(subject for source, subject, _, _ in zone.database.evidence() if source == "backup")


async def _in_several_tokens(zone: FrontZone, signer: AsyncSignerClient, info: KeyInfo) -> bool:
    proofs = await signer.prove(zone.origin, info.id, info.dnskey)
    return len({proof.token for proof in proofs if proof.token and not proof.error}) >= zone.spec.held_by_min
