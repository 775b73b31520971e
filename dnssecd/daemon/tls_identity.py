"""The certificate that dnssecd shows to peers: read again when its files change, and watched for its end.

A renewed certificate needs neither restart nor reload. If new files cannot be used, the certificate in use
stays in use; connections that exist are not touched.
"""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import structlog
from prometheus_client import Gauge

from dnssecd.clock import Clock
from dnssecd.config.model import Config
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.specs import tls_identity
from dnssecd.ops.events import EventCore
from dnssecd.tls import BadCertificate, Identity, names_of, read_certificates, server_context

#: Seconds between two looks at the files.
LOOK_S = 5.0
DAY_S = 86_400
#: Before its end, the last quarter of a certificate's lifetime, but at most two weeks, is an event.
EXPIRING_S = 14 * DAY_S
EXPIRING_SHARE = 4
BAD, EXPIRING = "tls-certificate-bad", "tls-certificate-expiring"
_NO_FILES: tuple[tuple[str, int, int, int], ...] = ()

log = structlog.get_logger("dnssecd.tls")


class TlsIdentity:
    """Holds the context of the TLS listeners. Belongs to the event loop's thread."""

    def __init__(
        self,
        config: Callable[[], Config],
        events: EventCore,
        clock: Clock,
        expiration: Gauge,
        mailbox: Mailbox,
    ) -> None:
        """config: the configuration in force; expiration: set to the end of the certificate."""
        mailbox.configured.subscribe(self.look)
        self._config, self._events, self._clock, self._expiration = config, events, clock, expiration
        self._context: ssl.SSLContext | None = None
        #: The files when they were last read, and when they were last taken into use.
        self._state = self._in_use = _NO_FILES
        self._times: tuple[float, float] | None = None
        self._doubted = False

    def context(self) -> ssl.SSLContext | None:
        """Return the context for a new connection; None while there is no certificate that can be used."""
        return self._context

    async def watch(self) -> None:
        """Look at the files again and again."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Read the files if they changed, and judge the dates."""
        identity = tls_identity(self._config())
        if identity is None:
            self._context, self._state, self._times = None, _NO_FILES, None
            for name in (BAD, EXPIRING):
                self._events.resolve(name, subject=None)
            return
        authorities = self._authorities()
        state = tuple(map(_state, (identity.certificate, identity.key, *authorities)))
        if state != self._state or self._doubted:
            self._read(identity, authorities, state)
        self._judge_dates(identity)

    def _authorities(self) -> list[str]:
        """Return the files of authorities of all secondaries that must show a certificate."""
        peers = self._config().secondaries.values()
        return list(dict.fromkeys(str(p.tls.ca) for p in peers if p.tls and p.tls.mutual and p.tls.ca))

    def _read(
        self, identity: Identity, authorities: list[str], state: tuple[tuple[str, int, int, int], ...]
    ) -> None:
        usable = [path for path in authorities if self._can_use(path)]
        try:
            context = server_context(identity, tuple(usable))
            leaf = read_certificates(identity.certificate)[0]
        except BadCertificate as error:
            # A renewal replaces certificate and key one after the other: the next look may find both.
            if self._doubted or self._context is None:
                self._events.raise_event(
                    BAD, None, f"{error}; {self._consequence()}", subject=identity.certificate
                )
            self._state, self._doubted = state, not self._doubted
            return
        self._context, self._state, self._in_use, self._doubted = context, state, state, False
        self._times = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
        self._expiration.set(self._times[1])
        log.info(
            "TLS certificate read",
            file=identity.certificate,
            names=names_of(leaf),
            expires=f"{leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
            authorities=len(usable),
        )

    def _consequence(self) -> str:
        if self._context is None:
            return "TLS connections are closed until it can be used"
        return "the previous certificate stays in use"

    def _can_use(self, path: str) -> bool:
        """Tell whether a file of authorities can be used; a bad one must not stop TLS for other secondaries."""
        try:
            read_certificates(path)
        except BadCertificate as error:
            self._events.raise_event(
                BAD, None, f"{error}; secondaries that it is the authority of cannot transfer", subject=path
            )
            return False
        self._events.resolve(BAD, None, path)
        return True

    def _judge_dates(self, identity: Identity) -> None:
        if self._times is None:
            return
        now = self._clock.now()
        begins, ends = self._times
        file = identity.certificate
        if not begins <= now < ends:
            what = "has expired" if now >= ends else "is not valid yet"
            self._events.raise_event(
                BAD, None, f"the certificate in {file} {what}; peers that check it refuse TLS", subject=file
            )
        elif self._in_use == self._state:
            self._events.resolve(BAD, None, file)
        if begins <= now < ends and ends - now < min(EXPIRING_S, (ends - begins) / EXPIRING_SHARE):
            days = (ends - now) / DAY_S
            self._events.raise_event(
                EXPIRING, None, f"the certificate in {file} expires in {days:.1f} days", subject=file
            )
        else:
            self._events.resolve(EXPIRING, None, file)


def _state(path: str) -> tuple[str, int, int, int]:
    try:
        status = Path(path).stat()
    except OSError:
        return path, 0, 0, 0
    return path, status.st_mtime_ns, status.st_ino, status.st_size
