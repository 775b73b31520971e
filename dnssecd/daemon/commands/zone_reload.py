"""The command ``zone.reload``: read a zone's file again, transfer it again, or publish a restored zone."""

from collections.abc import Mapping
from typing import Any

from dnssecd.control.command import Call, Command, Refused
from dnssecd.control.messages.zones import ReloadZone, ZoneReloaded
from dnssecd.daemon.commands.common import patiently, refusal, zone_of
from dnssecd.daemon.zones.first_publication import Permission
from dnssecd.daemon.zones.primaries import Primaries, Wish
from dnssecd.daemon.zones.work import ZoneJobs
from dnssecd.daemon.zones.zone import FrontZone

COMMAND_S = 3600.0


class ZoneReload:
    """The handler; one instance per daemon."""

    def __init__(self, zones: Mapping[str, FrontZone], jobs: ZoneJobs, primaries: Primaries) -> None:
        self._zones, self._jobs, self._primaries = zones, jobs, primaries

    def commands(self) -> list[Command[Any]]:
        """Return the command."""
        return [Command(ReloadZone, self.reload, timeout=COMMAND_S)]

    async def reload(self, call: Call[ReloadZone]) -> ZoneReloaded:
        """Answer ``zone.reload``, depending on the source of the zone."""
        zone = zone_of(self._zones, call.request.zone)
        if zone.held is not None:
            return await self._publish_restored(zone, call)
        if zone.config.source == "primaries":
            return await self._transfer(zone, call)
        return await self._load(zone, call)

    async def _publish_restored(self, zone: FrontZone, call: Call[ReloadZone]) -> ZoneReloaded:
        """Publish a restored zone; raise Refused while it may not be."""
        permission = await self._jobs.permit(zone, first_publication=call.request.first_publication)
        if not permission.allowed:
            raise Refused(permission.cause, permission.remedy)
        return ZoneReloaded(
            zone=zone.name,
            changed=True,
            serial=zone.serial,
            signatures=zone.signatures_made or 0,
            message=f"{zone.name} is published again, at serial {zone.serial}",
        )

    async def _transfer(self, zone: FrontZone, call: Call[ReloadZone]) -> ZoneReloaded:
        """Query the primaries now; with ``accept_change`` the whole zone is transferred, with any serial."""
        if zone.frozen:
            raise Refused(f"{zone.name} is frozen and takes no input", f"dnssecd zone thaw {zone.name}")
        before, accept = zone.serial, call.request.accept_change
        wish = Wish(replace=accept, first=call.request.first_publication, asked=True)
        checked = await patiently(call, self._primaries.fetch_now(zone, wish), "fetching")
        if checked.permission is not None:
            raise Refused(checked.permission.cause, checked.permission.remedy)
        if checked.failure:
            raise Refused(
                checked.failure,
                "see the log, and check that the primaries allow this host to transfer the zone",
            )
        outcome = checked.outcome
        if outcome is not None and outcome.result not in ("published", "unchanged"):
            raise refusal(outcome)
        if accept and outcome is not None and outcome.result == "published":
            call.note("fetched whole, delta guard overridden")
        return _report(zone, before, outcome.signatures if outcome is not None else 0)

    async def _load(self, zone: FrontZone, call: Call[ReloadZone]) -> ZoneReloaded:
        """Read the zone's file."""
        _check_has_input(zone)
        before, accept = zone.serial, call.request.accept_change
        ended = await self._jobs.load(
            zone,
            accept_change=accept,
            accept_older=call.request.accept_older,
            first_publication=call.request.first_publication,
        )
        if isinstance(ended, Permission):
            raise Refused(ended.cause, ended.remedy)
        if accept and ended.result == "published":
            call.note("delta guard overridden")
        if call.request.accept_older and ended.result == "published":
            call.note("an older input accepted")
        if ended.result not in ("published", "unchanged"):
            raise refusal(ended)
        return _report(zone, before, ended.signatures)


def _report(zone: FrontZone, before: int | None, signatures: int) -> ZoneReloaded:
    changed = zone.serial != before
    return ZoneReloaded(
        zone=zone.name,
        changed=changed,
        serial=zone.serial,
        signatures=signatures,
        message=f"{zone.name} is at serial {zone.serial}" + ("" if changed else ", nothing changed"),
    )


def _check_has_input(zone: FrontZone) -> None:
    """Refuse a zone that has no input to read, or must not take input."""
    if zone.orphan:
        raise Refused(
            f"{zone.name} is not in the configuration; its last version is served",
            f"put it back there, or: dnssecd config reload --remove {zone.name}",
        )
    if zone.frozen:
        raise Refused(f"{zone.name} is frozen and takes no input", f"dnssecd zone thaw {zone.name}")
    if zone.config.source == "dynamic" and zone.serial is not None:
        raise Refused(
            f"the content of {zone.name} comes from updates: its file is read once",
            f"to import a file: dnssecd zone import {zone.name} FILE --replace (or --merge)",
        )
    if zone.config.file is None:
        raise Refused(
            f"{zone.name} has no file to reload",
            f"dnssecd zone import {zone.name} FILE --replace (or --merge)",
        )
