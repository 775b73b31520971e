"""Changes of a zone's key set that come from the nodes of the cluster, where each has keys of its own."""

from msgspec import Struct

from dnssecd.core.keys.keyset import Keyset, KeysetError
from dnssecd.daemon.zones.key_holders import Nodes
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.pipeline.version.keychange import KeyChange, Note

REFUSED = "node-key-refused"


class ChangeOfNodes(Struct, frozen=True):
    """A change to be carried out; signs: it needs a version, as another node signed the zone until now."""

    change: KeyChange
    signs: bool


async def change_of_nodes(
    nodes: Nodes | None, events: EventCore, zone: FrontZone, keyset: Keyset, now: int
) -> ChangeOfNodes | None:
    """Return what is to be changed first; None: nothing. Raise SignerError, NotReady."""
    if nodes is None:
        return None
    try:
        after = await nodes.hand_over(zone, keyset)
    except KeysetError as error:
        raise NotReady(f"this node owns the zone and cannot sign it with its own keys: {error}") from None
    if after is not None:
        note = Note("zone taken over", f"node {after.node} signs with its own keys, after node {keyset.node}")
        return ChangeOfNodes(KeyChange(keyset, after, (note,)), signs=True)
    nodes.handed_over(zone)
    after, refused = nodes.follow(zone, keyset, now)
    if refused:
        events.raise_event(REFUSED, zone.name, "; ".join(refused))
    else:
        events.resolve(REFUSED, zone.name)
    if after == keyset:
        return None
    return ChangeOfNodes(
        KeyChange(keyset, after, (Note("keys of the nodes changed", _brief(after)),)), signs=False
    )


def _brief(keyset: Keyset) -> str:
    found = sorted(f"{key.role.value} {key.tag} of {key.signer}" for key in keyset.keys if key.of_node)
    return ", ".join(found)


class NotReady(Exception):
    """The zone cannot be signed with the keys of this node; the text says why."""
