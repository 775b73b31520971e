"""The keys of zones of other nodes: this node's key service must hold each of them before it can take a zone over."""

import asyncio

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import unpack
from dnssecd.core.dns.rrtypes import DNSKEY
from dnssecd.core.keys.keyset import Keyset
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.keyservice_client.client import AsyncSignerClient
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.pipeline.version import state
from dnssecd.store.errors import StoreError
from dnssecd.uninterrupted import to_the_end


async def bind_keys(
    zone: FrontZone, signer: AsyncSignerClient, sharing: frozenset[str], *, hidden: bool
) -> str:
    """Bind the keys of a zone that are in shared tokens, and prove all; return which cannot be used, "" if all can.

    sharing: names of the key stores whose tokens all nodes reach. hidden: also bind keys that the zone does not publish
    yet. A zone of another node has these from a document that nothing proves: it could name another zone's key.
    """
    try:
        keyset, published = await to_the_end(asyncio.to_thread(_keys, zone))
        if keyset is None:
            return ""
        held = {info.id: info for info in await signer.keys(zone.origin)}
        for key in keyset.keys:
            if key.foreign or key.keystore in zone.spec.offline:
                continue
            if key.key_id not in held and not hidden and key.rdata not in published:
                continue
            if key.key_id not in held:
                if key.keystore not in sharing:
                    return f"the key service of this node does not hold key {key.tag} of {zone.name}"
                await signer.adopt(
                    zone.origin,
                    key.role.value,
                    key.algorithm,
                    store=key.keystore,
                    public_key=key.public_key,
                    key_id=key.key_id,
                )
            await signer.prove(zone.origin, key.key_id, key.rdata)
    except (SignerError, StoreError, OSError) as error:
        return f"the keys of {zone.name} cannot be proved by this node's key service: {error}"
    return ""


def _keys(zone: FrontZone) -> tuple[Keyset | None, frozenset[bytes]]:
    with zone.database.snapshot() as snapshot:
        found = snapshot.rrset(APEX, DNSKEY)
        published = frozenset() if found is None else frozenset(unpack(found.rdata))
        return state.keyset_from(snapshot.state(state.KEYSET)), published
