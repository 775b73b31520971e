"""Apply the outcomes of jobs: serial and times, events, metrics, the catalogue, and the next job."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import structlog

from dnssecd.backoff import Backoff
from dnssecd.clock import Clock
from dnssecd.core.dns.serial import is_after
from dnssecd.daemon.zones import outcome_events as job_events
from dnssecd.daemon.zones.machine import Event, happened
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.rooms import ReviewRoom
from dnssecd.daemon.zones.schedule import Schedule, wake_of
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import Metrics
from dnssecd.pipeline.jobs.outcome import Outcome, Problem
from dnssecd.store import filemark
from dnssecd.store.catalogue import Catalogue
from dnssecd.store.errors import StoreError

RETRY = Backoff(5.0, 300.0)
DUE_MARGIN_S = 1
#: Due RRSIGs are renewed together, in intervals of this length or a tenth of the refresh, so that a steady
#: stream of them makes few versions.
RESIGN_STRIDE_S = 3600.0
#: The catalogue may lag behind a zone's updates by this much: the served version comes from the zone's own
#: database.
REMEMBER_S = 1.0

#: Jobs that bring content, complete or partial.
INPUT_KINDS = frozenset({"load", "transfer", "import", "adopt"})
#: Jobs that the requesting part tries again after a failure.
_NOT_RETRIED = frozenset({"update", "rekey", "transfer", "import", "adopt"})

log = structlog.get_logger("dnssecd.zones")


class Outcomes:
    """Applies outcomes to the zone, and requests the next job (``mailbox.wanted``). Belongs to the event loop."""

    def __init__(
        self,
        zones: Mapping[str, FrontZone],
        events: EventCore,
        metrics: Metrics,
        catalogue: Catalogue,
        clock: Clock,
        schedule: Schedule,
        mailbox: Mailbox,
    ) -> None:
        self._zones, self._events, self._metrics, self._catalogue = zones, events, metrics, catalogue
        self._clock, self._schedule, self._mailbox = clock, schedule, mailbox
        self._on_due = self._resign
        self._unremembered: set[FrontZone] = set()
        mailbox.key_service_recovered.subscribe(self.retry_failed)
        mailbox.removed.subscribe(self.forget)

    def forget(self, zone: FrontZone) -> None:
        """Stop writing about a removed zone."""
        self._learnt(zone)

    def close(self) -> None:
        """Write the pending catalogue entries."""
        for zone in list(self._unremembered):
            self.remember(zone)

    def take_over(self, zone: FrontZone, outcome: Outcome, kind: str) -> None:
        """Apply the outcome of a job to the zone, its events, metrics and catalogue entry."""
        if zone.gone:
            return
        before = zone.serial
        zone.first = None
        if kind != "update":
            outcome = self._believed(zone, outcome)
        zone.signatures_made = outcome.signatures
        self._count(outcome, kind)
        _log(outcome, kind)
        job_events.report(self._events, outcome, load=kind in INPUT_KINDS)
        if kind in INPUT_KINDS or (outcome.result == "failed" and kind != "rekey"):
            zone.problems = outcome.problems
        if kind in INPUT_KINDS:
            zone.warnings = outcome.warnings
            zone.files = outcome.files or zone.files
            zone.stripped = outcome.stripped
        if (
            outcome.serial is not None and zone.doubt is None
        ):  # otherwise it was found damaged while the job ran
            self._served(zone, outcome)
            if kind == "update":
                self._remember_soon(zone)
            else:
                self.remember(zone)
        if zone.spec.review is not None:
            _note_review(zone, outcome, kind)
        repeated = ("failed", "retry") if kind in INPUT_KINDS else ("failed", "retry", "rejected")
        if outcome.result in repeated and kind not in _NOT_RETRIED:
            self.retry(zone, kind)
        else:
            zone.jobs.succeed(kind)
            self.wake_when_due(zone, renewed=(kind, outcome.result) != ("resign", "unchanged"))
        if zone.serial is not None and zone.serial != before:
            self._mailbox.published.send(zone)
        self._mailbox.finished.send(zone)

    def _believed(self, zone: FrontZone, outcome: Outcome) -> Outcome:
        """Return an outcome unchanged, or as a failure if its version is not in the database that is served from."""
        if outcome.serial is None or outcome.serial == zone.serial:
            return outcome
        if _is_as_written(zone, outcome):
            zone.first = outcome.first
            return outcome
        try:
            with zone.database.snapshot() as snapshot:
                held = snapshot.serial
        except (StoreError, OSError) as error:
            held, why = None, str(error)
        else:
            why = f"it has serial {held}"
        if held is not None and not is_after(outcome.serial, held):
            return outcome
        cause = f"a worker made serial {outcome.serial}, which is not in {zone.spec.database}: {why}"
        remedy = "dnssecd tries again; check whether another program moves or replaces files in state_dir"
        return Outcome(zone=zone.name, result="failed", problems=(Problem("store-failed", cause, remedy),))

    def _served(self, zone: FrontZone, outcome: Outcome) -> None:
        """Apply the data of the zone's database."""
        zone.serial = outcome.serial
        happened(zone, Event.PUBLISHED)
        zone.earliest_expiration = outcome.earliest_expiration
        zone.next_due = outcome.next_due
        zone.refresh_s = outcome.refresh_s
        zone.records = outcome.records
        if outcome.whole:
            zone.verified_at = self._clock.now()
        if outcome.input_serial is not None and outcome.result != "rejected":
            zone.input_serial = outcome.input_serial
        if outcome.result == "published":
            zone.published_at = self._clock.now()
        self.measure(zone)

    def measure(self, zone: FrontZone) -> None:
        """Bring the zone's gauges up to date."""
        metrics = self._metrics.zone
        for gauge, value in (
            (metrics.serial, zone.serial),
            (metrics.input_serial, zone.input_serial),
            (metrics.earliest_expiration, zone.earliest_expiration),
            (metrics.refresh, zone.refresh_s if zone.earliest_expiration is not None else None),
            (metrics.last_published, zone.published_at),
            (metrics.records, zone.records),
        ):
            if value is not None:
                gauge.labels(zone.name).set(value)

    def _count(self, outcome: Outcome, kind: str) -> None:
        metrics = self._metrics.zone
        metrics.signatures.inc(outcome.signatures)
        if kind in INPUT_KINDS:
            result = {"published": "changed", "unchanged": "unchanged"}.get(outcome.result, "rejected")
            metrics.loads.labels(result).inc()
            metrics.load_seconds.observe(outcome.seconds.get("all", 0.0))
            metrics.stripped.inc(outcome.stripped)
        if outcome.result == "published":
            metrics.versions.inc()
            metrics.verifications.labels("ok").inc()
        if any(problem.event == "verification-failed" for problem in outcome.problems):
            metrics.verifications.labels("failed").inc()
        if any(problem.event == "store-failed" for problem in outcome.problems):
            metrics.store_errors.inc()

    def wake_when_due(self, zone: FrontZone, *, renewed: bool = True) -> None:
        """Schedule the next renewal of signatures.

        renewed: False after a renewal that could renew nothing: signatures by a lost key stay due until it is replaced.
        """
        if zone.next_due is None:
            return
        stride = max(min(RESIGN_STRIDE_S, zone.refresh_s / 10), DUE_MARGIN_S)
        when = zone.next_due + stride
        if not renewed:
            when = max(when, self._clock.now() + stride)
        waiting = wake_of(zone, "resign")
        if waiting is not None and waiting.at == when:
            return  # as after nearly every update
        self._schedule.wake(zone, "resign", when, self._on_due)

    def _resign(self, zone: FrontZone) -> None:
        self._mailbox.wanted.send(zone, "resign")

    def retry(self, zone: FrontZone, kind: str) -> None:
        """Schedule a failed job again, after a back-off."""
        if zone.gone:
            return
        when = self._clock.now() + RETRY.delay_s(zone.jobs.fail(kind))
        self._schedule.wake(zone, kind, when, lambda zone: self._mailbox.wanted.send(zone, kind))

    def remember(self, zone: FrontZone) -> None:
        """Write a zone's catalogue entry."""
        if zone.gone:
            return
        self._learnt(zone)
        self._catalogue.put(zone.catalogue_entry())
        self._mailbox.remembered.send(zone)

    def _remember_soon(self, zone: FrontZone) -> None:
        if zone.jobs.remember is None:
            handle = asyncio.get_running_loop().call_later(REMEMBER_S, self.remember, zone)
            zone.jobs.remember = handle
            self._unremembered.add(zone)

    def _learnt(self, zone: FrontZone) -> None:
        self._unremembered.discard(zone)
        if zone.jobs.remember is not None:
            zone.jobs.remember.cancel()
            zone.jobs.remember = None

    def retry_failed(self) -> None:
        """Retry failed signing now, because the key service, or one of its tokens, is available again."""
        for zone in self._zones.values():
            if any(problem.event == "signing-failed" for problem in zone.problems):
                for kind in zone.jobs.retry():
                    self._mailbox.wanted.send(zone, kind)


def _is_as_written(zone: FrontZone, outcome: Outcome) -> bool:
    """Tell whether the zone's database is the file that the worker has written, whole, and not written since."""
    with suppress(OSError):
        return outcome.mark is not None and filemark.take(zone.spec.database) == outcome.mark
    return False


def _note_review(zone: FrontZone, outcome: Outcome, kind: str) -> None:
    """Remember the content that waits for an operator; a decision counts until its content is published."""
    if kind not in INPUT_KINDS:
        return
    if zone.review is None:
        zone.review = ReviewRoom()
    zone.review.waiting = outcome.review
    if outcome.result == "published" or outcome.review:
        zone.review.approved = ""


def _log(outcome: Outcome, kind: str) -> None:
    fields: dict[str, Any] = {"zone": outcome.zone, "serial": outcome.serial}
    if outcome.result == "published":
        log.info(
            "zone published",
            **fields,
            changed=outcome.changed_rrsets,
            chain=outcome.chain_changes,
            signatures=outcome.signatures,
            seconds=round(outcome.seconds.get("all", 0.0), 3),
        )
    elif outcome.result == "unchanged":
        log.info("zone unchanged", **fields, job=kind)
    for warning in outcome.warnings:
        log.warning("zone warning", zone=outcome.zone, cause=warning.cause)
