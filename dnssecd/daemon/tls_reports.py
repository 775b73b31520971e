"""TLS handshakes: counted, logged at most once a minute for each kind, and an event if a peer's fail.

One event for each peer and direction: a peer that connects to dnssecd is known by its address.
"""

from collections.abc import Callable

import structlog
from prometheus_client import Counter

from dnssecd.daemon.known_peers import KnownPeers
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.ops.events import EventCore
from dnssecd.repeats import OTHERS, WINDOW_S, Repeated, Repeats
from dnssecd.server.acl import Address
from dnssecd.tls import TlsFailed, TlsFault

EVENT = "tls-failed"

_INCOMING = {
    TlsFault.STALLED: "look at the peer and at the path to it: its packets stop, or it connects and sends nothing",
    TlsFault.CERTIFICATE: "renew the peer's certificate, or correct ca, name or pins in tls of its [secondary]",
    TlsFault.OUR_CERTIFICATE: "give the peer the present authority or pin of dnssecd's certificate "
    "([server] tls_certificate), or renew that certificate",
    TlsFault.CLOSED: "read the peer's log: some servers (BIND) close the connection without a reason when they refuse "
    "dnssecd's certificate ([server] tls_certificate): compare authority, name and pin there",
    TlsFault.NO_IDENTITY: "correct tls_certificate and tls_key of [server]: see tls-certificate-bad",
    TlsFault.PROTOCOL: "the peer must use TLS 1.3 on this port, and DNS over TCP on the other one",
}
_OUTGOING = {
    TlsFault.STALLED: "check that the peer answers TLS on the port in its tls table, and the path to it",
    TlsFault.CERTIFICATE: "renew the peer's certificate; if it was replaced on purpose, write its new pin, authority "
    "or name in the peer's tls table",
    TlsFault.OUR_CERTIFICATE: "give the peer the authority of dnssecd's certificate ([server] tls_certificate), or "
    "renew that certificate",
    TlsFault.CLOSED: "read the peer's log: it may require a client certificate, or refuse the one of dnssecd "
    "([server] tls_certificate)",
    TlsFault.NO_IDENTITY: "correct the file that is named, on this host",
    TlsFault.PROTOCOL: "the peer must offer TLS 1.3 on the port in its tls table",
}
_OTHER = "check the peer's log, and the port in its tls table"

log = structlog.get_logger("dnssecd.tls")


class TlsReports:
    """Reports handshakes in both directions. Belongs to the event loop's thread."""

    def __init__(
        self,
        events: EventCore,
        peers: KnownPeers,
        handshakes: Counter,
        monotonic: Callable[[], float],
        mailbox: Mailbox,
    ) -> None:
        """handshakes: counts by direction and result."""
        mailbox.configured.subscribe(self.forget)
        self._events, self._peers, self._handshakes, self._monotonic = events, peers, handshakes, monotonic
        self._repeats = Repeats(_report)
        #: Subjects whose event fires, with the time of the last report (monotonic).
        self._failing: dict[str, float] = {}
        events.resolve(EVENT, subject=None)  # of an earlier process

    def incoming(self, address: Address, failure: TlsFailed | None) -> None:
        """Report a handshake with a client."""
        result = "done" if failure is None else failure.fault.value
        self._handshakes.labels("incoming", result).inc()
        names = self._peers.names(address)
        if failure is not None:
            self._log(address, names, failure)
        for name in names:
            remedy = "" if failure is None else _INCOMING.get(failure.fault, _OTHER)
            self._tell(f"{name} (incoming)", f"TLS from {name} ({address})", failure, remedy)

    def outgoing(self, peer: str, fault: TlsFault | None, text: str) -> None:
        """Report an exchange with a peer over TLS; ``fault`` None: it succeeded as far as TLS is concerned."""
        self._handshakes.labels("outgoing", "done" if fault is None else fault.value).inc()
        failure = None if fault is None else TlsFailed(fault, text)
        remedy = "" if fault is None else _OUTGOING.get(fault, _OTHER)
        self._tell(peer, f"TLS to {peer}", failure, remedy)

    def forget(self) -> None:
        """Resolve all events, because the configuration changed; further failures are reported again."""
        for subject in self._failing:
            self._events.resolve(EVENT, None, subject)
        self._failing.clear()

    def _tell(self, subject: str, who: str, failure: TlsFailed | None, remedy: str) -> None:
        if failure is None:
            if self._failing.pop(subject, None) is not None:
                self._events.resolve(EVENT, None, subject)
            return
        now = self._monotonic()
        if now - self._failing.get(subject, now - 2 * WINDOW_S) < WINDOW_S:
            return
        self._failing[subject] = now
        self._events.raise_event(EVENT, None, f"{who}: {failure}", subject=subject, remedy=remedy)

    def _log(self, address: Address, names: tuple[str, ...], failure: TlsFailed) -> None:
        now = self._monotonic()
        self._repeats.flush(now)
        window = self._repeats.first((failure.fault, names), now)
        if window is not None:
            window.add({"address": str(address)})
            return
        tell = log.warning if names else log.info
        tell(
            "TLS handshake failed", address=str(address), peer=names[0] if names else None, cause=str(failure)
        )


def _report(window: Repeated) -> None:
    kind = window.kind
    assert isinstance(kind, tuple)
    fault = "other" if kind == OTHERS else kind[0].value
    log.info("TLS handshakes failed again", fault=fault, count=window.count, seconds=int(WINDOW_S))
