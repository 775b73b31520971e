"""Which nodes of a cluster hold a key: what the parts ask that use keys only when enough nodes hold them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from dnssecd.core.keys.keyset import Key, Keyset
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.keyservice_protocol import KeyInfo


class KeyToHold(NamedTuple):
    """A key in a shared key store; dnskey: RDATA."""

    key_id: str
    dnskey: bytes


#: Returns the nodes that proved each key (by key id), and has the others get it. Not known now: no node.
Holders = Callable[[FrontZone, Sequence[KeyToHold]], Awaitable[Mapping[str, tuple[str, ...]]]]
#: Lets the other nodes remove a key; returns whether that is stored.
Withdraw = Callable[[FrontZone, str], Awaitable[bool]]


class Nodes(Protocol):
    """The nodes of a cluster, where each has keys of its own."""

    async def hand_over(self, zone: FrontZone, keyset: Keyset) -> Keyset | None:
        """Return the key set with which this node signs a zone that it took over; None: it signs already.

        Raise KeysetError, SignerError.
        """

    def handed_over(self, zone: FrontZone) -> None:
        """Begin the work that waited until this node signs the zone."""

    def follow(self, zone: FrontZone, keyset: Keyset, now: int) -> tuple[Keyset, list[str]]:
        """Return the key set of a zone of this node with the keys of the others, and why some cannot join."""


def of_key(key: Key) -> KeyToHold:
    """Return a key of a key set."""
    return KeyToHold(key.key_id, key.rdata)


def of_info(info: KeyInfo) -> KeyToHold:
    """Return a key that the key service has."""
    return KeyToHold(info.id, info.dnskey)
