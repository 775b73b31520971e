"""Backups of keys where the policy requires them: the evidence, and an event for each key without any."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dnssecd.config.model import Config, SoftwareKeystore
from dnssecd.control.command import Call, Command, Refused
from dnssecd.control.messages.keys import BackupsConfirmed, ConfirmBackup, describe_key
from dnssecd.core.keys.backup_gate import LOOK_S, RULE
from dnssecd.core.keys.evidence import Evidence, KeyBackup
from dnssecd.core.keys.keyset import Key, Keyset
from dnssecd.core.keys.types import Plan
from dnssecd.core.utc import moment
from dnssecd.daemon.commands.common import zone_of
from dnssecd.daemon.commands.key import ask_service
from dnssecd.daemon.rollover.engine import RolloverListener, Rollovers
from dnssecd.daemon.rollover.evidence import backup_row, write_evidence
from dnssecd.daemon.zones.first_keys_ready import NOT_BACKED_UP
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.keyservice_protocol import KeyInfo
from dnssecd.ops.events import EventCore
from dnssecd.uninterrupted import to_the_end


class Backups(RolloverListener):
    """Takes confirmations of backups, and keeps the events of keys that have none."""

    def __init__(
        self,
        rollovers: Rollovers,
        events: EventCore,
        zones: Mapping[str, FrontZone],
        config: Callable[[], Config],
        mailbox: Mailbox,
    ) -> None:
        self._rollovers, self._events, self._zones = rollovers, events, zones
        self._config, self._mailbox = config, mailbox

    def commands(self) -> list[Command[Any]]:
        """Return the command ``key.backup-confirm``."""
        return [Command(ConfirmBackup, self.confirm)]

    def planned(self, zone: FrontZone, keyset: Keyset, plan: Plan, evidence: Evidence) -> float | None:
        """Raise the event for each key without a backup; return when to look for it in several tokens."""
        saved = {backup.key_id for backup in evidence.backups}
        required = zone.spec.require_backup
        lacking = {_subject(key): key for key in plan.keyset.keys if required and _needs(zone, key, saved)}
        for subject, key in lacking.items():
            cause = f"{key.role.value} {key.tag} in key store {key.keystore} has no confirmed backup"
            self._events.raise_event(NOT_BACKED_UP, zone.name, cause, subject=subject)
        for event in self._events.firing(zone.name):
            if event.name == NOT_BACKED_UP and event.subject and event.subject not in lacking:
                self._events.resolve(NOT_BACKED_UP, zone.name, event.subject)
        waits = any(blocker.rule == RULE for blocker in plan.blockers)
        return self._rollovers.engine.clock.now() + LOOK_S if waits else None

    async def confirm(self, call: Call[ConfirmBackup]) -> BackupsConfirmed:
        """Answer ``key.backup-confirm``."""
        request = call.request
        infos = await self._named(request)
        now = int(self._rollovers.engine.clock.now())
        detail = f"{request.detail}, confirmed by {call.caller.user} at {moment(now)}"
        for info in infos:
            for zone in self._using(info):
                await to_the_end(self._record(zone, KeyBackup(info.id, now, detail)))
            call.note("backup confirmed", f"{info.role} {info.tag}: {request.detail}")
        count = len(infos)
        return BackupsConfirmed(
            keys=[describe_key(info) for info in infos],
            message=f"{count} {'key counts' if count == 1 else 'keys count'} as backed up: {request.detail}",
        )

    async def _named(self, request: ConfirmBackup) -> list[KeyInfo]:
        """Return the keys that a request names; Refused."""
        signer = self._rollovers.engine.signer
        if request.zone is not None and request.key_tag is not None:
            zone = zone_of(self._zones, request.zone)
            held = [key for key in await ask_service(signer.keys(zone.origin)) if key.tag == request.key_tag]
            if not held:
                raise Refused(
                    f"the key stores hold no key {request.key_tag} of {zone.name}",
                    "dnssecd key list --stored",
                )
            if isinstance(self._config().keystores.get(held[0].store), SoftwareKeystore):
                raise Refused(
                    f"key {request.key_tag} is in a software key store: its backup can be opened",
                    "dnssecd key backup --confirm FILE",
                )
            return held[:1]
        by_id = {info.id: info for info in await ask_service(signer.keys(b""))}
        unknown = [key for key in request.keys if key not in by_id]
        if unknown or not request.keys:
            raise Refused(
                "the request names no key that is here", "name a backup of keys of this key service"
            )
        return [by_id[key] for key in request.keys]

    def _using(self, info: KeyInfo) -> Iterable[FrontZone]:
        return [zone for zone in self._zones.values() if zone.origin in info.zones]

    async def _record(self, zone: FrontZone, backup: KeyBackup) -> None:
        keys = self._rollovers.of(zone)
        async with keys.turn, zone.jobs.turn:
            await asyncio.to_thread(write_evidence, zone.database, [backup_row(backup)])
            keys.take(lambda evidence: evidence.saved(backup))
            keys.not_before = 0.0
        if zone.serial is None:
            self._mailbox.wanted.send(zone, "load")
        else:
            self._rollovers.ask(zone, urgent=True)


def _needs(zone: FrontZone, key: Key, saved: set[str]) -> bool:
    return (
        not (key.revoked or key.lost or key.foreign)
        and key.key_id not in saved
        and key.keystore not in zone.spec.offline
    )


def _subject(key: Key) -> str:
    return f"key {key.tag}"
