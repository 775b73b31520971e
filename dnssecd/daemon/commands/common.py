"""What commands on a zone have in common: which zone, which file, how long it takes, and why it was not done."""

import asyncio
import os
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from dnssecd.control.command import Call, Refused
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.pipeline.jobs.outcome import Outcome

T = TypeVar("T")

#: Whoever waits hears this often (s) that long work goes on.
TELL_S = 5.0


def zone_of(zones: Mapping[str, FrontZone], name: str) -> FrontZone:
    """Return the zone with a name, in any case, with or without the final dot; Refused."""
    name = name.lower()
    name = name if name.endswith(".") else name + "."
    zone = zones.get(name)
    if zone is None:
        raise Refused(f"this daemon has no zone {name}", "dnssecd zone list shows those it has")
    return zone


def configured_zone_of(zones: Mapping[str, FrontZone], name: str) -> FrontZone:
    """Return the zone with a name; Refused, also for one that the configuration does not have."""
    zone = zone_of(zones, name)
    if zone.orphan:
        raise Refused(f"{zone.name} is not in the configuration", "put it back there first")
    return zone


def octets_of(path: Path) -> int:
    """Return the size of a file that the daemon is to read; Refused where it cannot."""
    if not path.is_absolute():
        raise Refused(f"{path} is not an absolute path", "the daemon has another directory than you", exit=2)
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_size
    except OSError as error:
        raise Refused(
            f"the daemon cannot read {path}: {error.strerror}",
            "the daemon reads the file itself: put it where its user may",
        ) from None


def refusal(outcome: Outcome, besides: str = "") -> Refused:
    """Return how a job that made no version is told of."""
    problem = outcome.problems[0]
    remedy = problem.remedy or "see the daemon's log"
    return Refused(problem.cause, remedy + besides, detail=list(outcome.violations))


async def patiently(call: Call[Any], work: Coroutine[Any, Any, T], text: str) -> T:
    """Wait for long work, telling who waits every few seconds that it goes on; ends the work when they leave."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=TELL_S)
            if not task.done():
                await call.progress(0, None, text)
        return await task
    finally:
        task.cancel()
