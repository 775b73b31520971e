"""A zone as its page shows it: state, history, what its parent has, and its keys over time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from dnssecd import __version__
from dnssecd.clock import Clock
from dnssecd.control.command import Refused
from dnssecd.control.messages.keys import KeyRow
from dnssecd.control.messages.zones import HistoryEntry
from dnssecd.control.peer import Caller
from dnssecd.core.dns.names import full_name
from dnssecd.core.keys.keyset import DIGEST_SHA256
from dnssecd.core.keys.past import PastStep, joined, past_spans, read_step
from dnssecd.core.keys.simulate import Unwanted
from dnssecd.core.keys.summary import Hands
from dnssecd.core.parent.forms import ds_lines, ds_text
from dnssecd.core.parent.handover import Task
from dnssecd.daemon.commands.forecast import ForecastCommands, LookAhead
from dnssecd.daemon.commands.key_list import read_key_rows
from dnssecd.daemon.commands.status import ZoneStates
from dnssecd.daemon.commands.zone import describe_details, newest_of
from dnssecd.daemon.page.coming import list_steps
from dnssecd.daemon.rollover import forecast
from dnssecd.daemon.rollover.engine import STORE_ERRORS
from dnssecd.daemon.zones import outlook
from dnssecd.daemon.zones.zone import FrontZone, ZoneGone
from dnssecd.page.model import Coming, KeyTimes, ParentServer, Unavailable, ZoneView

DAY_S = 86_400
#: Entries of the history that are read for the time line, and that are shown.
HISTORY_READ = 1_000
HISTORY_SHOWN = 40
COMING_MAX = 200
#: The part of the time ahead that the picture shows of the past.
PAST_SHARE = 4
NAME_MAX = 1_100

#: It counts as a user of its own for the limits of forecasts.
CALLER = Caller(pid=0, uid=-3, gid=-1, roles=frozenset())


class ZoneViews:
    """Composes the views of zones. Belongs to the event loop.

    read_acts: returns operator actions on a zone, newest first, at most the given number.
    """

    def __init__(
        self,
        zones: Mapping[str, FrontZone],
        states: ZoneStates,
        forecasts: ForecastCommands,
        read_acts: Callable[[str | None, int], Awaitable[list[dict[str, Any]]]],
        clock: Clock,
    ) -> None:
        self._zones, self._states, self._forecasts = zones, states, forecasts
        self._read_acts, self._clock = read_acts, clock

    async def view(self, name: str, days: int) -> ZoneView | None:
        """Return the view of a zone with its keys for *days* days ahead; None: no such zone. Raise Unavailable."""
        zone = self._zones.get(full_name(name)) if 0 < len(name) <= NAME_MAX else None
        if zone is None:
            return None
        try:
            return await self._compose(zone, days)
        except ZoneGone:
            return None
        except STORE_ERRORS as error:
            raise Unavailable(f"the database of {zone.name} cannot be read: {error}") from None

    async def _compose(self, zone: FrontZone, days: int) -> ZoneView:
        acts = await self._read_acts(zone.name, HISTORY_SHOWN)
        keys, history = await asyncio.to_thread(_read, zone)
        times, coming = await self._look(zone, days, history)
        zone.check()
        entries = newest_of(acts, history, HISTORY_SHOWN)
        return ZoneView(
            taken_at=self._clock.now(),
            host=socket.gethostname(),
            version=__version__,
            zone=describe_details(self._states, zone, keys),
            lines=outlook.plain_lines(zone, self._clock.now()),
            parents=_list_parents(zone),
            handover=_list_handover(zone),
            history=msgspec.convert(entries, list[HistoryEntry]),
            coming=coming[:COMING_MAX],
            times=times,
            island=outlook.hands_of(zone) is Hands.ANCHORS,
        )

    async def _look(
        self, zone: FrontZone, days: int, history: list[dict[str, Any]]
    ) -> tuple[KeyTimes, list[Coming]]:
        now = int(self._clock.now())
        empty = KeyTimes(start=now, stop=now + days * DAY_S)
        if zone.serial is None:
            return msgspec.structs.replace(empty, why="the zone is not published yet"), []
        try:
            look = await self._forecasts.look_ahead(CALLER, zone, days)
        except Refused as refused:
            return msgspec.structs.replace(empty, why=f"{refused.what}; {refused.remedy}"), []
        except Unwanted:
            return msgspec.structs.replace(empty, why="the forecast was ended"), []
        steps = [step for entry in history if (step := read_step(int(entry["at"]), str(entry["what"])))]
        svg = await asyncio.to_thread(_draw, zone.name, look, steps)
        times = KeyTimes(start=look.start, stop=look.stop, svg=svg, notes=look.notes, summary=look.summary)
        return times, list_steps(zone.name, look.ahead.events, look.hands)


def _read(zone: FrontZone) -> tuple[list[KeyRow], list[dict[str, Any]]]:
    """Return keys and history, newest first; none before the first publication."""
    if zone.serial is None:
        return [], []
    with zone.database.snapshot() as snapshot:
        history = snapshot.history(HISTORY_READ)
    return read_key_rows(zone), history


def _draw(zone: str, look: LookAhead, steps: list[PastStep]) -> str:
    spans = joined(past_spans(look.keyset, steps, look.start), look.ahead.spans)
    back = (look.stop - look.start) // PAST_SHARE
    return forecast.picture(zone, spans, look.ahead.events, look.start, look.stop, look.hands, back)


def _list_parents(zone: FrontZone) -> list[ParentServer]:
    seen = () if zone.ds is None else zone.ds.seen
    return [
        ParentServer(
            name=sight.name,
            seen_at=sight.at or None,
            ds=None if sight.ds is None else [ds_text(ds) for ds in sight.ds],
        )
        for sight in seen
    ]


def _list_handover(zone: FrontZone) -> list[str]:
    """Return the DS RRset that the parent is to have, where a person has to hand it over now."""
    known = zone.ds
    if known is None or known.parent.alone or known.handover.task is Task.NOTHING or known.reached:
        return []
    return ds_lines(known.handover, known.handover.wanted, DIGEST_SHA256)
