"""Which nodes of a cluster hold a key: what the parts ask that use keys only when enough nodes hold them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from dnssecd.core.keys.keyset import Key
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


def of_key(key: Key) -> KeyToHold:
    """Return a key of a key set."""
    return KeyToHold(key.key_id, key.rdata)


def of_info(info: KeyInfo) -> KeyToHold:
    """Return a key that the key service has."""
    return KeyToHold(info.id, info.dnskey)
