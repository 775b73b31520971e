"""The command ``status``, and the state of a zone as commands show it."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec

from dnssecd import __version__
from dnssecd.clock import Clock
from dnssecd.control.command import Call, Command
from dnssecd.control.messages.status import Delivery, KeyServiceState, ShowStatus, Status, TsigKeyUse
from dnssecd.control.messages.zones import PersonTask, ServerSeen, ZoneStatus
from dnssecd.daemon.commands.alerts import describe_alert, list_firing
from dnssecd.daemon.commands.common import zone_of
from dnssecd.daemon.commands.verdict import judge
from dnssecd.daemon.key_usage import KeyUse
from dnssecd.daemon.zones import outlook
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.publish.exchange import Peer
from dnssecd.replacing import replace

#: After this many zones, other tasks run.
SHOWN_AT_ONCE = 100
#: How many of the zones that have only a note are listed on request: thousands may have the same one.
NOTED_MAX = 3


class ZoneStates:
    """The state of zones for display."""

    def __init__(self, events: EventCore, clock: Clock) -> None:
        self._events, self._clock = events, clock

    def describe(self, zone: FrontZone, *, step: bool = True) -> ZoneStatus:
        """Return the state of a zone; ``step``: with what it waits for, which is half of the work."""
        now = self._clock.now()
        security = outlook.security(zone)
        return ZoneStatus(
            zone=zone.name,
            serial=zone.serial,
            input_serial=zone.input_serial,
            runway_seconds=zone.runway_s(now),
            secondaries=self.list_secondaries(zone),
            primaries=msgspec.convert(zone.primaries, list[ServerSeen]),
            blockers=outlook.blockers(zone) if step else [],
            alerts=[describe_alert(event) for event in self._events.firing(zone.name)],
            state="waiting" if zone.serial is None else "served",
            policy=zone.config.policy,
            source=zone.config.source,
            records=zone.records,
            input_error="; ".join(problem.cause for problem in zone.problems) or None,
            warnings=[*_warn_frozen(zone), *(warning.cause for warning in zone.warnings)],
            frozen=zone.frozen,
            owner=None if zone.cluster is None else zone.cluster.owner or None,
            signed_ahead_until=None if zone.keys is None else zone.keys.signed_until,
            security=security.word.value,
            security_detail=security.detail,
            ds_due_at=security.due_at,
            validated_at=None if zone.served is None else zone.served.checked_at,
            next_step=self.next_step(zone) if step else "",
            refresh_seconds=zone.refresh_s or None,
            waits_for_person=[
                PersonTask(what=what, command=command, at=at, by=by)
                for what, command, at, by in outlook.person_tasks(zone, security)
            ],
        )

    def next_step(self, zone: FrontZone) -> str:
        """Return what happens next to the keys of a zone."""
        return outlook.next_step(zone, self._clock.now())

    async def describe_all(self, zones: Iterable[FrontZone], *, step: bool = True) -> list[ZoneStatus]:
        """Return the states of any number of zones without delaying other work."""
        return [self.describe(zone, step=step) async for zone in _in_turns(zones)]

    def list_secondaries(self, zone: FrontZone) -> list[ServerSeen]:
        """Return the last sighting of each public server of a zone."""
        servers = [] if zone.servers is None else zone.servers.last()
        seen = {sighting.server: sighting for sighting in servers}
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

    clock_doubt: why the time is in doubt, "" when it is not. delivery: the channels for alerts. key_uses: of TSIG keys.
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
        key_uses: Callable[[], list[KeyUse]],
    ) -> None:
        self._zones, self._states, self._events = zones, states, events
        self._signer_state, self._delivery, self._clock_doubt = signer_state, delivery, clock_doubt
        self._clock, self._started_at = clock, clock.now()
        self._key_uses = key_uses

    def commands(self) -> list[Command[Any]]:
        """Return the command."""
        return [Command(ShowStatus, self.show)]

    async def show(self, call: Call[ShowStatus]) -> Status:
        """Answer ``status``."""
        wanted = call.request.zone
        one = zone_of(self._zones, wanted) if wanted else None
        if not call.request.notable:
            return await self.compose(one)
        status = await self.compose(one, step=False)
        return replace(status, zones=[self._with_step(zone) for zone in _list_notable(status.zones)])

    def _with_step(self, described: ZoneStatus) -> ZoneStatus:
        zone = self._zones.get(described.zone)  # None: removed meanwhile
        if zone is None:
            return described
        return replace(described, next_step=self._states.next_step(zone), blockers=outlook.blockers(zone))

    async def compose(self, one: FrontZone | None, *, step: bool = True) -> Status:
        """Return the state of one zone, or of all (None)."""
        doubt = self._clock_doubt()
        shown = list(self._zones.values()) if one is None else [one]
        zones = await self._states.describe_all(shown, step=step)
        alerts = list_firing(self._events, None if one is None else one.name)
        signer = msgspec.convert(self._signer_state(), KeyServiceState)
        keys = sum(count_keys(zone) for zone in shown)
        return Status(
            zones=zones,
            alerts=alerts,
            version=__version__,
            pid=os.getpid(),
            started_at=self._started_at,
            signer=signer,
            clock_suspect=bool(doubt),
            clock=doubt,
            delivery=msgspec.convert(await self._delivery(), list[Delivery]),
            verdict=judge(zones, alerts, keys, signer.state, doubt, self._clock.now()),
            tsig_keys=[
                TsigKeyUse(peer=use.peer, key=use.key, received_at=use.received_at, sent_at=use.sent_at)
                for use in self._key_uses()
            ],
        )


def count_keys(zone: FrontZone) -> int:
    """Return how many keys a published zone has."""
    return 0 if zone.ds is None else len(zone.ds.keyset.keys)


def _list_notable(zones: Sequence[ZoneStatus]) -> list[ZoneStatus]:
    """Return what the text of ``status`` is made of: of zones that have only a note, it names some."""
    wrong = [zone for zone in zones if zone.alerts or zone.waits_for_person]
    noted = (zone for zone in zones if zone.warnings and not zone.alerts and not zone.waits_for_person)
    return [*wrong, *islice(noted, NOTED_MAX)]


def _warn_frozen(zone: FrontZone) -> list[str]:
    text = f"frozen: it takes no input and begins no rollover step until dnssecd zone thaw {zone.name}"
    return [text] if zone.frozen else []


async def _in_turns(zones: Iterable[FrontZone]) -> AsyncIterator[FrontZone]:
    for number, zone in enumerate(list(zones)):
        if number % SHOWN_AT_ONCE == SHOWN_AT_ONCE - 1:
            await asyncio.sleep(0)
        yield zone


def _describe_unseen(peer: Peer) -> str:
    return "not queried yet" if peer.query else "gets only NOTIFY (query = false)"
