"""Report served zones whose databases cannot be opened: requests for them are answered SERVFAIL."""

import asyncio
from contextlib import suppress

from dnssecd.daemon.zones.databases import Databases
from dnssecd.daemon.zones.machine import State
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.store.errors import StoreError

ROUND_S = 10.0
#: Apart from the event of a job that cannot write the database.
SUBJECT = "reading"
EFFECT = "dnssecd answers SERVFAIL for the zone; the secondaries serve their present version until it expires"
REMEDY = "check owner and mode of the file, and the disk; the zone is served again as soon as the file can be opened"


class UnreadableZones:
    """Belongs to the event loop."""

    def __init__(self, databases: Databases[FrontZone], events: EventCore) -> None:
        self._databases, self._events = databases, events
        self._reported: set[FrontZone] = set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(ROUND_S)
            await self.round()

    async def round(self) -> None:
        """Try those that could not be opened again, and report what changed."""
        for zone in self._faults():
            with suppress(StoreError, OSError):
                await asyncio.to_thread(getattr, zone, "database")
        faults = self._faults()
        for zone, cause in faults.items():
            self._events.raise_event(
                "store-failed", zone.name, cause, subject=SUBJECT, effect=EFFECT, remedy=REMEDY
            )
        for zone in self._reported - faults.keys():
            self._events.resolve("store-failed", zone.name, SUBJECT)
        self._reported = set(faults)

    def _faults(self) -> dict[FrontZone, str]:
        """Return the served zones with such a database; for others, their jobs say why they are not served."""
        faults = self._databases.faults()
        return {zone: cause for zone, cause in faults.items() if zone.state is State.SERVED and not zone.gone}
