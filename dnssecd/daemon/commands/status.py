"""The command ``status``, and the state of a zone as commands show it."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any

import msgspec

from dnssecd import __version__
from dnssecd.clock import Clock
from dnssecd.control.command import Call, Command
from dnssecd.control.messages.status import Delivery, KeyServiceState, ShowStatus, Status
from dnssecd.control.messages.zones import ServerSeen, ZoneStatus
from dnssecd.daemon.commands.alerts import describe_alert, list_firing
from dnssecd.daemon.commands.common import zone_of
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.publish.exchange import Peer
from dnssecd.publish.notify import Notifier

#: After this many zones, other work of the event loop gets its turn.
SHOWN_AT_ONCE = 100


class ZoneStates:
    """What is shown of zones."""

    def __init__(self, events: EventCore, notifier: Notifier, clock: Clock) -> None:
        self._events, self._notifier, self._clock = events, notifier, clock

    def describe(self, zone: FrontZone) -> ZoneStatus:
        """Return the state of a zone."""
        return ZoneStatus(
            zone=zone.name,
            serial=zone.serial,
            input_serial=zone.input_serial,
            runway_seconds=zone.runway_s(self._clock.now()),
            secondaries=self.list_secondaries(zone),
            primaries=msgspec.convert(zone.primaries, list[ServerSeen]),
            blockers=zone.blockers,
            alerts=[describe_alert(event) for event in self._events.firing(zone.name)],
            state="waiting" if zone.serial is None else "served",
            policy=zone.config.policy,
            source=zone.config.source,
            records=zone.records,
            input_error="; ".join(problem.cause for problem in zone.problems) or None,
            warnings=[*_warn_frozen(zone), *(warning.cause for warning in zone.warnings)],
            frozen=zone.frozen,
        )

    async def describe_all(self, zones: Iterable[FrontZone]) -> list[ZoneStatus]:
        """Return the states of zones, however many, without delaying other work."""
        return [self.describe(zone) async for zone in _in_turns(zones)]

    def list_secondaries(self, zone: FrontZone) -> list[ServerSeen]:
        """Return what each public server of a zone was last seen to serve."""
        seen = {sighting.server: sighting for sighting in self._notifier.ledger.last(zone.name)}
        peers = {peer.name: peer for peer in (*zone.secondaries, *zone.watched)}
        return [
            ServerSeen(
                name=name,
                serial=seen[name].serial if name in seen else None,
                seen_at=seen[name].at if name in seen else None,
                detail=seen[name].detail if name in seen else _describe_unseen(peer),
            )
            for name, peer in peers.items()
        ]


class StatusCommand:
    """The handler; one instance per daemon.

    clock_doubt: why the time is in doubt, "" when it is not. delivery: the channels for alerts.
    """

    def __init__(
        self,
        zones: Mapping[str, FrontZone],
        states: ZoneStates,
        events: EventCore,
        clock: Clock,
        signer_state: Callable[[], dict[str, str]],
        delivery: Callable[[], Awaitable[list[dict[str, Any]]]],
        clock_doubt: Callable[[], str],
    ) -> None:
        self._zones, self._states, self._events = zones, states, events
        self._signer_state, self._delivery, self._clock_doubt = signer_state, delivery, clock_doubt
        self._started_at = clock.now()

    def commands(self) -> list[Command[Any]]:
        """Return the command."""
        return [Command(ShowStatus, self.show)]

    async def show(self, call: Call[ShowStatus]) -> Status:
        """Answer ``status``."""
        wanted = call.request.zone
        one = zone_of(self._zones, wanted) if wanted else None
        doubt = self._clock_doubt()
        return Status(
            zones=await self._states.describe_all(self._zones.values() if one is None else [one]),
            alerts=list_firing(self._events, None if one is None else one.name),
            version=__version__,
            pid=os.getpid(),
            started_at=self._started_at,
            signer=msgspec.convert(self._signer_state(), KeyServiceState),
            clock_suspect=bool(doubt),
            clock=doubt,
            delivery=msgspec.convert(await self._delivery(), list[Delivery]),
        )


def _warn_frozen(zone: FrontZone) -> list[str]:
    text = f"frozen: it takes no input and begins no roll-over step until dnssecd zone thaw {zone.name}"
    return [text] if zone.frozen else []


async def _in_turns(zones: Iterable[FrontZone]) -> AsyncIterator[FrontZone]:
    for number, zone in enumerate(list(zones)):
        if number % SHOWN_AT_ONCE == SHOWN_AT_ONCE - 1:
            await asyncio.sleep(0)
        yield zone


def _describe_unseen(peer: Peer) -> str:
    return "not asked yet" if peer.query else "takes NOTIFY only (query = false)"
