"""Commands on zones: list, show, export, history, wait, freeze and thaw."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import msgspec

from dnssecd.clock import Clock
from dnssecd.control.command import Call, Command, Refused
from dnssecd.control.messages.keys import KeyRow
from dnssecd.control.messages.zones import (
    ExportZone,
    FreezeZone,
    History,
    HistoryEntry,
    ListZones,
    SerialServed,
    ShowHistory,
    ShowZone,
    ThawZone,
    WaitForSerial,
    ZoneDetails,
    ZoneExported,
    ZoneFrozen,
    ZoneRow,
    ZoneRows,
    ZoneStatus,
)
from dnssecd.core.dns.serial import is_after
from dnssecd.daemon.commands.common import zone_of
from dnssecd.daemon.commands.key_list import read_key_rows
from dnssecd.daemon.commands.status import ZoneStates
from dnssecd.daemon.commands.verdict import count_current
from dnssecd.daemon.zones.work import ZoneJobs
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.pipeline.export import export_text

EXPORT_S = 3600.0
WAIT_STEP_S = 0.05
SHOWN_MAX = 1000


class ZoneCommands:
    """The handlers; one instance per daemon.

    read_acts: returns operator actions on a zone, or on none, newest first, at most the given number.
    """

    def __init__(
        self,
        zones: Mapping[str, FrontZone],
        states: ZoneStates,
        jobs: ZoneJobs,
        clock: Clock,
        read_acts: Callable[[str | None, int], Awaitable[list[dict[str, Any]]]],
    ) -> None:
        self._zones, self._states, self._jobs, self._clock = zones, states, jobs, clock
        self._read_acts = read_acts

    def commands(self) -> list[Command[Any]]:
        """Return the commands."""
        return [
            Command(ListZones, self.list_zones),
            Command(ShowZone, self.show),
            Command(ExportZone, self.export, timeout=EXPORT_S),
            Command(ShowHistory, self.show_history),
            Command(WaitForSerial, self.wait, timeout=None),
            Command(FreezeZone, self.freeze),
            Command(ThawZone, self.thaw),
        ]

    async def list_zones(self, call: Call[ListZones]) -> ZoneRows:
        """Answer ``zone.list``."""
        states = await self._states.describe_all(self._zones.values(), step=False)
        return ZoneRows(zones=[_make_row(state) for state in states])

    async def show(self, call: Call[ShowZone]) -> ZoneDetails:
        """Answer ``zone.show``."""
        zone = zone_of(self._zones, call.request.zone)
        return describe_details(self._states, zone, read_key_rows(zone))

    async def export(self, call: Call[ExportZone]) -> ZoneExported:
        """Answer ``zone.export``."""
        zone = zone_of(self._zones, call.request.zone)
        held = None if zone.serial is None else zone.database.snapshot()
        if held is None:
            raise Refused(
                f"{zone.name} has not been published yet", f"dnssecd zone show {zone.name} shows why"
            )
        records = 0
        with held as snapshot:
            for text, number in export_text(snapshot, unsigned=call.request.unsigned):
                records += number
                await call.chunk(text)
                await asyncio.sleep(0)
            return ZoneExported(zone=zone.name, serial=snapshot.serial, records=records)

    async def show_history(self, call: Call[ShowHistory]) -> History:
        """Answer ``zone.history``: the history of a zone, with operator actions."""
        limit = min(call.request.limit, SHOWN_MAX)
        if call.request.zone is None:
            entries = await self._read_acts(None, limit)
        else:
            zone = zone_of(self._zones, call.request.zone)
            acts = await self._read_acts(zone.name, limit)
            with zone.database.snapshot() as snapshot:
                entries = newest_of(acts, snapshot.history(limit), limit)
        return History(entries=msgspec.convert(entries, list[HistoryEntry]))

    async def wait(self, call: Call[WaitForSerial]) -> SerialServed:
        """Answer ``zone.wait``: wait until the zone, and its secondaries, serve a serial or a later one."""
        zone, request = zone_of(self._zones, call.request.zone), call.request
        wanted = zone.serial if request.serial is None or request.serial < 0 else request.serial
        ends = self._clock.monotonic() + request.timeout
        reported = -1.0
        while missing := self._list_missing(zone, wanted, request.all_secondaries):
            now = self._clock.monotonic()
            if now >= ends:
                raise Refused(
                    f"serial {-1 if wanted is None else wanted} of {zone.name} is not served by: "
                    f"{', '.join(missing)}",
                    f"dnssecd explain {zone.name}",
                )
            if now - reported > 1:
                reported = now
                await call.progress(0, len(missing), "waiting for " + ", ".join(missing))
            await asyncio.sleep(WAIT_STEP_S)
        return SerialServed(
            zone=zone.name, serial=zone.serial, secondaries=self._states.list_secondaries(zone)
        )

    def _list_missing(self, zone: FrontZone, wanted: int | None, secondaries: bool) -> list[str]:
        """Return the servers that do not serve a serial yet (None: the current one)."""
        if zone.serial is None or (wanted is not None and is_after(wanted, zone.serial)):
            return ["the daemon itself"]
        if not secondaries:
            return []
        goal = zone.serial if wanted is None else wanted
        return [
            seen.name
            for seen in self._states.list_secondaries(zone)
            if seen.serial is None or is_after(goal, seen.serial)
        ]

    async def freeze(self, call: Call[FreezeZone]) -> ZoneFrozen:
        """Answer ``zone.freeze``: take no input until the zone is thawed; signatures are still renewed."""
        zone = self._set_frozen(call.request.zone, frozen=True)
        message = f"{zone.name} takes no input and begins no rollover until it is thawed; signatures are still renewed"
        return ZoneFrozen(zone=zone.name, frozen=True, message=message)

    async def thaw(self, call: Call[ThawZone]) -> ZoneFrozen:
        """Answer ``zone.thaw``."""
        zone = self._set_frozen(call.request.zone, frozen=False)
        if zone.config.source != "dynamic":
            self._jobs.request(zone, "load")
        return ZoneFrozen(zone=zone.name, frozen=False, message=f"{zone.name} takes input again")

    def _set_frozen(self, name: str, *, frozen: bool) -> FrontZone:
        zone = zone_of(self._zones, name)
        zone.frozen = frozen
        self._jobs.remember(zone)
        return zone


def describe_details(states: ZoneStates, zone: FrontZone, keys: list[KeyRow]) -> ZoneDetails:
    """Return all about a zone. keys: as ``read_key_rows`` has them."""
    return ZoneDetails(
        **msgspec.structs.asdict(states.describe(zone)),
        denial=zone.spec.denial + (" opt-out" if zone.spec.denial_parameters.opt_out else ""),
        signatures=zone.signatures_made,
        file=zone.config.file,
        last_published=zone.published_at,
        earliest_expiration=zone.earliest_expiration,
        next_wake=zone.next_due,
        keys=keys,
        stripped=zone.stripped,
    )


def newest_of(
    acts: Iterable[dict[str, Any]], history: Iterable[dict[str, Any]], limit: int
) -> list[dict[str, Any]]:
    """Return operator actions and the history of a zone together, newest first."""
    return sorted([*acts, *history], key=lambda entry: int(entry["at"]), reverse=True)[:limit]


def _make_row(state: ZoneStatus) -> ZoneRow:
    return ZoneRow(
        zone=state.zone,
        state=state.state,
        serial=state.serial,
        input_serial=state.input_serial,
        runway_seconds=state.runway_seconds,
        policy=state.policy,
        source=state.source,
        records=state.records,
        security=state.security,
        ds_due_at=state.ds_due_at,
        servers=len(state.secondaries),
        servers_current=count_current(state),
        alert_names=list(dict.fromkeys(alert.name for alert in state.alerts)),
        severity=state.alerts[0].severity if state.alerts else "",
    )
