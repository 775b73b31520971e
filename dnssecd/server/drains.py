"""Zones whose transfers wait for a moment, so that the store can tidy up: a transfer holds the version that it sends.

While such versions overlap, a store that keeps what is written in a log can never begin that log again. What a
secondary that follows updates asks for is made and let go at once; it never waits.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import IntEnum

from dnssecd.server.interfaces import ServedZone
from dnssecd.server.transfer import AT_ONCE_OCTETS, TransferJob

#: A difference of more octets is a long transfer.
LONG_OCTETS = 1 << 20


class Shut(IntEnum):
    """Which transfers wait."""

    LONG = 1
    ALL = 2


@dataclass(eq=False, slots=True)
class _Drain:
    """``zone`` is the object: a zone that comes back under the same name is another one."""

    zone: ServedZone
    shut: Shut
    opened: asyncio.Event = field(default_factory=asyncio.Event)


class Drains:
    """Belongs to the event loop's thread. Most of the time no transfer waits."""

    def __init__(self) -> None:
        self._drains: list[_Drain] = []

    @property
    def zones(self) -> list[ServedZone]:
        """The zones whose transfers wait."""
        return [drain.zone for drain in self._drains]

    def shut(self, zone: ServedZone, shut: Shut) -> None:
        """Let new transfers of a zone wait, until :meth:`open`."""
        drain = self._of(zone)
        if drain is None:
            self._drains.append(_Drain(zone, shut))
        else:
            drain.shut = shut

    def open(self, zone: ServedZone) -> None:
        """Let transfers of a zone begin."""
        drain = self._of(zone)
        if drain is not None:
            self._drains.remove(drain)
            drain.opened.set()

    async def passed(self, job: TransferJob, wait_s: float) -> bool:
        """Wait until a transfer may begin; tell whether it may."""
        drain = self._of(job.zone)
        if drain is None or _octets(job) <= (AT_ONCE_OCTETS if drain.shut is Shut.ALL else LONG_OCTETS):
            return True
        try:
            async with asyncio.timeout(wait_s):
                await drain.opened.wait()
        except TimeoutError:
            return False
        return True

    def _of(self, zone: ServedZone) -> _Drain | None:
        return next((drain for drain in self._drains if drain.zone is zone), None)


def _octets(job: TransferJob) -> float:
    """Return how much a transfer has to send: without end where that is the zone, or is not known."""
    try:
        octets = job.difference_octets()
    except Exception:  # the transfer itself meets it again, and reports it
        octets = None
    return float("inf") if octets is None else octets
