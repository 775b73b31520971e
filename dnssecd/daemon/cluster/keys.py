"""The keys of zones of other nodes: this node's key service must hold each of them before it can take a zone over."""

import asyncio

from dnssecd.core.keys.node_keys import wants_hand_over
from dnssecd.daemon.cluster.key_shares import KeyShares
from dnssecd.daemon.cluster.node_keys import NodeKeys
from dnssecd.daemon.cluster.stored_keys import read_keys
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.keyservice_client.client import AsyncSignerClient
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.keyservice_client.proof import why_unproven
from dnssecd.store.errors import StoreError
from dnssecd.uninterrupted import to_the_end


async def bind_keys(
    zone: FrontZone, signer: AsyncSignerClient, shares: KeyShares, nodes: NodeKeys, *, hidden: bool
) -> str:
    """Bind the keys of a zone that are in shared tokens, and prove all; return which cannot be used, "" if all can.

    Keys that come sealed are asked for. hidden: also bind keys that the zone does not publish yet. A zone of another
    node has these from a document that nothing proves: it could name another zone's key. A sealed key proves itself.
    Where each node has keys of its own, those of this node are proved, and whether validators have them.
    """
    lacking: dict[str, str] = {}
    try:
        keyset, published = await to_the_end(asyncio.to_thread(read_keys, zone))
        if keyset is None:
            return ""
        if zone.cluster is not None:
            elsewhere = wants_hand_over(keyset, nodes.node)
            # That an owner has signed is noted with its version, which may be newer than what was read here.
            if not zone.cluster.owned:
                zone.cluster.signed_elsewhere = elsewhere
            if elsewhere:
                return await nodes.why_not(zone, keyset)
        held = await shares.held(zone)
        for key in keyset.keys:
            used = key.rdata in published
            if key.foreign or key.keystore in zone.spec.offline:
                continue
            if key.key_id not in held and key.keystore in shares.sealed:
                lacking[key.key_id] = (
                    f"key {key.tag} of {zone.name} has not come from another node yet" if used else ""
                )
                continue
            if key.key_id not in held and not hidden and not used:
                continue
            if key.key_id not in held:
                if key.keystore not in shares.tokens:
                    return f"the key service of this node does not hold key {key.tag} of {zone.name}"
                await signer.adopt(
                    zone.origin,
                    key.role.value,
                    key.algorithm,
                    store=key.keystore,
                    public_key=key.public_key,
                    key_id=key.key_id,
                )
            if why := why_unproven(await signer.prove(zone.origin, key.key_id, key.rdata)):
                return f"key {key.tag} of {zone.name} cannot be proved by this node's key service: {why}"
    except (SignerError, StoreError, OSError) as error:
        return f"the keys of {zone.name} cannot be proved by this node's key service: {error}"
    if lacking:
        await shares.ask(zone, list(lacking))
    return next(filter(None, lacking.values()), "")
