"""A bound on large UDP answers to clients whose address is not verified.

An answer has up to twenty times the octets of its question. So an attacker who forges the address of a
secondary (one without TSIG) could make dnssecd flood that secondary. Above a budget such a client gets an
empty, truncated answer, which is not larger than the question. A real client then asks over TCP. A client
that signs its questions has no such bound.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Answers up to this size are not counted, so polls of SOA and DNSKEY have no limit.
SMALL_OCTETS = 512
#: Octets of larger answers for one client: per second, and in one burst.
RATE_OCTETS = 64 * 1024
BURST_OCTETS = 256 * 1024
#: Clients remembered; the oldest entry is dropped, and that client then has a full budget again.
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
