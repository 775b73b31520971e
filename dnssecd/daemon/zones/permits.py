"""Permission to publish: it is needed for first publications, zones in doubt, and zones from a backup."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import structlog

from dnssecd.clock import Clock
from dnssecd.config.model import Config
from dnssecd.daemon.zones import outcome_events as job_events
from dnssecd.daemon.zones.first_keys_ready import (
    KEY_WANTED,
    NOT_BACKED_UP,
    NOT_HELD,
    keys_lacking,
    keys_unheld,
    keys_unsaved,
)
from dnssecd.daemon.zones.first_publication import CAME_BACK, Earlier, Permission, ask_permission
from dnssecd.daemon.zones.job_runner import JobRunner
from dnssecd.daemon.zones.key_holders import Holders
from dnssecd.daemon.zones.key_lists import KeyLists
from dnssecd.daemon.zones.machine import Event, happened
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.outcomes import Outcomes
from dnssecd.daemon.zones.restored_zone import EVENT, may_return
from dnssecd.daemon.zones.start_up import read
from dnssecd.daemon.zones.zone import Doubt, FrontZone
from dnssecd.keyservice_client.client import AsyncSignerClient
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import Metrics
from dnssecd.pipeline.jobs.load import adoption_awaited
from dnssecd.pipeline.jobs.outcome import Outcome, Problem
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.ahead import read_ceremony
from dnssecd.pipeline.version.first_keys import held_keys
from dnssecd.pipeline.workers.pool import BULK_OCTETS
from dnssecd.replacing import replace
from dnssecd.store import filemark
from dnssecd.store.aside import DIRECTORY, has_kept, kept_of
from dnssecd.store.errors import StoreError
from dnssecd.store.filemark import FileMark

#: Events that say why a zone may not be published.
_PERMITS = (
    "first-publication-waiting",
    "foreign-dnskey",
    "ds-mismatch",
    KEY_WANTED,
    NOT_BACKED_UP,
    NOT_HELD,
    CAME_BACK,
    EVENT,
)
#: Events that say why a stored zone is not served.
PROOF_EVENTS = ("verification-failed", "store-failed")

log = structlog.get_logger("dnssecd.zones")


class Permits:
    """Opens a zone's own gates if that is allowed. Belongs to the event loop."""

    def __init__(
        self,
        config: Callable[[], Config],
        runner: JobRunner,
        outcomes: Outcomes,
        signer: AsyncSignerClient,
        events: EventCore,
        metrics: Metrics,
        clock: Clock,
        mailbox: Mailbox,
        holders: Holders | None = None,
    ) -> None:
        self._holders = holders
        self._config, self._runner, self._outcomes, self._signer = config, runner, outcomes, signer
        self._events, self._metrics, self._clock, self._mailbox = events, metrics, clock, mailbox
        self._key_lists = KeyLists(signer)

    async def permit(self, zone: FrontZone, *, first_publication: bool = False) -> Permission:
        """Return whether the zone may be published; if not, raise an event and try again later. May raise ZoneGone.

        first_publication: an operator allows it although the parent cannot be queried.
        """
        if zone.doubt is not None:
            refused = await self.prove(zone)
            if refused is not None:
                return refused
        if zone.held is not None:
            return await self._bring_back(zone, unheard=first_publication)
        permission = Permission(True)
        if zone.serial is None and not zone.spec.verify_only:
            # A thread for each of thousands of new zones would cost more than these looks at directories.
            stored = os.path.exists(zone.spec.database)
            if stored and await asyncio.to_thread(_comes_over, zone):
                zone.check()
                permission = Permission(
                    False, None, "first-publication-waiting", *adoption_awaited(zone.name)
                )
                self._blocked(zone, permission)
                return permission
            zone.check()
            permission = await self._permission(zone)
            zone.check()
            waits = permission.event == "first-publication-waiting"
            if not permission.allowed and not (first_publication and waits):
                self._blocked(zone, permission)
                return permission
        zone.blockers = ()
        for name in _PERMITS:
            self._events.resolve(name, zone.name)
        return Permission(True, permission.serial_floor)

    async def prove(self, zone: FrontZone) -> Permission | None:
        """Verify a stored zone in doubt as a whole, then serve it; or return why it is not served."""
        assert zone.doubt is not None
        doubt = zone.doubt
        mark = mark_now(zone)
        if doubt.refusal is None or doubt.mark != mark:
            known = None if doubt.entry is None else doubt.entry.serial
            job = self._runner.job(zone, "prove", serial_floor=known)
            outcome = await self._runner.run(zone, job, mark.size if mark else 0)
            if zone.doubt is not doubt:
                return None  # another check of it ended meanwhile, with its own result
            self._metrics.zone.verifications.labels("ok" if outcome.whole else "failed").inc()
            if not outcome.problems:
                return self._proven(zone, outcome)
            zone.doubt = replace(doubt, refusal=outcome.problems[0], mark=mark)
            if outcome.problems[0].event not in PROOF_EVENTS:  # for example, the worker died
                zone.doubt = doubt
            doubt = replace(doubt, refusal=outcome.problems[0])
        assert doubt.refusal is not None
        event = doubt.refusal.event if doubt.refusal.event in PROOF_EVENTS else "store-failed"
        permission = Permission(False, None, event, doubt.refusal.cause, doubt.refusal.remedy)
        self._blocked(zone, permission)
        return permission

    def _proven(self, zone: FrontZone, outcome: Outcome) -> Permission | None:
        """Serve a zone in doubt as it is stored; a Permission says why this is impossible."""
        zone.doubt = zone.mark = None  # the next mark is that of the file that was verified
        try:
            read(zone)
        except (StoreError, OSError) as error:
            zone.doubt = Doubt(str(error))
            permission = Permission(False, event="store-failed", cause=str(error))
            self._blocked(zone, permission)
            return permission
        zone.blockers, zone.problems = (), ()
        for name in (*_PERMITS, *PROOF_EVENTS):
            self._events.resolve(name, zone.name)
        zone.jobs.succeed("load")
        if zone.serial is not None:
            zone.verified_at = self._clock.now()
            log.info("stored zone verified; it is served", zone=zone.name, serial=zone.serial)
            self._outcomes.measure(zone)
            self._outcomes.remember(zone)
            self._outcomes.wake_when_due(zone)
            self._mailbox.published.send(zone)
        self._mailbox.finished.send(
            zone
        )  # also without a version: a node of a cluster then follows the zone's log
        self._mailbox.wanted.send(zone, "resign" if zone.orphan else "load")
        return None

    async def _bring_back(self, zone: FrontZone, *, unheard: bool) -> Permission:
        """Publish a restored zone with a serial after all public ones; or return why it may not be published yet."""
        permission = await self._may_return(zone, unheard)
        zone.check()
        if permission.allowed:
            job = self._runner.job(
                zone, "return", serial_floor=permission.serial_floor, at_parent=permission.at_parent
            )
            outcome = await self._runner.run(zone, job, BULK_OCTETS)
            if outcome.result in ("published", "unchanged"):
                self._brought_back(zone, outcome)
                return Permission(True)
            job_events.report(self._events, outcome, load=False)
            problem = outcome.problems[0]
            permission = Permission(False, event=EVENT, cause=problem.cause, remedy=problem.remedy)
            if zone.spec.verify_only and problem.event == "verification-failed":
                self._await_input(zone)
        self._blocked(zone, permission)
        return permission

    def _await_input(self, zone: FrontZone) -> None:
        """Have the input of a passed zone read, as its restored version can be served no more.

        The note that it was restored stays with that version until another one replaces it.
        """
        zone.held = None
        happened(zone, Event.EMPTY)
        self._mailbox.wanted.send(zone, "load")

    async def _may_return(self, zone: FrontZone, unheard: bool) -> Permission:
        assert zone.held is not None
        try:
            with zone.database.snapshot() as snapshot:
                keyset = state.keyset_from(snapshot.state(state.KEYSET))
                keyset = state.keys_used(snapshot.version, keyset)
        except (StoreError, OSError) as error:
            return Permission(False, event="store-failed", cause=str(error))
        if keyset is None:
            return Permission(True)
        now = self._clock.now
        return await may_return(zone, self._config(), keyset, zone.held, now, unheard=unheard)

    def _brought_back(self, zone: FrontZone, outcome: Outcome) -> None:
        zone.held, zone.blockers, zone.problems = None, (), ()
        if outcome.serial is None:
            happened(zone, Event.EMPTY)
        for name in _PERMITS:
            self._events.resolve(name, zone.name)
        self._outcomes.take_over(zone, outcome, "return")
        zone.jobs.succeed("load")
        self._mailbox.wanted.send(zone, "load")

    async def _permission(self, zone: FrontZone) -> Permission:
        try:
            keys = await self._key_lists.keys(zone.origin)
        except SignerError as error:
            self._outcomes.retry(zone, "load")
            return Permission(
                False,
                event="signing-failed",
                cause=str(error),
                remedy="the zone is signed when the key service answers",
            )
        held = held_keys(zone.spec, keys)
        lacking = keys_lacking(zone, held)
        if lacking is not None:
            return lacking
        ours = [key.dnskey for key in held.values()]
        if zone.spec.offline:
            ours += await asyncio.to_thread(_offline_ksks, zone)
        path = Path(zone.spec.database)
        try:
            kept = await asyncio.to_thread(kept_of, path) if has_kept(path) else []
        except OSError as error:
            cause = f"{path.parent / DIRECTORY} cannot be read: {error.strerror}"
            return Permission(False, event="store-failed", cause=cause, remedy="check permissions and disk")
        earlier = Earlier(tuple(key.dnskey for key in keys), kept[0] if kept else None)
        permission = await ask_permission(zone, self._config(), ours, self._clock.now, earlier)
        if not permission.allowed:
            return permission
        try:
            unready = await keys_unsaved(zone, self._signer, held)
            unready = unready or await keys_unheld(zone, self._signer, held, self._holders)
            return unready or permission
        except SignerError as error:
            return Permission(False, event="signing-failed", cause=str(error))
        except (StoreError, OSError) as error:
            return Permission(False, event="store-failed", cause=str(error))

    def _blocked(self, zone: FrontZone, permission: Permission) -> None:
        zone.blockers = (permission.cause,)
        zone.problems = (Problem(permission.event, permission.cause, permission.remedy),)
        self._events.raise_event(
            permission.event, zone.name, permission.cause, remedy=permission.remedy or None
        )
        self._outcomes.retry(zone, "load")


def _offline_ksks(zone: FrontZone) -> tuple[bytes, ...]:
    """Return the off-line KSKs (DNSKEY RDATA) of responses that were imported before the first publication."""
    if not Path(zone.spec.database).exists():
        return ()
    try:
        with zone.database.snapshot() as snapshot:
            return read_ceremony(snapshot).ksks
    except (StoreError, OSError):
        return ()


def _comes_over(zone: FrontZone) -> bool:
    """Tell whether a zone waits for adoption from another signer; a failing database is reported elsewhere."""
    try:
        with zone.database.snapshot() as snapshot:
            return bool(state.foreign_keys(snapshot.state(state.ADOPTION)))
    except (StoreError, OSError):
        return False


def mark_now(zone: FrontZone) -> FileMark | None:
    """Return the present mark of a zone's database; None if it cannot be taken."""
    try:
        return filemark.take(zone.spec.database)
    except OSError:
        return None
