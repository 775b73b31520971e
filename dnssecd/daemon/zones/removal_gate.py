"""May a zone be removed? Not while its parent has a DS: whoever serves it next, validators would find it bogus."""

import asyncio
from collections.abc import Callable, Iterable

from dnssecd.config.model import Config
from dnssecd.control.command import Refused
from dnssecd.daemon.zones.first_publication import parent_servers
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.publish.parent import ParentUnknown, ask_all_ds

AT_ONCE_MAX = 16
SHOWN_MAX = 10
REMEDY = (
    "have the DS removed at the parent and wait out its TTL, then remove the zone; if validators no longer rely on it: "
    "--ds-is-gone; nothing was applied"
)


async def check_ds_gone(zones: Iterable[FrontZone], config: Config, now: Callable[[], float]) -> None:
    """Ask the parents of all of these zones; Refused while one has a DS, or cannot be asked."""
    free = asyncio.Semaphore(AT_ONCE_MAX)

    async def one(zone: FrontZone) -> str:
        async with free:
            return await _trouble(zone, config, now)

    found = [why for why in await asyncio.gather(*(one(zone) for zone in zones if _has_parent(zone))) if why]
    if found:
        more = f"; and {len(found) - SHOWN_MAX} more" if len(found) > SHOWN_MAX else ""
        raise Refused("; ".join(found[:SHOWN_MAX]) + more, REMEDY, detail=found)


def _has_parent(zone: FrontZone) -> bool:
    """Tell whether a DS is to be looked for: not for what nobody was ever given, nor where there is no parent."""
    given = zone.serial is not None or zone.held is not None
    return given and not zone.config.parent.none and zone.name != "."


async def _trouble(zone: FrontZone, config: Config, now: Callable[[], float]) -> str:
    """Say why a zone may not be removed ("": it may)."""
    try:
        servers = await parent_servers(zone, config)
    except ParentUnknown as error:
        return f"it is not known whether the parent has a DS of {zone.name}: {error}"
    answers = await ask_all_ds(zone.name, servers, now)
    seen = {f"DS {ds.key_tag} at {answer.server}" for answer in answers for ds in answer.ds or ()}
    if seen:
        return f"the parent of {zone.name} has a DS: {', '.join(sorted(seen)[:SHOWN_MAX])}"
    if not any(answer.ds is not None for answer in answers):
        failures = ", ".join(f"{answer.server}: {answer.failure}" for answer in answers)
        return f"the parent of {zone.name} could not be asked for a DS: {failures}"
    return ""
