"""Commands for content that waits for an operator: ``zone.approve``, ``zone.reject``."""

from collections.abc import Mapping
from typing import Any

from dnssecd.control.command import Call, Command, Refused
from dnssecd.control.messages.zones import ApproveZone, RejectZone, ReloadZone, ZoneReviewed
from dnssecd.daemon.commands.common import zone_of
from dnssecd.daemon.commands.zone_reload import COMMAND_S, ZoneReload
from dnssecd.daemon.zones.rooms import ReviewRoom
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.pipeline.version.review import REFUSED, WAITING


class ZoneReview:
    """The handlers; one instance per daemon."""

    def __init__(self, zones: Mapping[str, FrontZone], reload: ZoneReload, events: EventCore) -> None:
        self._zones, self._reload, self._events = zones, reload, events

    def commands(self) -> list[Command[Any]]:
        """Return the commands."""
        return [
            Command(ApproveZone, self.approve, timeout=COMMAND_S),
            Command(RejectZone, self.reject),
        ]

    async def approve(self, call: Call[ApproveZone]) -> ZoneReviewed:
        """Answer ``zone.approve``: the input is read again, and published if its content is still the same."""
        zone, room = self._waiting(call.request.zone)
        room.approved, room.refused = room.waiting, ""
        # The operator has seen what changes: the delta guard has nothing to add.
        request = ReloadZone(
            zone=zone.name, accept_change=True, first_publication=call.request.first_publication
        )
        done = await self._reload.reload(call.with_request(request))
        return ZoneReviewed(zone=zone.name, changed=done.changed, serial=done.serial, message=done.message)

    async def reject(self, call: Call[RejectZone]) -> ZoneReviewed:
        """Answer ``zone.reject``."""
        zone, room = self._waiting(call.request.zone)
        room.refused, room.waiting, room.approved = room.waiting, "", ""
        cause = f"{call.caller.user} refused the content of {zone.name} that waited for a review"
        self._events.resolve(WAITING, zone.name)
        self._events.raise_event(REFUSED, zone.name, cause)
        message = f"the content is refused; {zone.name} is still served at serial {zone.serial}"
        return ZoneReviewed(zone=zone.name, changed=True, serial=zone.serial, message=message)

    def _waiting(self, name: str) -> tuple[FrontZone, ReviewRoom]:
        zone = zone_of(self._zones, name)
        if zone.review is None or not zone.review.waiting:
            raise Refused(
                f"no content of {zone.name} waits for an operator", f"see: dnssecd status {zone.name}"
            )
        return zone, zone.review
