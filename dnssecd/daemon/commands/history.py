"""Every act of an operator goes into the history: the command, its arguments but for secrets, how it ended."""

import asyncio
import re
from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from dnssecd.clock import Clock
from dnssecd.control.command import Args, Call, Scalar
from dnssecd.control.messages.config import ConfigReloaded
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.store.errors import StoreError
from dnssecd.store.operator_log import Act, ActLog

DETAIL_MAX = 1_000
#: In place of a user's number where no user did it.
OURSELVES = -1
#: Longer lists are counted only.
LIST_MAX = 200
#: Arguments of these names are never written down, whatever command has them.
_SECRET = re.compile(r"pass|secret|pin\b|private|token_pin", re.IGNORECASE)

log = structlog.get_logger("dnssecd.control")


class Acts:
    """Writes acts down; what cannot be written is in the log and an event, and never undoes the act."""

    def __init__(self, path: ActLog, zones: Mapping[str, FrontZone], events: EventCore, clock: Clock) -> None:
        self._log, self._zones, self._events, self._clock = path, zones, events, clock
        self._writing = asyncio.Lock()

    async def record(self, call: Call[Any], ended: str, result: object) -> None:
        """Note that a command that changes something has ended: "" well, else with what."""
        detail = "; ".join(filter(None, (arguments(call.args), ended)))
        zones = [name for name in self._named(call.args, result) if name in self._zones]
        for what, more in (*call.notes, (call.command.replace(".", " "), detail)):
            await self.note(call.caller.user, call.caller.uid, what, more, zones)

    async def note(self, who: str, uid: int, what: str, detail: str, zones: Iterable[str] = ()) -> None:
        """Write an act down."""
        act = Act(int(self._clock.now()), who, uid, what, detail[:DETAIL_MAX])
        serials = [(name, self._zones[name].serial) for name in zones if name in self._zones]
        log.info("operator's act", who=who, uid=uid, what=what, detail=act.detail, zones=len(serials))
        try:
            async with self._writing:
                await asyncio.to_thread(self._log.record, act, serials)
        except StoreError as error:
            self._events.raise_event("store-failed", None, f"{self._log.path}: {error}", subject="acts")
        else:
            self._events.resolve("store-failed", None, "acts")

    async def of(self, zone: str | None, limit: int) -> list[dict[str, object]]:
        """Return the acts on a zone, or those on none, newest first."""
        async with self._writing:
            if zone is None:
                return await asyncio.to_thread(self._log.of_daemon, limit)
            return await asyncio.to_thread(self._log.of_zone, zone, limit)

    def _named(self, args: Args, result: object) -> Iterable[str]:
        """The zones of a command: the one it names, and those its answer says it changed."""
        zone = args.get("zone")
        if isinstance(zone, str):
            yield zone.lower() if zone.endswith(".") else zone.lower() + "."
        if isinstance(result, ConfigReloaded):
            yield from (*result.added, *result.zones_changed)


def arguments(args: Args) -> str:
    """Return a command's arguments but the zone as text: those not given left out, secrets never."""
    given = {name: value for name, value in args.items() if name != "zone" and value not in (None, False, [])}
    return " ".join(f"{name}={_shown(name, value)}" for name, value in sorted(given.items()))


def _shown(name: str, value: Scalar | list[Scalar]) -> str:
    if _SECRET.search(name):
        return "(not written down)"
    if isinstance(value, list):
        text = ",".join(map(str, value))
        return text if len(text) <= LIST_MAX else f"({len(value)} given)"
    return "yes" if value is True else str(value)
