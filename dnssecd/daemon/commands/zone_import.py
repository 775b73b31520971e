"""``zone import``: import a file into a dynamic zone; and the hint for operators who edit such a zone's file."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dnssecd.control.command import Call, Command, Refused
from dnssecd.control.messages.zones import ImportZone, ZoneImported
from dnssecd.daemon.commands.common import configured_zone_of, octets_of, patiently, refusal
from dnssecd.daemon.zones.work import ZoneJobs
from dnssecd.daemon.zones.zone import FrontZone, ZoneGone
from dnssecd.ops.events import EventCore
from dnssecd.pipeline.jobs.input import ImportJob

_SUBJECT = "edited file"


class Imports:
    """Carries out ``zone.import``, and notices edits of files that are no longer read."""

    def __init__(self, zones: Mapping[str, FrontZone], jobs: ZoneJobs, events: EventCore) -> None:
        self._zones, self._jobs, self._events = zones, jobs, events
        self._comparing: set[asyncio.Task[None]] = set()

    def commands(self) -> list[Command[Any]]:
        """Return the command."""
        return [Command(ImportZone, self.import_zone, timeout=3600.0)]

    async def import_zone(self, call: Call[ImportZone]) -> ZoneImported:
        """Answer ``zone.import``."""
        request = call.request
        zone = self._zone(request.zone)
        path, merge = Path(request.path), request.how == "merge"
        octets = await asyncio.to_thread(octets_of, path)
        before = zone.serial
        permission = await self._jobs.permit(zone, first_publication=request.first_publication)
        if not permission.allowed:
            raise Refused(permission.cause, permission.remedy)
        job = ImportJob(
            path=str(path),
            merge=merge,
            accept_change=request.accept_change,
            serial_floor=permission.serial_floor,
        )
        outcome = await patiently(
            call, self._jobs.take(zone, "import", octets, imported=job), f"reading {path}"
        )
        if outcome.result not in ("published", "unchanged"):
            raise refusal(outcome, "; nothing was changed")
        self._jobs.took(zone, outcome, "import")
        self._events.resolve("input-error", zone.name, _SUBJECT)
        what = "merged" if merge else "replaced"
        call.note(f"zone {what} by import", str(path))
        changed = zone.serial != before
        message = f"{zone.name} is at serial {zone.serial}" + ("" if changed else ", nothing changed")
        return ZoneImported(
            zone=zone.name,
            changed=changed,
            serial=zone.serial,
            changed_rrsets=outcome.changed_rrsets,
            signatures=outcome.signatures,
            warnings=[warning.cause for warning in outcome.warnings],
            message=message,
        )

    def edited(self, zone: FrontZone) -> None:
        """Handle a change of a zone's file; if the file is read only once, report how to import it.

        A file that equals the zone (written by ``zone export``) does not count as an edit.
        """
        if zone.config.source == "dynamic" and zone.serial is not None and zone.config.file is not None:
            task = asyncio.get_running_loop().create_task(self._compare(zone, Path(zone.config.file)))
            self._comparing.add(task)
            task.add_done_callback(self._comparing.discard)

    async def _compare(self, zone: FrontZone, file: Path) -> None:
        try:
            octets = (await asyncio.to_thread(file.stat)).st_size
        except OSError:
            return  # the zone is gone: no action needed
        job = ImportJob(path=str(file), merge=False, compare=True)
        try:
            outcome = await self._jobs.take(zone, "import", octets, imported=job)
        except ZoneGone:
            return
        if outcome.result == "unchanged":
            self._events.resolve("input-error", zone.name, _SUBJECT)
            return
        self._events.raise_event(
            "input-error",
            zone.name,
            f"the edit of {file} is refused: the file of a dynamic zone is read once",
            subject=_SUBJECT,
            effect="none: content of a dynamic zone comes from updates only",
            remedy=f"to import the file: dnssecd zone import {zone.name} {file} --replace (or --merge)",
            severity="warning",
        )

    def _zone(self, name: str) -> FrontZone:
        zone = configured_zone_of(self._zones, name)
        if zone.config.source == "file":
            raise Refused(
                f"the content of {zone.name} comes from its file",
                f"edit {zone.config.file}; dnssecd reads it immediately",
            )
        if zone.config.source == "primaries":
            raise Refused(f"the content of {zone.name} comes from its primaries", "change the zone there")
        if zone.frozen:
            raise Refused(f"{zone.name} is frozen", f"dnssecd zone thaw {zone.name}")
        return zone
