"""Publishes the trust anchors of zones with ``anchors = true``, and looks at what the web server gives out.

After each plan for a zone's keys the files are compared with what they should be, and changed where they differ. So a
new key set, a restart and a new configuration need no code of their own. At each interval the files are compared once
more, for the case that something else changed them or the certificate, and then with what the URL serves.

Of a cluster's nodes only the owner of a zone writes and looks: the directory may be shared, and the keys that another
node has may be old. A node whose lease may have ended writes nothing, as its zones may have another owner already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from dnssecd.backoff import Backoff
from dnssecd.clock import Clock
from dnssecd.config.model import AnchorsConfig, Config
from dnssecd.core.keys.evidence import Evidence
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.types import Plan
from dnssecd.core.parent.anchor_forms import XML, files_of
from dnssecd.core.parent.anchors import Anchors, Standing, anchors_of
from dnssecd.core.utc import minute
from dnssecd.daemon.anchors.files import CannotSign, directory_name, write_files
from dnssecd.daemon.anchors.look import Unreachable, differences, zone_url
from dnssecd.daemon.rollover.engine import RolloverListener
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.anchor_metrics import AnchorMetrics
from dnssecd.ops.events import EventCore

UNPUBLISHED, OUTDATED, EXPIRING = "anchors-unpublished", "anchors-outdated", "anchors-certificate-expiring"
#: Seconds between two looks at what is due.
LOOK_S = 1.0
#: Seconds between two looks at the certificate; it expires soon within NOTICE_S.
CERTIFICATE_LOOK_S = 3_600.0
NOTICE_S = 30 * 86_400
NAMED_MAX = 3
RETRY = Backoff(5.0, 300.0)

log = structlog.get_logger("dnssecd.anchors")


@dataclass(slots=True)
class Published:
    """What is known of one zone's files. Times in monotonic seconds, ``looked_at`` in epoch seconds.

    ``due``: when the files are compared with the keys; ``look_at``: when the web server is looked at. ``faults``: what
    that look found; ``trouble``: why the files cannot be written.
    """

    keyset: Keyset
    due: float = 0.0
    look_at: float | None = None
    written: bool = False
    failures: int = 0
    trouble: str = ""
    looked_at: float | None = None
    faults: list[str] = field(default_factory=list)


class AnchorPublisher(RolloverListener):
    """Holds what is published of each zone. Belongs to the event loop."""

    def __init__(
        self,
        config: Callable[[], Config],
        events: EventCore,
        metrics: AnchorMetrics,
        clock: Clock,
        listeners: list[RolloverListener],
        mailbox: Mailbox,
        lease_runs: Callable[[], bool] = lambda: True,
    ) -> None:
        """Become one of *listeners*, those of the rollover engine. lease_runs: no other node owns zones of this one."""
        self._lease_runs = lease_runs
        self._config, self._events, self._metrics, self._clock = config, events, metrics, clock
        self._zones: dict[FrontZone, Published] = {}
        self._turn = asyncio.Lock()
        self._certificate_at = 0.0
        listeners.append(self)
        mailbox.configured.subscribe(self._configured)
        mailbox.removed.subscribe(self._forget)

    def planned(self, zone: FrontZone, keyset: Keyset, plan: Plan, evidence: Evidence) -> float | None:
        """Take the key set of a zone."""
        if not zone.config.anchors or not zone.owned:
            self._forget(zone)
            return None
        known = self._zones.setdefault(zone, Published(keyset))
        if not known.written or known.keyset != keyset:
            known.keyset, known.due = keyset, min(known.due, self._clock.monotonic())
        return None

    def of(self, zone: FrontZone) -> Published | None:
        """Return what is known of a zone's files; None if this node publishes no anchors of it."""
        return self._zones.get(zone) if zone.owned else None

    def why_not_here(self, zone: FrontZone) -> str:
        """Return why this node of a cluster writes no anchors of a zone, "" if it does."""
        if not zone.owned:
            owner = zone.cluster.owner if zone.cluster is not None else ""
            return f"{f'node {owner}' if owner else 'another node'} of the cluster owns the zone"
        return "" if self._lease_runs() else "the lease of this node in the cluster may have ended"

    def directory(self, zone: FrontZone) -> Path | None:
        """Return the directory of a zone's files; None without ``[anchors]``."""
        base = self._config().anchors.directory
        return None if base is None else base / directory_name(zone.name)

    def url(self, zone: FrontZone) -> str:
        """Return where a web server serves that directory; "" if that is not configured."""
        base, directory = self._config().anchors.url, self.directory(zone)
        return zone_url(base, directory) if base and directory is not None else ""

    def anchors(self, zone: FrontZone, keyset: Keyset) -> Anchors:
        """Return the trust anchors of a zone with a key set."""
        config = self._config()
        rfc5011 = config.policies[zone.config.policy].rfc5011
        return anchors_of(zone.name, keyset, rfc5011=rfc5011)

    def files(self, zone: FrontZone, keyset: Keyset) -> dict[str, bytes]:
        """Return the content of a zone's files with a key set, by name."""
        url = self.url(zone)
        source = f"{url}/{XML}" if url and zone.config.anchors else ""
        found = files_of(self.anchors(zone, keyset), source)
        return {name: text.encode() for name, text in found.items()}

    async def check(self, zone: FrontZone) -> Published | None:
        """Write and look now; return what was found, None if the zone publishes no anchors."""
        known = self._zones.get(zone)
        if known is not None and zone.owned:
            async with self._turn:
                if self._lease_runs():
                    await self._write(zone, known)
                await self._look(zone, known)
        return known

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._zones or self._certificate_at:
                await self._work()

    async def _work(self) -> None:
        self._judge_certificate()
        down = ""
        for zone, known in list(self._zones.items()):
            now = self._clock.monotonic()
            if zone.gone or known is not self._zones.get(zone):
                continue
            if not zone.owned:
                self._forget(zone)  # the new owner publishes them, and raises events of its own
                continue
            async with self._turn:
                if known.due <= now and self._lease_runs():
                    await self._write(zone, known)
                if known.look_at is not None and known.look_at <= now:
                    down = await self._look(zone, known, down)

    async def _write(self, zone: FrontZone, known: Published) -> None:
        """Bring the files up to date."""
        directory, settings, keyset = self.directory(zone), self._config().anchors, known.keyset
        known.due = self._clock.monotonic() + settings.interval
        if directory is None:
            return
        anchors = self.anchors(zone, keyset)
        self._metrics.given.labels(zone.name).set(len(anchors.given))
        if not anchors.given and not anchors.having(Standing.ENDED):
            known.written = True  # nothing was ever given
            return
        files = self.files(zone, keyset)
        try:
            changed = await asyncio.to_thread(
                write_files, directory, files, settings.signing, self._clock.now()
            )
        except OSError as error:
            self._failed(zone, known, f"{error.filename or directory}: {error.strerror or error}")
        except CannotSign as error:
            self._failed(zone, known, str(error))
        else:
            self._done(zone, known, settings, changed=changed)

    def _failed(self, zone: FrontZone, known: Published, why: str) -> None:
        known.failures, known.trouble, known.written = known.failures + 1, why, False
        known.due = self._clock.monotonic() + RETRY.delay_s(known.failures)
        if self._zones.get(zone) is known:
            self._metrics.current.labels(zone.name).set(0)
            self._events.raise_event(UNPUBLISHED, zone.name, why)

    def _done(self, zone: FrontZone, known: Published, settings: AnchorsConfig, *, changed: bool) -> None:
        known.failures, known.trouble = 0, ""
        if self._zones.get(zone) is not known:
            return
        self._events.resolve(UNPUBLISHED, zone.name)
        now = self._clock.monotonic()
        if changed:
            log.info("trust anchors written", zone=zone.name, directory=str(self.directory(zone)))
        if changed or not known.written:
            # A web server that gets the files from here needs time: it is looked at after one interval.
            known.look_at = now + settings.interval
        if not settings.url:
            known.look_at, known.faults, known.looked_at = None, [], self._clock.now()
            self._events.resolve(OUTDATED, zone.name)
            self._metrics.current.labels(zone.name).set(1)
            self._metrics.looked.labels(zone.name).set(known.looked_at)
        known.written = True

    async def _look(self, zone: FrontZone, known: Published, down: str = "") -> str:
        """Compare what the web server gives out; return why it does not answer, "" if it does.

        down: why it did not answer a moment ago: it is not asked again.
        """
        directory, settings = self.directory(zone), self._config().anchors
        if directory is None or not settings.url or not known.written:
            return down
        known.look_at = self._clock.monotonic() + settings.interval
        if not down:
            try:
                known.faults = await differences(self.url(zone), directory)
            except Unreachable as error:
                down = str(error)
        if down:
            known.faults = [down]
        known.looked_at = self._clock.now()
        if self._zones.get(zone) is known:
            self._judge(zone, known)
        return down

    def _judge(self, zone: FrontZone, known: Published) -> None:
        assert known.looked_at is not None
        self._metrics.current.labels(zone.name).set(0 if known.faults else 1)
        self._metrics.looked.labels(zone.name).set(known.looked_at)
        if not known.faults:
            self._events.resolve(OUTDATED, zone.name)
            return
        more = len(known.faults) - NAMED_MAX
        text = "; ".join(known.faults[:NAMED_MAX]) + (f"; and {more} more" if more > 0 else "")
        self._events.raise_event(OUTDATED, zone.name, text)

    def _judge_certificate(self) -> None:
        now = self._clock.monotonic()
        if now < self._certificate_at:
            return
        self._certificate_at = now + CERTIFICATE_LOOK_S
        signing = self._config().anchors.signing
        soon: list[str] = []
        if signing.certificate is not None and self._zones:
            from dnssecd.config.mail_certificates import list_validity

            soon = [
                f"the certificate that {found.use} ({found.path}) ends at {minute(found.until)}"
                for found in list_validity(signing, "trust anchors")
                if found.until - self._clock.now() < NOTICE_S
            ]
        if soon:
            self._events.raise_event(EXPIRING, None, "; ".join(soon))
        else:
            self._events.resolve(EXPIRING)

    def _configured(self) -> None:
        """Compare all files again: directory, URL or certificate may have changed."""
        self._certificate_at = 0.0
        for zone, known in list(self._zones.items()):
            if zone.config.anchors:
                known.due, known.written = self._clock.monotonic(), False
            else:
                self._forget(zone)

    def _forget(self, zone: FrontZone) -> None:
        if self._zones.pop(zone, None) is not None:
            for name in (UNPUBLISHED, OUTDATED):
                self._events.resolve(name, zone.name)
            with suppress(KeyError):
                self._metrics.forget(zone.name)
