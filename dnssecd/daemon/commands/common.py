"""Helpers for commands on zones: find zone and file, report progress, and say why a job made no version."""

import asyncio
import os
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from dnssecd.control.command import Call, Refused
from dnssecd.core.dns.names import full_name
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.pipeline.jobs.outcome import Outcome

T = TypeVar("T")

#: A waiting client gets a progress report at this interval (s).
TELL_S = 5.0


def zone_of(zones: Mapping[str, FrontZone], name: str) -> FrontZone:
    """Return the zone with a name, in any case, with or without the final dot; raise Refused."""
    name = full_name(name)
    zone = zones.get(name)
    if zone is None:
        raise Refused(f"this daemon has no zone {name}", "dnssecd zone list shows the zones of this daemon")
    return zone


def configured_zone_of(zones: Mapping[str, FrontZone], name: str) -> FrontZone:
    """Return the zone with a name; raise Refused, also for a zone that is not in the configuration."""
    zone = zone_of(zones, name)
    if zone.orphan:
        raise Refused(f"{zone.name} is not in the configuration", "put it back there first")
    return zone


def octets_of(path: Path) -> int:
    """Return the size of a file that the daemon must read; raise Refused if it cannot."""
    if not path.is_absolute():
        raise Refused(
            f"{path} is not an absolute path",
            "the daemon's working directory differs from yours; give an absolute path",
            exit=2,
        )
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_size
    except OSError as error:
        raise Refused(
            f"the daemon cannot read {path}: {error.strerror}",
            "the daemon reads the file itself: put it where the daemon's user may read it",
        ) from None


def refusal(outcome: Outcome, besides: str = "") -> Refused:
    """Return the refusal for a job that made no version."""
    problem = outcome.problems[0]
    remedy = problem.remedy or "see the daemon's log"
    return Refused(problem.cause, remedy + besides, detail=list(outcome.violations))


async def patiently(call: Call[Any], work: Coroutine[Any, Any, T], text: str) -> T:
    """Wait for long work, with a progress report every few seconds; end the work if the client leaves."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=TELL_S)
            if not task.done():
                await call.progress(0, None, text)
        return await task
    finally:
        task.cancel()
