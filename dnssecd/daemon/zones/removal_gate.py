"""The gate for removals: a zone must not be removed while its parent has a DS, because it would become bogus."""

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
    "let the parent remove the DS and wait for its TTL, then remove the zone; if validators no longer use "
    "the DS: --ds-is-gone; nothing was applied"
)


async def check_ds_gone(zones: Iterable[FrontZone], config: Config, now: Callable[[], float]) -> None:
    """Query the parents of all these zones; raise Refused if one has a DS, or cannot be queried."""
    free = asyncio.Semaphore(AT_ONCE_MAX)

    async def one(zone: FrontZone) -> str:
        async with free:
            return await why_not_removed(zone, config, now)

    found = [why for why in await asyncio.gather(*(one(zone) for zone in zones)) if why]
    if found:
        more = f"; and {len(found) - SHOWN_MAX} more" if len(found) > SHOWN_MAX else ""
        raise Refused("; ".join(found[:SHOWN_MAX]) + more, REMEDY, detail=found)


def _has_parent(zone: FrontZone) -> bool:
    """Tell whether to look for a DS: not for a zone that was never published, nor without parent."""
    given = zone.serial is not None or zone.held is not None
    return given and not zone.config.parent.none and zone.name != "."


async def why_not_removed(zone: FrontZone, config: Config, now: Callable[[], float]) -> str:
    """Return why a zone must not be removed ("": it may)."""
    if not _has_parent(zone):
        return ""
    try:
        servers = await parent_servers(zone, config)
    except ParentUnknown as error:
        return f"it is unknown whether the parent has a DS of {zone.name}: {error}"
    answers = await ask_all_ds(zone.name, servers, now)
    seen = {f"DS {ds.key_tag} at {answer.server}" for answer in answers for ds in answer.ds or ()}
    if seen:
        return f"the parent of {zone.name} has a DS: {', '.join(sorted(seen)[:SHOWN_MAX])}"
    if not any(answer.ds is not None for answer in answers):
        failures = ", ".join(f"{answer.server}: {answer.failure}" for answer in answers)
        return f"the parent of {zone.name} could not be queried for a DS: {failures}"
    return ""
