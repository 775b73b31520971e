"""Commands about alerts: list those that fire, and acknowledge them."""

from collections.abc import Mapping
from typing import Any

from dnssecd.control.command import Call, Command
from dnssecd.control.messages.alerts import AcknowledgeAlert, Acknowledged, Alert, Alerts, ListAlerts
from dnssecd.daemon.commands.common import zone_of
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.store.event_log import Event

SHOWN_MAX = 1000


class AlertCommands:
    """The handlers; one instance per daemon."""

    def __init__(self, zones: Mapping[str, FrontZone], events: EventCore) -> None:
        self._zones, self._events = zones, events

    def commands(self) -> list[Command[Any]]:
        """Return the commands."""
        return [Command(ListAlerts, self.list_alerts), Command(AcknowledgeAlert, self.acknowledge)]

    async def list_alerts(self, call: Call[ListAlerts]) -> Alerts:
        """Answer ``alerts.list``."""
        return Alerts(alerts=list_firing(self._events, self._name(call.request.zone)))

    async def acknowledge(self, call: Call[AcknowledgeAlert]) -> Acknowledged:
        """Answer ``alerts.ack``."""
        zone = self._name(call.request.zone)
        return Acknowledged(acknowledged=self._events.acknowledge(call.request.name, zone, call.caller.user))

    def _name(self, zone: str | None) -> str | None:
        return zone_of(self._zones, zone).name if zone else None


def list_firing(events: EventCore, zone: str | None) -> list[Alert]:
    """Return the alerts of a zone, or of all zones and the daemon, that fire now; at most SHOWN_MAX."""
    return [describe_alert(event) for event in events.firing(zone)[:SHOWN_MAX]]


def describe_alert(event: Event) -> Alert:
    """Return an event in the form for commands."""
    return Alert(
        name=event.name,
        zone=event.zone or None,
        subject=event.subject or None,
        severity=event.severity,
        cause=event.cause,
        effect=event.effect,
        remedy=event.remedy,
        firing=event.firing,
        first_seen=event.first_seen,
        last_seen=event.last_seen,
        count=event.count,
        acked_by=event.acked_by or None,
    )
