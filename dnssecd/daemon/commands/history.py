"""Write every operator action into the history: the command, its arguments without secrets, its result."""

import asyncio
import re
from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from dnssecd.clock import Clock
from dnssecd.control.command import Args, Call, Scalar
from dnssecd.control.messages.config import ConfigReloaded
from dnssecd.core.dns.names import full_name
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.store.errors import StoreError
from dnssecd.store.operator_log import Act, ActLog

DETAIL_MAX = 1_000
#: Instead of a user id, if no user did it.
OURSELVES = -1
#: Of a longer text only the length is recorded.
TEXT_MAX = 200
#: Longer lists are only counted.
LIST_MAX = 200
#: Arguments with these names are never recorded, for any command.
_SECRET = re.compile(r"pass|secret|pin\b|private|token_pin", re.IGNORECASE)

log = structlog.get_logger("dnssecd.control")


class Acts:
    """Records operator actions; a failure to do so is logged and is an event, and does not undo the action."""

    def __init__(self, path: ActLog, zones: Mapping[str, FrontZone], events: EventCore, clock: Clock) -> None:
        self._log, self._zones, self._events, self._clock = path, zones, events, clock
        self._writing = asyncio.Lock()

    async def record(self, call: Call[Any], ended: str, result: object) -> None:
        """Record the end of a command that changes something; error "": success."""
        detail = "; ".join(filter(None, (arguments(call.args), ended)))
        zones = [name for name in self._named(call.args, result) if name in self._zones]
        for what, more in (*call.notes, (call.command.replace(".", " "), detail)):
            await self.note(call.caller.user, call.caller.uid, what, more, zones)

    async def note(self, who: str, uid: int, what: str, detail: str, zones: Iterable[str] = ()) -> None:
        """Record an action."""
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
        """Return the actions on a zone, or on none, newest first."""
        async with self._writing:
            if zone is None:
                return await asyncio.to_thread(self._log.of_daemon, limit)
            return await asyncio.to_thread(self._log.of_zone, zone, limit)

    def _named(self, args: Args, result: object) -> Iterable[str]:
        """Return the zones of a command: the one it names, and those that it changed according to its answer."""
        zone = args.get("zone")
        if isinstance(zone, str):
            yield full_name(zone)
        if isinstance(result, ConfigReloaded):
            yield from (*result.added, *result.zones_changed)


def arguments(args: Args) -> str:
    """Return a command's arguments as text: without the zone, omitted arguments and secrets."""
    given = {name: value for name, value in args.items() if name != "zone" and value not in (None, False, [])}
    return " ".join(f"{name}={_shown(name, value)}" for name, value in sorted(given.items()))


def _shown(name: str, value: Scalar | list[Scalar]) -> str:
    if _SECRET.search(name):
        return "(not recorded)"
    if isinstance(value, list):
        text = ",".join(map(str, value))
        return text if len(text) <= LIST_MAX else f"({len(value)} given)"
    if isinstance(value, str) and len(value) > TEXT_MAX:
        return f"({len(value)} characters)"
    return "yes" if value is True else str(value)
