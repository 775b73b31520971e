"""What each public server of a zone serves now: serial and DNSKEY RRset."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, cast

import dns.name
import dns.rdatatype

from dnssecd.core.keys.restore_limits import LiveServer
from dnssecd.publish.exchange import Outcome, Peer, Timing, exchange, question
from dnssecd.publish.watch import sight

AT_ONCE = 32
#: A server that leaves this many questions in a row unanswered is not asked about further zones.
SILENT_MAX = 3


class LiveLook:
    """Asks about many zones; remembers which servers do not answer, so that each costs only a few deadlines."""

    def __init__(self, now: Callable[[], float], timing: Timing | None = None) -> None:
        self._now, self._timing = now, timing
        self._free = asyncio.Semaphore(AT_ONCE)
        self._silent: Counter[tuple[str, int]] = Counter()

    async def ask(self, zone: str, peers: Iterable[Peer]) -> list[LiveServer]:
        """Ask all servers of a zone; faults of peers do not raise."""
        apart = {(peer.host, peer.port): peer for peer in peers}
        return list(await asyncio.gather(*(self._one(zone, peer) for peer in apart.values())))

    async def _one(self, zone: str, peer: Peer) -> LiveServer:
        place = (peer.host, peer.port)
        async with self._free:
            if self._silent[place] >= SILENT_MAX:
                return LiveServer(peer.name, failure="it did not answer questions about other zones")
            seen = await sight(zone, peer, self._now, self._timing)
            if not seen.reachable:
                self._silent[place] += 1
                return LiveServer(peer.name, failure=seen.detail)
            del self._silent[place]  # among ten thousand questions a few are lost
            if seen.serial is None:
                return LiveServer(peer.name)
            name = dns.name.from_text(zone)
            outcome = await exchange(peer, question(name, dns.rdatatype.DNSKEY), self._timing)
            if outcome.rcode != "NOERROR":  # it has the zone, but without an answer its keys are unknown
                return LiveServer(
                    peer.name, seen.serial, failure=f"DNSKEY: {outcome.failure or outcome.rcode}"
                )
            return LiveServer(peer.name, seen.serial, _dnskeys(outcome, name))


def _dnskeys(outcome: Outcome, name: dns.name.Name) -> frozenset[bytes]:
    rrset = outcome.rrset(name, dns.rdatatype.DNSKEY)
    return frozenset(cast(Any, record).to_digestable() for record in rrset or ())
