"""What the server and the followers of secondaries report, as metrics, events and log lines."""

import dns.rcode
import structlog

from dnssecd.acceptor import log_exhausted
from dnssecd.core.dns.names import wire_to_text
from dnssecd.daemon.refusals import Refusals
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import Metrics
from dnssecd.publish.notify import NotifyHooks, NotifyOutcome, NotifyResult
from dnssecd.publish.watch import Judgement, WatchHooks
from dnssecd.server.acl import Address
from dnssecd.server.interfaces import Hooks

#: A secondary that lags, or does not answer, for longer than this is an event.
LAG_EVENT_S = 300.0
UNREACHABLE_EVENT_S = 15.0
#: So many NOTIFYs in a row that are not answered NOERROR are an event: one datagram may get lost.
NOTIFY_FAILURES_EVENT = 3

_TSIG_REMEDY = {
    "BADKEY": "configure the key at the secondary under exactly this name and algorithm",
    "BADSIG": "give both hosts the same secret for this key",
    "BADTIME": "set the clocks of both hosts by NTP",
}

_OPCODES = {"query": "QUERY", "axfr": "QUERY", "ixfr": "QUERY", "notify": "NOTIFY", "update": "UPDATE"}
_KINDS = {"axfr": "axfr", "ixfr": "ixfr", "axfr-style": "ixfr-as-axfr", "current": "up-to-date"}
#: Reasons for dropping a packet that are not a bound of ours.
_DROPPED = {"runt": "malformed", "malformed": "malformed", "response": "response"}
_RCODES = frozenset(range(0, 11)) | {16}

log = structlog.get_logger("dnssecd.server")


class ServerHooks(Hooks):
    """Counts what the server does."""

    def __init__(self, metrics: Metrics, refusals: Refusals) -> None:
        self._metrics = metrics.server
        self._refusals = refusals
        self._exhausted = log_exhausted("DNS over TCP")

    def answered(self, zone: bytes, kind: str, rcode: int, transport: str) -> None:
        """Count an answer."""
        name = dns.rcode.to_text(dns.rcode.Rcode(rcode)) if rcode in _RCODES else "OTHER"
        self._metrics.queries.labels(_OPCODES.get(kind, "OTHER"), name).inc()

    def refused(self, zone: bytes, kind: str, address: Address, key: bytes, reason: str) -> None:
        """Report a refusal."""
        self._refusals.refused(zone, kind, address, key, reason)

    def accepted(self, zone: bytes, kind: str, address: Address, key: bytes) -> None:
        """Resolve what was refused to this sender before."""
        self._refusals.accepted(zone, address, key)

    def truncated(self, address: Address) -> None:
        """Count an answer that was cut short."""
        self._metrics.truncated.inc()

    def exhausted(self, error: OSError) -> None:
        """Count and log that no connection can be accepted."""
        self._metrics.accept_rests.inc()
        self._exhausted(error)

    def dropped(self, reason: str) -> None:
        """Count a packet that got no answer."""
        self._metrics.dropped.labels(_DROPPED.get(reason, "limit")).inc()

    def connections(self, open_now: int) -> None:
        """Set the gauge of open connections."""
        self._metrics.tcp_connections.set(open_now)

    def transfer_started(self, zone: bytes, kind: str, address: Address, serial: int) -> None:
        """Count a transfer by its form."""
        self._metrics.transfers.labels(_KINDS.get(kind, kind)).inc()

    def transfer_ended(
        self,
        zone: bytes,
        kind: str,
        address: Address,
        serial: int,
        messages: int,
        octets: int,
        seconds: float,
        outcome: str,
    ) -> None:
        """Log a transfer's end."""
        self._metrics.transfer_bytes.inc(octets)
        if outcome != "done":
            self._metrics.transfers_failed.inc()
        # Secondaries ask for a zone before it has been signed for the first time: no news for a person.
        tell = log.debug if outcome == "no version" else log.info
        tell(
            "transfer out",
            zone=_text(zone),
            kind=kind,
            serial=serial,
            address=str(address),
            messages=messages,
            octets=octets,
            seconds=round(seconds, 3),
            outcome=outcome,
        )

    def failed(self, zone: bytes, kind: str, error: BaseException) -> None:
        """Log a fault of ours."""
        log.error("answering failed", zone=_text(zone), kind=kind, cause=f"{type(error).__name__}: {error}")


class SecondaryHooks(WatchHooks, NotifyHooks):
    """What is seen of secondaries."""

    def __init__(self, metrics: Metrics, events: EventCore) -> None:
        self._metrics = metrics.peers
        self._events = events

    def seen(self, judgement: Judgement) -> None:
        """Count a look, and raise or resolve what it says."""
        sighting = judgement.sighting
        zone, server = sighting.zone, sighting.server
        result = judgement.state if judgement.state in ("current", "behind", "ahead") else "failed"
        self._metrics.secondary_polls.labels(result).inc()
        if sighting.serial is not None:
            self._metrics.secondary_serial.labels(zone, server).set(sighting.serial)
        self._unreachable(judgement)
        if judgement.state == "current":
            for name in ("secondary-lagging", "serial-backwards"):
                self._events.resolve(name, zone, server)
            return
        if judgement.lag_s > LAG_EVENT_S and judgement.state in ("behind", "absent"):
            cause = f"{server} has not taken the published version for {judgement.lag_s:.0f} s; it serves "
            cause += (
                f"serial {sighting.serial}" if sighting.serial is not None else f"nothing ({sighting.detail})"
            )
            self._events.raise_event("secondary-lagging", zone, cause, subject=server)
        if judgement.state == "ahead" or judgement.backwards:
            how = "went back to" if judgement.backwards else "serves a later serial than we published:"
            self._events.raise_event(
                "serial-backwards", zone, f"{server} {how} {sighting.serial}", subject=server
            )

    def _unreachable(self, judgement: Judgement) -> None:
        sighting = judgement.sighting
        if sighting.tsig_error:
            self._events.raise_event(
                "secondary-rejects-tsig",
                sighting.zone,
                f"{sighting.server}: {sighting.detail}",
                subject=sighting.server,
                remedy=_TSIG_REMEDY.get(sighting.tsig_error),
            )
        elif sighting.reachable:
            self._events.resolve("secondary-rejects-tsig", sighting.zone, sighting.server)
        if sighting.reachable:
            self._events.resolve("secondary-unreachable", sighting.zone, sighting.server)
        elif judgement.lag_s > UNREACHABLE_EVENT_S:
            self._events.raise_event(
                "secondary-unreachable",
                sighting.zone,
                f"{sighting.server} does not answer: {sighting.detail}",
                subject=sighting.server,
            )

    def notified(self, zone: str, secondary: str, outcome: NotifyOutcome, failures: int) -> None:
        """Count a NOTIFY; raise or resolve what its answer says."""
        self._metrics.notify.labels(outcome.result.value).inc()
        if outcome.result is NotifyResult.ANSWERED:
            self._events.resolve("notify-unanswered", zone, secondary)
        elif failures >= NOTIFY_FAILURES_EVENT:
            cause = f"{failures} NOTIFYs in a row: {secondary}: {outcome.detail}"
            self._events.raise_event("notify-unanswered", zone, cause, subject=secondary)

    def caught_up(self, zone: str, secondary: str, serial: int, seconds: float) -> None:
        """Log that a secondary serves what was published."""
        log.info(
            "secondary serves the version",
            zone=zone,
            secondary=secondary,
            serial=serial,
            seconds=round(seconds, 3),
        )


def _text(wire: bytes) -> str | None:
    return wire_to_text(wire) if wire else None
