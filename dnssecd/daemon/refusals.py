"""Requests that are refused: counted, logged once a minute for each kind, and an event when a configured peer's is.

A stranger decides how often a request is refused, but not how much is logged or stored. A peer is a server named in
the configuration, by its address, or the owner of a proven TSIG key. By UDP an address can be forged, so such an event
is a warning, there is at most one for a zone and peer, and EVENTS_MAX of them in all.
"""

import asyncio
import time
from collections.abc import Callable

import structlog

from dnssecd.core.dns.names import wire_to_text
from dnssecd.daemon.known_peers import KnownPeers
from dnssecd.daemon.refusal_remedies import remedy
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import ServerMetrics
from dnssecd.repeats import OTHERS, WINDOW_S, Repeated, Repeats
from dnssecd.server.acl import Address

EVENT = "peer-refused"
EVENTS_MAX = 256
#: An event resolves when nothing was refused for so long, or when the peer's request is accepted.
QUIET_S = 86_400.0

TSIG_ERRORS = frozenset({"BADSIG", "BADKEY", "BADTIME", "BADTRUNC", "FORMERR"})
#: Reasons as the metric has them.
_REASONS = {
    "access": "access",
    "not signed": "access",
    "no such zone": "no-such-zone",
    "class": "class",
    "AXFR over UDP": "transport",
    "replayed": "replayed",
} | {error: error for error in TSIG_ERRORS}

log = structlog.get_logger("dnssecd.server")


class Refusals:
    """Reports refused requests. All methods belong to the event loop's thread."""

    def __init__(
        self,
        metrics: ServerMetrics,
        events: EventCore,
        peers: KnownPeers,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics, self._events, self._peers, self._monotonic = metrics, events, peers, monotonic
        self._repeats = Repeats(_report)
        now = monotonic()
        #: (zone, peer) of each event that fires → when a request was refused last.
        self._firing = {
            (event.zone or None, event.subject): now for event in events.firing() if event.name == EVENT
        }
        #: When an event was raised last: it is raised once a window only.
        self._raised: dict[tuple[str | None, str], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def refused(self, zone: bytes, kind: str, address: Address, key: bytes, reason: str) -> None:
        """Report a refusal; arguments as of server.interfaces.Hooks. key: proven, unless reason is a TSIG error."""
        tsig_error = reason in TSIG_ERRORS
        if tsig_error:
            self._metrics.tsig_errors.labels(reason).inc()
        names = self._peers.names(address)
        if not names and key and not tsig_error:
            names = (f"key {wire_to_text(key)}",)
        sender = "peer" if names else "other"
        self._metrics.refused.labels(kind, _reason(reason), sender).inc()
        now = self._monotonic()
        what = (kind, reason, zone, names) if names else (kind, reason)
        window = self._repeats.first(what, now)
        self._tick()
        if window is None:
            self._tell(zone, kind, address, key, reason, names)
        elif window.count < 1000 or names:
            # Formatting what no line has room for is work for a flood only.
            window.add({"address": str(address), "zone": _text(zone), "key": _text(key)})
        else:
            window.count += 1
        for name in names:
            self._raise(_text(zone), name, kind, reason, address, key, now)

    def accepted(self, zone: bytes, address: Address, key: bytes) -> None:
        """Resolve what was refused to the sender of a request that is now accepted."""
        if not self._firing:
            return
        names = [*self._peers.names(address), *([f"key {wire_to_text(key)}"] if key else [])]
        for name in names:
            for place in (_text(zone), None):
                self._resolve(place, name)

    def forget(self) -> None:
        """Resolve all events: the configuration changed. What is still refused is reported again."""
        for zone, name in list(self._firing):
            self._resolve(zone, name)
        self._raised.clear()

    def close(self) -> None:
        """Report what is counted and stop."""
        if self._timer is not None:
            self._timer.cancel()
        self._repeats.flush(self._monotonic(), all_windows=True)

    def _tell(
        self, zone: bytes, kind: str, address: Address, key: bytes, reason: str, names: tuple[str, ...]
    ) -> None:
        fields = {"zone": _text(zone), "kind": kind, "address": str(address), "key": _text(key)}
        if names:
            log.warning(
                "request of a peer refused",
                **fields,
                reason=reason,
                peer=names[0],
                remedy=remedy(kind, reason),
            )
        else:
            log.info("request refused", **fields, reason=reason)

    def _raise(
        self, zone: str | None, name: str, kind: str, reason: str, address: Address, key: bytes, now: float
    ) -> None:
        place = zone, name
        if place not in self._firing and len(self._firing) >= EVENTS_MAX:
            return
        self._firing[place] = now
        if now - self._raised.get(place, -WINDOW_S) < WINDOW_S:
            return
        self._raised[place] = now
        signed = f", signed with {wire_to_text(key)}" if key else ", not signed"
        cause = f"{kind} from {address}{signed} was refused: {reason}"
        self._events.raise_event(EVENT, zone, cause, subject=name, remedy=remedy(kind, reason))

    def _resolve(self, zone: str | None, name: str) -> None:
        if self._firing.pop((zone, name), None) is not None:
            self._raised.pop((zone, name), None)
            self._events.resolve(EVENT, zone, name)

    def _tick(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WINDOW_S, self._minute)

    def _minute(self) -> None:
        self._timer = None
        now = self._monotonic()
        self._repeats.flush(now)
        for (zone, name), seen in list(self._firing.items()):
            if now - seen >= QUIET_S:
                self._resolve(zone, name)
        if self._repeats or self._firing:
            self._tick()


def _report(window: Repeated) -> None:
    """Log what was refused within a window after the first."""
    kind = window.kind
    assert isinstance(kind, tuple)
    what = {"kind": "other"} if kind == OTHERS else {"kind": kind[0], "reason": kind[1]}
    examples = {f"{name}_examples": values for name, values in window.examples.items()}
    tell = log.warning if len(kind) > 2 and kind[3] else log.info
    tell("requests refused again", **what, count=window.count, seconds=int(WINDOW_S), **examples)


def _reason(reason: str) -> str:
    return "access" if reason.startswith("no grant") else _REASONS.get(reason, "other")


def _text(wire: bytes) -> str | None:
    return wire_to_text(wire) if wire else None
