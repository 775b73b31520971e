"""A bound on TLS handshakes with strangers: one costs a signature, far more than an answer.

Handshakes with configured peers are bounded only by their connections, so a flood from other addresses does not
keep a peer out.
"""

from __future__ import annotations

from dataclasses import dataclass

from dnssecd.server.limits import Limits

#: Networks remembered; the oldest entry is dropped, and that network then has a full budget again.
NETWORKS_MAX = 1024


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float

    def refill(self, rate: float, burst: int, now: float) -> None:
        self.left = min(float(burst), self.left + max(0.0, now - self.at) * rate)
        self.at = now


class HandshakeBudget:
    """A budget for all strangers, and one for each network (server.clients.network)."""

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._all = _Bucket(limits.handshakes_burst, now)
        self._networks: dict[str, _Bucket] = {}

    def allows(self, network: str, now: float) -> bool:
        """Tell whether a handshake may begin, and count it. now: seconds, any clock."""
        limits = self._limits
        mine = self._networks.get(network)
        if mine is None:
            if len(self._networks) >= NETWORKS_MAX:
                del self._networks[next(iter(self._networks))]
            mine = self._networks[network] = _Bucket(limits.network_handshakes_burst, now)
        mine.refill(limits.network_handshakes_per_s, limits.network_handshakes_burst, now)
        self._all.refill(limits.handshakes_per_s, limits.handshakes_burst, now)
        if min(mine.left, self._all.left) < 1:
            return False
        mine.left -= 1
        self._all.left -= 1
        return True
