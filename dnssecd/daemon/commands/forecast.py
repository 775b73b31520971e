"""Commands about the future: ``simulate``, ``schedule``, ``plan``."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import UNSET, Struct

from dnssecd.config import ConfigErrors, load
from dnssecd.config.model import Config
from dnssecd.control.command import Call, Command, Refused
from dnssecd.control.messages.forecasts import (
    Calendar,
    ComingEvent,
    DayLoad,
    Plan,
    Schedule,
    ShowPlan,
    ShowSchedule,
    Simulate,
    StoreLoad,
    Wake,
    ZonePlan,
)
from dnssecd.control.peer import Caller
from dnssecd.core.keys.evidence import Evidence
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.past import joined, past_spans
from dnssecd.core.keys.simulate import Assumptions, Outage, SimEvent, Simulation, simulate
from dnssecd.core.keys.summary import Hands, summarize
from dnssecd.core.keys.types import RolloverPolicy
from dnssecd.daemon.commands.forecast_thread import ForecastThread, Wanted
from dnssecd.daemon.commands.rollover import RolloverCommands
from dnssecd.daemon.rollover import forecast
from dnssecd.daemon.rollover.engine import STORE_ERRORS, Rollovers
from dnssecd.daemon.rollover.spares import for_forecast
from dnssecd.daemon.zones import outlook, specs
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.durations import parse_duration
from dnssecd.replacing import replace

DAY_S = 86_400
DAYS_MAX = 3650
DS_DELAY_S = forecast.DS_DELAY_S
PLAN_DAYS = 120
DS_READY_DAYS = 60
LOAD_DAYS = 30
WAKES_MAX = 200
TIMEOUT_S = 600.0

#: The parts of a zone's specification whose change renews all signatures, in words.
SPEC_WORDS = {
    "denial": "denial of existence",
    "opt_out": "NSEC3 opt-out",
    "zonemd": "ZONEMD",
    "dnskey_ttl": "TTL of the DNSKEY RRset",
    "cds": "CDS and CDNSKEY",
}


class LookAhead(Struct, frozen=True):
    """The coming steps of a zone's keys from start to stop (epoch s), and what is assumed. svg: None if not wanted."""

    keyset: Keyset
    ahead: Simulation
    start: int
    stop: int
    notes: list[str]
    summary: str
    hands: Hands
    svg: str | None


class Basis(Struct, frozen=True):
    """What a forecast of a zone's keys begins with. keyset: as it is; approved: with all approvals given."""

    keyset: Keyset
    approved: Keyset
    policy: RolloverPolicy
    assume: Assumptions
    hands: Hands
    start: int
    notes: list[str]


class ForecastCommands:
    """The handlers; one instance per daemon."""

    def __init__(
        self,
        zones: Mapping[str, FrontZone],
        rollovers: Rollovers,
        commands: RolloverCommands,
        config: Callable[[], Config],
    ) -> None:
        self._zones, self._rollovers, self._commands, self._config = zones, rollovers, commands, config
        self._thread = ForecastThread()

    def close(self) -> None:
        """Stop computing forecasts."""
        self._thread.close()

    def commands(self) -> list[Command[Any]]:
        """Return the commands."""
        return [
            Command(Simulate, self.simulate, timeout=TIMEOUT_S),
            Command(ShowSchedule, self.show_schedule, timeout=TIMEOUT_S),
            Command(ShowPlan, self.plan, timeout=TIMEOUT_S),
        ]

    async def ds_ready_at(self, zone: FrontZone) -> dict[int, int]:
        """Return when the DS of each key of a zone may first be handed over (epoch s), by key tag."""
        keyset, evidence, _ = await self._known(zone)
        start = int(self._rollovers.engine.clock.now())
        policy, _ = forecast.ahead_of_people(self._rollovers.policy(zone))
        assume = forecast.assumptions(zone, evidence, policy, DS_DELAY_S)
        ahead = await asyncio.to_thread(
            simulate, keyset, policy, assume, start, start + DS_READY_DAYS * DAY_S
        )
        return forecast.ds_ready_at(ahead)

    async def simulate(self, call: Call[Simulate]) -> Calendar:
        """Answer ``simulate``: the calendar of all future steps, and a picture of it."""
        request = call.request
        zone, days = self._commands.zone(request.zone), request.days
        if not 0 < days <= DAYS_MAX:
            raise Refused(f"{days} days cannot be simulated", f"give 1 to {DAYS_MAX} days", exit=2)
        delay = DS_DELAY_S if request.ds_delay is None else int(request.ds_delay)
        look = await self.look_ahead(
            call.caller,
            zone,
            days,
            ds_delay=None if request.ds_never else delay,
            outages=tuple(request.outages),
            picture=request.svg,
        )
        return Calendar(
            zone=zone.name,
            start=look.start,
            stop=look.stop,
            notes=look.notes,
            events=_list_events(zone.name, look.ahead.events),
            summary=look.summary,
            svg=UNSET if look.svg is None else look.svg,
        )

    async def look_ahead(
        self,
        caller: Caller,
        zone: FrontZone,
        days: int,
        *,
        ds_delay: int | None = DS_DELAY_S,
        outages: tuple[str, ...] = (),
        picture: bool = False,
    ) -> LookAhead:
        """Return every step of a zone's keys in the next *days* days; raise Refused.

        ds_delay None: the parent never follows.
        """
        given = tuple(_outage(text, int(self._rollovers.engine.clock.now())) for text in outages)
        basis = await self.basis(zone, ds_delay=ds_delay, outages=given)
        return await self.look_from(caller, zone.name, basis, days, picture=picture)

    async def basis(
        self,
        zone: FrontZone,
        *,
        ds_delay: int | None = DS_DELAY_S,
        outages: tuple[Outage, ...] = (),
        tags: bool = True,
    ) -> Basis:
        """Return what a forecast of a zone begins with now; raise Refused.

        ``tags``: the tags of spare keys matter. Otherwise the key service is asked for them only if no key is made.
        """
        policy, notes = forecast.ahead_of_people(self._rollovers.policy(zone))
        keyset, evidence, unknown = await self._known(zone, spares=tags or policy.given)
        notes += unknown
        start = int(self._rollovers.engine.clock.now())
        if keyset.held:
            notes.append(
                "steps that were due at the adoption wait for dnssecd key approve; this forecast assumes "
                "immediate approval"
            )
        if zone.frozen:
            notes.append(f"the zone is frozen: no rollover begins before dnssecd zone thaw {zone.name}")
        assume = forecast.assumptions(zone, evidence, policy, ds_delay, outages)
        approved, hands = replace(keyset, held=()), outlook.hands_of(zone)
        return Basis(keyset, approved, policy, assume, hands, start, notes)

    async def look_from(
        self, caller: Caller, name: str, basis: Basis, days: int, *, picture: bool = False
    ) -> LookAhead:
        """Return every step of a zone's keys in the next *days* days from a basis; raise Refused."""
        stop = basis.start + days * DAY_S
        ahead, svg = await self._thread.run(
            caller, lambda wanted: _simulated(name, basis, stop, wanted, picture=picture)
        )
        summary = _summarize_calendar(ahead, basis.hands)
        notes = [*basis.notes, *forecast.notes_on(ahead, basis.keyset)]
        return LookAhead(basis.keyset, ahead, basis.start, stop, notes, summary, basis.hands, svg)

    async def show_schedule(self, call: Call[ShowSchedule]) -> Schedule:
        """Answer ``schedule``: the next wake-ups, and (``load``) the future signing load of the key stores."""
        wakes = [
            Wake(at=int(at), what=what, subject=zone)
            for at, what, zone in self._rollovers.engine.schedule.next_wakes()[:WAKES_MAX]
        ]
        return Schedule(
            wakes=wakes, load=await self._forecast_load(call.caller) if call.request.load else None
        )

    async def _forecast_load(self, caller: Caller) -> list[StoreLoad]:
        start = int(self._rollovers.engine.clock.now())
        served = [zone for zone in self._zones.values() if zone.serial is not None]
        try:
            found = await self._thread.run(
                caller, lambda wanted: forecast.loads(served, start, LOAD_DAYS, wanted)
            )
        except STORE_ERRORS as error:
            raise Refused(f"a zone's database cannot be read: {error}", "see the daemon's log") from None
        return [_describe_load(load, start) for load in found]

    async def plan(self, call: Call[ShowPlan]) -> Plan:
        """Answer ``plan``: the effect of the present configuration file on keys and signatures."""
        try:
            new = await self._thread.run(call.caller, lambda wanted: load(self._config().path))
        except ConfigErrors as error:
            raise Refused(
                f"{self._config().path} has errors, so no plan can be made",
                "correct it until dnssecd check-config finds no error",
                detail=[str(one) for one in error.errors],
            ) from None
        plans = []
        for zone in list(self._zones.values()):
            if zone.name in new.zones and zone.serial is not None:
                found = await self._plan_zone(call.caller, zone, new)
                if found is not None:
                    plans.append(found)
        return Plan(
            zones=plans,
            added=[name for name in new.zones if name not in self._zones],
            removed=[name for name in self._zones if name not in new.zones],
        )

    async def _plan_zone(self, caller: Caller, zone: FrontZone, new: Config) -> ZonePlan | None:
        now = self._rollovers.engine.clock.now()
        old_policy = self._rollovers.policy(zone)
        new_policy = self._rollovers.policy_by(new, new.zones[zone.name], zone)
        notes = _spec_notes(zone, new)
        same = old_policy == new_policy
        if same and not notes:
            return None
        events: list[SimEvent] = []
        if not same:
            new_policy, more = forecast.ahead_of_people(new_policy)
            events, unknown = await self._ahead(
                caller, zone, forecast.ahead_of_people(old_policy)[0], new_policy, int(now)
            )
            notes += [*(more if events else []), *unknown]
        if not events and not notes:
            notes = ["it adds and removes no steps in this period"]
        return ZonePlan(
            zone=zone.name,
            notes=notes,
            events=_list_events(zone.name, events),
            days=PLAN_DAYS,
            summary=summarize(events, outlook.hands_of(zone), _known_tags(zone)),
        )

    async def _ahead(
        self, caller: Caller, zone: FrontZone, old: RolloverPolicy, new: RolloverPolicy, start: int
    ) -> tuple[list[SimEvent], list[str]]:
        """Return the steps that a changed policy adds, and notes on what is assumed and not known."""
        keyset, evidence, unknown = await self._known(zone)
        assume = forecast.assumptions(zone, evidence, new, DS_DELAY_S)
        keyset = replace(keyset, held=())
        stop = start + PLAN_DAYS * DAY_S
        ahead = await self._thread.run(
            caller, lambda wanted: forecast.compare(keyset, old, new, assume, start, stop, wanted)
        )
        notes = forecast.notes_on(ahead, keyset) if ahead.events or ahead.waits else []
        return list(ahead.events), [*unknown, *notes]

    async def _known(self, zone: FrontZone, *, spares: bool = True) -> tuple[Keyset, Evidence, list[str]]:
        """Return a zone's keys, what was seen of the world, and notes on what could not be found out."""
        known = await self._commands.known(zone)
        keys = self._rollovers.of(zone)
        evidence = keys.gathered(zone, self._rollovers.parents(zone), clock_sure=True)
        if not spares:
            return known.keyset, evidence, []
        policy, signer = self._rollovers.policy(zone), self._rollovers.engine.signer
        return known.keyset, *await for_forecast(signer, zone, known, policy, evidence)


def _list_events(zone: str, events: Iterable[SimEvent]) -> list[ComingEvent]:
    return [
        ComingEvent(
            at=event.at,
            zone=zone,
            role=event.role,
            key_tag=event.key_tag,
            event=event.event,
            detail=event.detail,
            stand_in=event.stand_in,
        )
        for event in events
    ]


def _known_tags(zone: FrontZone) -> frozenset[int]:
    return frozenset() if zone.ds is None else frozenset(key.tag for key in zone.ds.keyset.keys)


def _summarize_calendar(ahead: Simulation, hands: Hands) -> str:
    """Return the sentence under the calendar; its last step ends it, or the period does."""
    text = summarize(ahead.events, hands)
    return text and "In this period: " + text[0].lower() + text[1:]


def _describe_load(load: forecast.Load, start: int) -> StoreLoad:
    first = load.earliest_expiration
    return StoreLoad(
        keystore=load.keystore,
        days=[DayLoad(day=day, signatures=number) for day, number in load.days],
        earliest_expiration=first,
        runway_seconds=None if first is None else first - start,
    )


def _simulated(
    zone: str, basis: Basis, stop: int, wanted: Wanted, *, picture: bool
) -> tuple[Simulation, str | None]:
    """Simulate, and draw the picture if requested. Run it in a thread."""
    start = basis.start
    ahead = simulate(basis.approved, basis.policy, basis.assume, start, stop, wanted)
    if not picture:
        return ahead, None
    spans = joined(past_spans(basis.approved, (), start), ahead.spans)
    return ahead, forecast.picture(zone, spans, ahead.events, start, stop, basis.hands)


def _spec_notes(zone: FrontZone, new: Config) -> list[str]:
    """Return notes on changes of the configuration that affect all signatures or the chain."""
    after = specs.zone_spec(new, new.zones[zone.name], zone.spec.signer_socket, zone.spec.signer_owners)
    notes = []
    for name, words in SPEC_WORDS.items():
        before, then = getattr(zone.spec, name), getattr(after, name)
        if before != then:
            notes.append(f"{words}: {before} becomes {then}, in one version")
    if "denial" in new.policies[new.zones[zone.name].policy].manual and zone.spec.denial != after.denial:
        notes.append("the change of denial waits for approval (dnssecd key approve)")
    return notes


def _outage(text: str, start: int) -> Outage:
    parts = text.split(":")
    try:
        seconds = {part: parse_duration(part) for part in parts[1:]}
        return forecast.parse_outage(text, start, seconds)
    except ValueError as error:
        raise Refused(str(error), "for example secondaries:10d:2d", exit=2) from None
