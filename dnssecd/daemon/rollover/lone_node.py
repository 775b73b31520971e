"""A host that was a node of a cluster whose nodes had keys of their own, and is alone now."""

from dnssecd.clock import Clock
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.node_keys import HeldKey, hand_over_to_holder, leave_nodes
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.keyservice_client.client import AsyncSignerClient


class LoneNode:
    """Signs with the keys that are here, and lets those of the other nodes leave (key_holders.Nodes)."""

    def __init__(self, signer: AsyncSignerClient, clock: Clock) -> None:
        self._signer, self._clock = signer, clock

    async def hand_over(self, zone: FrontZone, keyset: Keyset) -> Keyset | None:
        """Return the key set with which this host signs; None: it signs already. Raise KeysetError, SignerError."""
        if not keyset.node:
            return None
        found = [info for info in await self._signer.keys(zone.origin) if info.state == "available"]
        held = {info.dnskey: HeldKey(info.id, info.store, info.bits) for info in found}
        after = hand_over_to_holder(keyset, held, int(self._clock.now()))
        return None if after is keyset else after

    def handed_over(self, zone: FrontZone) -> None:
        """Do nothing: no work waited."""

    def follow(self, zone: FrontZone, keyset: Keyset, now: int) -> tuple[Keyset, list[str]]:
        """Let the keys of the other nodes leave."""
        if not keyset.node:
            return keyset, []
        return leave_nodes(keyset, now), []
