"""When each TSIG key of a peer was last used: during a change of keys, this shows which one the peer has.

Kept in memory, so it begins again at a start.
"""

from collections.abc import Callable, Iterable

from msgspec import Struct

from dnssecd.config.model import Config, Peer
from dnssecd.core.dns.names import text_to_wire, wire_to_text
from dnssecd.server.acl import Address, client_address

#: (key, address) pairs remembered; the oldest entry is dropped.
USES_MAX = 4096


class KeyUse(Struct, frozen=True):
    """A key of a peer: when the peer last signed with it, and last accepted it (epoch seconds)."""

    peer: str
    key: str
    received_at: float | None
    sent_at: float | None


class KeyUsage:
    """Notes verified TSIG keys. ``now``: epoch seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._received: dict[tuple[bytes, Address], float] = {}
        self._sent: dict[tuple[str, str], float] = {}

    def received(self, key: bytes, address: Address) -> None:
        """Note a verified request; key: wire name."""
        use = key, address
        if use not in self._received and len(self._received) >= USES_MAX:
            del self._received[next(iter(self._received))]
        self._received[use] = self._now()

    def sent(self, peer: str, key: str) -> None:
        """Note that a peer answered a request with this key (text); "" for none."""
        if key:
            self._sent[peer, text_name(key)] = self._now()

    def of(self, config: Config) -> list[KeyUse]:
        """Return the use of the keys of all peers that have several, in the order of the configuration."""
        peers = (*config.secondaries.values(), *config.primaries.values())
        return [use for peer in peers if len(peer.tsig_names) > 1 for use in self._uses(peer)]

    def _uses(self, peer: Peer) -> Iterable[KeyUse]:
        address = client_address(peer.address.host)
        for key in peer.tsig_names:
            received = self._received.get((text_to_wire(key), address))
            yield KeyUse(peer.name, key, received, self._sent.get((peer.name, text_name(key))))


def text_name(key: str) -> str:
    """Return the name of a key in the form of the configuration."""
    return wire_to_text(text_to_wire(key))
