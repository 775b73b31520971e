"""Bounds the large answers by UDP that are sent to an address nobody has proven.

Whoever forges the address of a secondary that is known by its address alone could have us flood it: an answer has up
to twenty times the octets of its question. Beyond a budget such a client gets an empty, truncated answer, which is no
larger than the question. A real client then asks over TCP; one that signs its questions has no such bound.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Answers up to this size are not counted: polls of SOA and DNSKEY go on as fast as a client likes.
SMALL_OCTETS = 512
#: Octets of larger answers for one client: a second, and at once.
RATE_OCTETS = 64 * 1024
BURST_OCTETS = 256 * 1024
#: Clients remembered; the one seen first is forgotten, and has its whole budget again.
CLIENTS_MAX = 4096


@dataclass(slots=True)
class _Budget:
    octets: float
    at: float


class AnswerBudget:
    """One budget for each client (server.clients.client)."""

    def __init__(self) -> None:
        self._clients: dict[str, _Budget] = {}

    def allows(self, client: str, octets: int, now: float) -> bool:
        """Tell whether an answer may be sent, and count it. now: seconds, any clock."""
        budget = self._clients.get(client)
        if budget is None:
            if len(self._clients) >= CLIENTS_MAX:
                del self._clients[next(iter(self._clients))]
            budget = self._clients[client] = _Budget(BURST_OCTETS, now)
        budget.octets = min(BURST_OCTETS, budget.octets + max(0.0, now - budget.at) * RATE_OCTETS)
        budget.at = now
        if budget.octets < octets:
            return False
        budget.octets -= octets
        return True
