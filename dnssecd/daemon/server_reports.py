"""Metrics, events and log lines for the reports of the server and of the followers of secondaries."""

from collections.abc import Callable

import dns.rcode
import structlog
from prometheus_client import Counter

from dnssecd.acceptor import log_exhausted
from dnssecd.core.dns.names import wire_to_text
from dnssecd.core.dns.serial import is_after
from dnssecd.daemon.key_usage import KeyUsage
from dnssecd.daemon.refusals import Refusals
from dnssecd.daemon.tls_reports import TlsReports
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import Metrics
from dnssecd.publish.notify import NotifyHooks, NotifyOutcome, NotifyResult
from dnssecd.publish.watch import Judgement, Sighting, WatchHooks
from dnssecd.server.acl import Address
from dnssecd.server.interfaces import EndedTransfer, Hooks
from dnssecd.server.reasons import Drop, Refusal, TransferEnd
from dnssecd.tls import TlsFailed

#: A secondary that lags, or does not answer, for longer than this is an event.
LAG_EVENT_S = 300.0
UNREACHABLE_EVENT_S = 15.0
#: This many NOTIFYs in a row without NOERROR are an event: a single datagram may get lost.
NOTIFY_FAILURES_EVENT = 3

_TSIG_REMEDY = {
    "BADKEY": "configure the key at the secondary under exactly this name and algorithm",
    "BADSIG": "give both hosts the same secret for this key",
    "BADTIME": "set the clocks of both hosts by NTP",
}

_OPCODES = {"query": "QUERY", "axfr": "QUERY", "ixfr": "QUERY", "notify": "NOTIFY", "update": "UPDATE"}
_KINDS = {"axfr": "axfr", "ixfr": "ixfr", "axfr-style": "ixfr-as-axfr", "current": "up-to-date"}
#: Reasons for dropping a packet that are not bounds of dnssecd.
_DROPPED = {Drop.RUNT: "malformed", Drop.RESPONSE: "response"}
_RCODES = frozenset(range(0, 11)) | {16}

log = structlog.get_logger("dnssecd.server")


class PeerReports:
    """Notes what a look at a server shows of TLS and of TSIG keys."""

    def __init__(self, tls: TlsReports, keys: KeyUsage) -> None:
        self._tls, self._keys = tls, keys

    def looked(self, sighting: Sighting) -> None:
        """Note a look."""
        self._keys.sent(sighting.server, sighting.key)
        if sighting.over_tls and (sighting.reachable or sighting.tls_fault is not None):
            self._tls.outgoing(sighting.server, sighting.tls_fault, sighting.detail)


class ServerHooks(Hooks):
    """Counts what the server does. fetched: gets the versions that were sent (origin, address, serial)."""

    def __init__(
        self,
        metrics: Metrics,
        refusals: Refusals,
        tls: TlsReports,
        keys: KeyUsage,
        fetched: Callable[[bytes, Address, int], None],
    ) -> None:
        self._metrics = metrics.server
        self._refusals = refusals
        self._tls, self._keys = tls, keys
        self._fetched = fetched
        self._exhausted = log_exhausted("DNS over TCP")
        #: By opcode and RCODE: looking for labels takes as long as counting.
        self._answers: dict[tuple[str, int], Counter] = {}

    def answered(self, zone: bytes, kind: str, rcode: int, transport: str) -> None:
        """Count an answer."""
        opcode = _OPCODES.get(kind, "OTHER")
        answers = self._answers.get((opcode, rcode))
        if answers is None:
            name = dns.rcode.to_text(dns.rcode.Rcode(rcode)) if rcode in _RCODES else "OTHER"
            answers = self._answers[opcode, rcode] = self._metrics.queries.labels(opcode, name)
        answers.inc()

    def refused(
        self, zone: bytes, kind: str, address: Address, key: bytes, reason: Refusal, detail: str = ""
    ) -> None:
        """Report a refusal."""
        self._refusals.refused(zone, kind, address, key, reason, detail)

    def accepted(self, zone: bytes, kind: str, address: Address, key: bytes) -> None:
        """Resolve earlier refusals of this sender."""
        self._refusals.accepted(zone, address, key)

    def authenticated(self, key: bytes, address: Address) -> None:
        """Note the use of a TSIG key."""
        self._keys.received(key, address)

    def handshake(self, address: Address, failure: TlsFailed | None) -> None:
        """Report a TLS handshake."""
        self._tls.incoming(address, failure)

    def truncated(self, address: Address) -> None:
        """Count a truncated answer."""
        self._metrics.truncated.inc()

    def exhausted(self, error: OSError) -> None:
        """Count and log that no connection can be accepted."""
        self._metrics.accept_rests.inc()
        self._exhausted(error)

    def dropped(self, reason: Drop) -> None:
        """Count a packet that got no answer."""
        self._metrics.dropped.labels(_DROPPED.get(reason, "limit")).inc()

    def connections(self, open_now: int) -> None:
        """Set the gauge of open connections."""
        self._metrics.tcp_connections.set(open_now)

    def transfer_started(self, zone: bytes, kind: str, address: Address, serial: int) -> None:
        """Count a transfer by its form."""
        self._metrics.transfers.labels(_KINDS.get(kind, kind)).inc()

    def transfer_ended(self, transfer: EndedTransfer) -> None:
        """Log a transfer's end."""
        self._metrics.transfer_bytes.inc(transfer.octets)
        if transfer.outcome is not TransferEnd.DONE:
            self._metrics.transfers_failed.inc()
        else:
            self._fetched(transfer.zone, transfer.address, transfer.serial)
        # Secondaries may ask for a zone before it is first signed: this needs no log line for operators.
        tell = log.debug if transfer.outcome is TransferEnd.NO_VERSION else log.info
        tell(
            "transfer out",
            zone=_text(transfer.zone),
            kind=transfer.kind,
            serial=transfer.serial,
            address=str(transfer.address),
            messages=transfer.messages,
            octets=transfer.octets,
            seconds=round(transfer.seconds, 3),
            outcome=transfer.outcome.value,
        )

    def failed(self, zone: bytes, kind: str, error: BaseException) -> None:
        """Log a bug in dnssecd."""
        log.error("answering failed", zone=_text(zone), kind=kind, cause=f"{type(error).__name__}: {error}")


class SecondaryHooks(WatchHooks, NotifyHooks):
    """Reports on secondaries. stored: returns the serial in a zone's database, which is served; None if not known."""

    def __init__(
        self, metrics: Metrics, events: EventCore, peers: PeerReports, stored: Callable[[str], int | None]
    ) -> None:
        self._stored = stored
        self._metrics = metrics.peers
        self._events = events
        self._peers = peers

    def seen(self, judgement: Judgement) -> None:
        """Count a look at a secondary, and raise or resolve its events."""
        sighting = judgement.sighting
        zone, server = sighting.zone, sighting.server
        result = judgement.state if judgement.state in ("current", "behind", "ahead") else "failed"
        self._metrics.secondary_polls.labels(result).inc()
        if sighting.serial is not None:
            self._metrics.secondary_serial.labels(zone, server).set(sighting.serial)
        self._peers.looked(sighting)
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
        if judgement.backwards or (judgement.state == "ahead" and not self._is_stored(sighting)):
            how = "went back to" if judgement.backwards else "serves a later serial than dnssecd published:"
            self._events.raise_event(
                "serial-backwards", zone, f"{server} {how} {sighting.serial}", subject=server
            )

    def _is_stored(self, sighting: Sighting) -> bool:
        """Tell whether a worker has committed the version: a secondary may have it before the daemon notes it."""
        stored = self._stored(sighting.zone)
        return stored is not None and sighting.serial is not None and not is_after(sighting.serial, stored)

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
        elif sighting.tls_fault is None and judgement.lag_s > UNREACHABLE_EVENT_S:
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
        """Log that a secondary serves the published version."""
        log.info(
            "secondary serves the version",
            zone=zone,
            secondary=secondary,
            serial=serial,
            seconds=round(seconds, 3),
        )


def _text(wire: bytes) -> str | None:
    return wire_to_text(wire) if wire else None
