"""Refused requests: they are counted, logged once a minute for each kind, and cause an event for a configured peer.

A stranger can cause any number of refusals, but the amount logged and stored is bounded. A peer is a server
in the configuration, by its address, or the owner of a verified TSIG key. A UDP address can be forged, so
such an event is a warning; there is at most one for each zone and peer, and EVENTS_MAX in total.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from dnssecd.core.dns.names import wire_to_text
from dnssecd.daemon.known_peers import KnownPeers
from dnssecd.daemon.refusal_remedies import remedy
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.table import ZoneTable
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import ServerMetrics
from dnssecd.repeats import OTHERS, WINDOW_S, Repeated, Repeats
from dnssecd.server.acl import Address
from dnssecd.server.reasons import TSIG_ERRORS, Refusal

EVENT = "peer-refused"
EVENTS_MAX = 256
#: An event resolves when nothing was refused for this long, or when the peer's request is accepted.
QUIET_S = 86_400.0

#: Reasons in the metric.
_REASONS = {
    Refusal.ACCESS: "access",
    Refusal.NOT_SIGNED: "access",
    Refusal.NO_GRANT: "access",
    Refusal.NO_SUCH_ZONE: "no-such-zone",
    Refusal.CLASS: "class",
    Refusal.AXFR_OVER_UDP: "transport",
    Refusal.NOT_OVER_TLS: "transport",
    Refusal.CERTIFICATE: "access",
    Refusal.REPLAYED: "replayed",
} | {error: error.value for error in TSIG_ERRORS}

log = structlog.get_logger("dnssecd.server")


@dataclass(eq=False, slots=True)
class _Refused:
    """A peer whose requests are refused, for a zone or for an unknown one. Times are monotonic.

    ``seen_at``: the last refusal. ``raised_at``: when the event was last raised, at most once in a window.
    """

    zone: FrontZone | None
    peer: str
    seen_at: float
    raised_at: float = -WINDOW_S


class Refusals:
    """Reports refused requests. All methods belong to the event loop's thread."""

    def __init__(
        self,
        metrics: ServerMetrics,
        events: EventCore,
        peers: KnownPeers,
        table: ZoneTable,
        mailbox: Mailbox,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics, self._events, self._peers, self._monotonic = metrics, events, peers, monotonic
        self._repeats = Repeats(_report)
        self._table = table
        #: Of each event that fires, at most EVENTS_MAX.
        self._refused: list[_Refused] = []
        self._timer: asyncio.TimerHandle | None = None
        mailbox.removed.subscribe(self._forget_zone)

    def start(self) -> None:
        """Let events that still fire from an earlier process resolve in time."""
        now = self._monotonic()
        for event in self._events.firing():
            zone = self._table.by_name.get(event.zone)
            if event.name == EVENT and (zone is not None or not event.zone):
                self._refused.append(_Refused(zone, event.subject, now))
        if self._refused:
            self._tick()

    def refused(
        self, zone: bytes, kind: str, address: Address, key: bytes, reason: Refusal, detail: str = ""
    ) -> None:
        """Report a refusal; arguments as in server.interfaces.Hooks. key: verified, unless reason is a TSIG error."""
        tsig_error = reason in TSIG_ERRORS
        if tsig_error:
            self._metrics.tsig_errors.labels(reason.value).inc()
        names = self._peers.names(address)
        if not names and key and not tsig_error:
            names = (f"key {wire_to_text(key)}",)
        sender = "peer" if names else "other"
        self._metrics.refused.labels(kind, _REASONS.get(reason, "other"), sender).inc()
        now = self._monotonic()
        text = detail or reason.value
        what = (kind, text, zone, names) if names else (kind, text)
        window = self._repeats.first(what, now)
        self._tick()
        if window is None:
            self._tell(zone, kind, address, key, text, names, remedy(kind, reason))
        elif window.count < 1000 or names:
            # In a flood, requests that are not logged are not formatted.
            window.add({"address": str(address), "zone": _text(zone), "key": _text(key)})
        else:
            window.count += 1
        for name in names:
            cause = f"{kind} from {address}{_signed(key)} was refused: {text}"
            self._raise(self._table.by_origin.get(zone), name, cause, remedy(kind, reason), now)

    def accepted(self, zone: bytes, address: Address, key: bytes) -> None:
        """Resolve the events for a sender whose request is now accepted."""
        if not self._refused:
            return
        names = [*self._peers.names(address), *([f"key {wire_to_text(key)}"] if key else [])]
        for name in names:
            for place in (self._table.by_origin.get(zone), None):
                refused = self._of(place, name)
                if refused is not None:
                    self._resolve(refused)

    def forget(self) -> None:
        """Resolve all events, because the configuration changed; further refusals are reported again."""
        for refused in list(self._refused):
            self._resolve(refused)

    def close(self) -> None:
        """Report the counted refusals and stop."""
        if self._timer is not None:
            self._timer.cancel()
        self._repeats.flush(self._monotonic(), all_windows=True)

    def _tell(
        self,
        zone: bytes,
        kind: str,
        address: Address,
        key: bytes,
        reason: str,
        names: tuple[str, ...],
        remedy: str,
    ) -> None:
        fields = {"zone": _text(zone), "kind": kind, "address": str(address), "key": _text(key)}
        if names:
            log.warning(
                "request of a peer refused",
                **fields,
                reason=reason,
                peer=names[0],
                remedy=remedy,
            )
        else:
            log.info("request refused", **fields, reason=reason)

    def _of(self, zone: FrontZone | None, peer: str) -> "_Refused | None":
        return next((one for one in self._refused if one.zone is zone and one.peer == peer), None)

    def _forget_zone(self, zone: FrontZone) -> None:
        """Drop a zone that was removed; its events are resolved elsewhere."""
        self._refused = [one for one in self._refused if one.zone is not zone]

    def _raise(self, zone: FrontZone | None, name: str, cause: str, remedy: str, now: float) -> None:
        refused = self._of(zone, name)
        if refused is None:
            if len(self._refused) >= EVENTS_MAX:
                return
            refused = _Refused(zone, name, now)
            self._refused.append(refused)
        refused.seen_at = now
        if now - refused.raised_at < WINDOW_S:
            return
        refused.raised_at = now
        self._events.raise_event(EVENT, _name(zone), cause, subject=name, remedy=remedy)

    def _resolve(self, refused: "_Refused") -> None:
        self._refused.remove(refused)
        self._events.resolve(EVENT, _name(refused.zone), refused.peer)

    def _tick(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WINDOW_S, self._minute)

    def _minute(self) -> None:
        self._timer = None
        now = self._monotonic()
        self._repeats.flush(now)
        for refused in [one for one in self._refused if now - one.seen_at >= QUIET_S]:
            self._resolve(refused)
        if self._repeats or self._refused:
            self._tick()


def _report(window: Repeated) -> None:
    """Log the refusals in a window after the first."""
    kind = window.kind
    assert isinstance(kind, tuple)
    what = {"kind": "other"} if kind == OTHERS else {"kind": kind[0], "reason": kind[1]}
    examples = {f"{name}_examples": values for name, values in window.examples.items()}
    tell = log.warning if len(kind) > 2 and kind[3] else log.info
    tell("requests refused again", **what, count=window.count, seconds=int(WINDOW_S), **examples)


def _signed(key: bytes) -> str:
    return f", signed with {wire_to_text(key)}" if key else ", not signed"


def _name(zone: FrontZone | None) -> str | None:
    return None if zone is None else zone.name


def _text(wire: bytes) -> str | None:
    return wire_to_text(wire) if wire else None
