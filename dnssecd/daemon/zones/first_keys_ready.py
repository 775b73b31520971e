"""Check before the first publication that the keys for a zone's first version exist."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from dnssecd.core.keys.holders_gate import held_text
from dnssecd.daemon.zones.first_publication import Permission
from dnssecd.daemon.zones.key_holders import Holders, of_info
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.keyservice_client.client import AsyncSignerClient
from dnssecd.keyservice_protocol import KeyInfo
from dnssecd.pipeline.jobs.spec import KeyWish
from dnssecd.pipeline.version.first_keys import ROLES, idempotency_of

KEY_WANTED = "key-wanted"
NOT_BACKED_UP = "key-not-backed-up"
NOT_HELD = "key-not-held"
#: How often the other nodes are asked for their proofs of a zone's first keys, a second after one another.
ASKED_MAX = 12


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
    saved = await asyncio.to_thread(saved_keys, zone)
    unsaved = []
    for wish in spec.keys:
        if wish.keystore in spec.offline:
            continue
        info = held.get(wish) or await _made(zone, signer, wish)
        if info.id not in saved and not await in_several_tokens(zone, signer, info):
            unsaved.append(f"{info.role} {info.tag} in key store {info.store}")
    if not unsaved:
        return None
    return Permission(
        False,
        event=NOT_BACKED_UP,
        cause=f"the policy requires a backup, and these keys have none that was confirmed: {', '.join(unsaved)}",
        remedy="dnssecd key backup -o DIR, then: dnssecd key backup --confirm FILE; or clone the key to a second token",
    )


async def keys_unheld(
    zone: FrontZone, signer: AsyncSignerClient, held: Mapping[KeyWish, KeyInfo], holders: Holders | None
) -> Permission | None:
    """Return the refusal for a zone whose first keys too few nodes of the cluster hold; raise SignerError.

    Keys that do not exist yet are made now, so that the other nodes can get them.
    """
    spec = zone.spec
    if holders is None or not spec.signed or spec.holders_min <= 1:
        return None
    infos = [
        held.get(wish) or await _made(zone, signer, wish)
        for wish in spec.keys
        if wish.keystore in spec.shared
    ]
    lacking: list[str] = []
    for number in range(ASKED_MAX):
        if number:
            await asyncio.sleep(1.0)
        found = await holders(zone, [of_info(info) for info in infos])
        lacking = [
            f"{info.role} {info.tag} is {held_text(nodes, spec.holders_min)}"
            for info in infos
            if len(nodes := found.get(info.id, ())) < spec.holders_min
        ]
        if not lacking or zone.gone:
            return None
    return Permission(
        False,
        event=NOT_HELD,
        cause="; ".join(lacking),
        remedy="start the other nodes (dnssecd node list): they prove the keys within seconds",
    )


async def _made(zone: FrontZone, signer: AsyncSignerClient, wish: KeyWish) -> KeyInfo:
    """Return a first key, made if there is none; raise SignerError."""
    return await signer.generate(
        zone.origin,
        ROLES[wish.role].value,
        wish.algorithm,
        store=wish.keystore,
        bits=wish.bits,
        idempotency=idempotency_of(wish),
        share=zone.spec.share,
        tags=zone.spec.tag_range,
    )


def saved_keys(zone: FrontZone) -> frozenset[str]:
    """Return the ids of the keys with a recorded backup; StoreError or OSError."""
    if not Path(zone.spec.database).exists():
        return frozenset()
    return frozenset(subject for source, subject, _, _ in zone.database.evidence() if source == "backup")


async def in_several_tokens(zone: FrontZone, signer: AsyncSignerClient, info: KeyInfo) -> bool:
    """Return whether enough tokens (``held_by_min``) hold a key to stand for a backup; raise SignerError."""
    proofs = await signer.prove(zone.origin, info.id, info.dnskey)
    return len({proof.token for proof in proofs if proof.token and not proof.error}) >= zone.spec.held_by_min
