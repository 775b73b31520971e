"""The command ``audit``: gather what daemon and key service report, and have a profile judged."""

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any

from dnssecd.clock import Clock
from dnssecd.config.audit.table import judge_profile
from dnssecd.config.audit.terms import Finding, Firing, Seen, UsedKey
from dnssecd.config.model import Config
from dnssecd.control.command import Call, Command
from dnssecd.control.messages.audits import AuditReport, Requirement, RunAudit
from dnssecd.daemon.commands.common import configured_zone_of, patiently
from dnssecd.daemon.commands.key import DEADLINE_S
from dnssecd.daemon.commands.key_list import READ_AT_ONCE, read_keyset
from dnssecd.daemon.key_service import SignerLink
from dnssecd.daemon.rollover.evidence import read_evidence
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.keyservice_client.client import AsyncSignerClient
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.keyservice_protocol import AuditReply
from dnssecd.ops.events import EventCore
from dnssecd.store.errors import StoreError

#: Time for reading the zones' databases, beside that of the key service.
LOCAL_S = 60.0


class AuditCommand:
    """The handler; one instance per daemon. client: a connection to the key service for commands."""

    def __init__(
        self,
        config: Callable[[], Config],
        zones: Mapping[str, FrontZone],
        client: AsyncSignerClient,
        service: SignerLink,
        events: EventCore,
        clock: Clock,
    ) -> None:
        self._config, self._zones, self._client = config, zones, client
        self._service, self._events, self._clock = service, events, clock

    def commands(self) -> list[Command[Any]]:
        """Return the command."""
        return [Command(RunAudit, self.run, timeout=DEADLINE_S + LOCAL_S)]

    async def run(self, call: Call[RunAudit]) -> AuditReport:
        """Answer ``audit``."""
        wanted, profile = call.request.zone, call.request.profile
        every = [zone for zone in self._zones.values() if not zone.orphan]
        zones = every if wanted is None else [configured_zone_of(self._zones, wanted)]
        # Key service and zones together may take longer than a client waits without a report.
        seen = await patiently(call, self._look(zones), "reading keys and the log of the key service")
        config = self._config()
        names = tuple(zone.name for zone in zones if zone.name in config.zones)
        findings = judge_profile(profile, config, names, seen)
        return AuditReport(
            profile=profile,
            zones=list(names),
            ok=all(finding.judgement.verdict == "met" for finding in findings),
            requirements=[_describe(finding) for finding in findings],
        )

    async def _look(self, zones: list[FrontZone]) -> Seen:
        """Return what can be observed now; a part that cannot be read is left open, not guessed."""
        keys: list[UsedKey] = []
        unread: list[str] = []
        for start in range(0, len(zones), READ_AT_ONCE):
            some = zones[start : start + READ_AT_ONCE]
            found, failed = await asyncio.to_thread(_read_keys, some, self._clock.now())
            keys += found
            unread += failed
        status = self._service.last
        log_fault, log_fault_at = self._service.last_log_fault
        return Seen(
            now=self._clock.now(),
            daemon_user=os.geteuid(),
            users=self._service.place.owners,
            status=status,
            log=None if status is None else await self._check_log(),
            firing=tuple(
                Firing(event.name, event.zone or "", event.subject or "", event.cause)
                for event in self._events.firing()
            ),
            keys=tuple(keys),
            unread=tuple(unread),
            log_fault=log_fault,
            log_fault_at=log_fault_at,
        )

    async def _check_log(self) -> AuditReply | None:
        """Return the state of the audit log, None without an answer: the audit then says what is not known."""
        try:
            return await self._client.audit(1)
        except SignerError:
            return None


def _read_keys(zones: list[FrontZone], now: float) -> tuple[list[UsedKey], list[str]]:
    """Return the keys in use of zones, and the zones that cannot be read."""
    found: list[UsedKey] = []
    failed: list[str] = []
    for zone in zones:
        try:
            keyset = read_keyset(zone)
            backups = {} if keyset is None else read_evidence(zone.database, now).backups
        except (StoreError, OSError):
            failed.append(zone.name)
            continue
        for key in () if keyset is None else keyset.keys:
            backup = backups.get(key.key_id)
            at = None if backup is None else backup.at
            found.append(UsedKey(zone.name, key.role.value, key.tag, key.keystore, at))
    return found, failed


def _describe(finding: Finding) -> Requirement:
    row, judgement = finding.requirement, finding.judgement
    return Requirement(
        id=row.id,
        text=row.text,
        source=row.source,
        verdict=judgement.verdict,
        seen=judgement.seen,
        change=row.change,
    )
