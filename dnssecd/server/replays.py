"""Protection against replays: a signed UPDATE is carried out only once while its TSIG record is accepted.

A UDP client may repeat its message because the answer was lost: it gets the same answer again, and the update
is not repeated. Any other repetition is a replay and is refused (RFC 8945 §10).
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from dnssecd.core.dns.tsig import FUDGE_MAX_S, TsigRdata
from dnssecd.server.acl import Address

#: Messages remembered for each key: 200 updates a second for five minutes.
REMEMBERED_MAX = 65_536
#: How long a repetition over UDP from the same address counts as the client's own, seconds.
RETRY_S = 60
_MAC_OCTETS = 16


@dataclass(slots=True)
class Seen:
    """An accepted UPDATE: received over UDP from ``address`` (None: over TCP), at epoch seconds ``received``.

    ``rcode``: its answer, None while it is being processed.
    """

    address: Address | None
    received: int
    rcode: int | None = None


class Replayed(Exception):
    """The message is a replay, or is signed too early to tell, and is not its client's own repetition.

    ``pending``: its first copy is still being processed.
    """

    def __init__(self, *, pending: bool = False) -> None:
        super().__init__()
        self.pending = pending


@dataclass(slots=True)
class _OfKey:
    seen: dict[bytes, Seen] = field(default_factory=dict)
    #: (time signed, MAC) of all in ``seen``, as a heap.
    order: list[tuple[int, bytes]] = field(default_factory=list)
    floor: int = -1

    def forget_earliest(self) -> int:
        signed, mac = heapq.heappop(self.order)
        self.seen.pop(mac, None)
        return signed


class Replays:
    """Remembers UPDATEs by key and MAC, REMEMBERED_MAX for each key.

    If a key sends more within the window, the messages signed earliest are forgotten. From then on, an
    unknown message that is not signed later than a forgotten one counts as a replay, because it may be one.
    """

    def __init__(self, remembered_max: int = REMEMBERED_MAX) -> None:
        self._max = remembered_max
        self._keys: dict[bytes, _OfKey] = {}

    def enter(self, tsig: TsigRdata, address: Address, transport: str, now: int) -> tuple[Seen, bool]:
        """Return the entry of a verified message, and whether it is new: only a new message is carried out.

        Raises Replayed. now: epoch seconds.
        """
        held = self._keys.setdefault(tsig.name, _OfKey())
        while held.order and held.order[0][0] + FUDGE_MAX_S < now:
            held.forget_earliest()
        mac = tsig.mac[:_MAC_OCTETS]
        old = held.seen.get(mac)
        if old is not None:
            if transport == "udp" and old.address == address and now - old.received <= RETRY_S:
                return old, False
            raise Replayed(pending=old.rcode is None)
        if tsig.time_signed <= held.floor:
            raise Replayed
        if len(held.order) >= self._max:
            held.floor = max(held.floor, held.forget_earliest())
        entry = Seen(address if transport == "udp" else None, now)
        held.seen[mac] = entry
        heapq.heappush(held.order, (tsig.time_signed, mac))
        return entry, True

    def forget(self, tsig: TsigRdata) -> None:
        """Forget a message that was not processed: its client may send it again."""
        held = self._keys.get(tsig.name)
        if held is not None:
            held.seen.pop(tsig.mac[:_MAC_OCTETS], None)
