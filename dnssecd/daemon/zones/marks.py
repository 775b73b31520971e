"""Keep the catalogue's marks of the databases correct while jobs, updates and sightings write to them.

An outdated mark only costs work: the next start verifies that zone before it serves it. So marks are taken
shortly after a write, for all zones written meanwhile, and again at the end, when all databases are closed.
"""

import asyncio
from collections.abc import Mapping

import structlog

from dnssecd.daemon.zones.databases import Databases
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.store.catalogue import Catalogue
from dnssecd.store.errors import StoreError

ROUND_S = 2.0
#: A worker moves its commits into the main file when it has been idle for a moment; a file that is unchanged
#: for this many rounds is at rest.
RESTING_ROUNDS = 5
_AT_ONCE = 100

log = structlog.get_logger("dnssecd.store")


class MarkKeeper:
    """Takes the marks. ``zones``: all there are."""

    def __init__(
        self,
        zones: Mapping[str, FrontZone],
        databases: Databases[FrontZone],
        catalogue: Catalogue,
        mailbox: Mailbox,
    ) -> None:
        self._zones = zones
        self._databases, self._catalogue = databases, catalogue
        #: Zones whose databases were recently written, and for how many rounds they have been unchanged.
        self._moving: dict[FrontZone, int] = {}
        mailbox.remembered.subscribe(self.note)

    def note(self, zone: FrontZone) -> None:
        """Watch a zone whose database a job has written, or may have written."""
        self._moving[zone] = 0

    async def run(self) -> None:
        """Take marks until cancelled."""
        while True:
            await asyncio.sleep(ROUND_S)
            if await self.round():
                try:
                    await asyncio.to_thread(self._catalogue.sync)
                except (
                    StoreError
                ) as error:  # it is on the disk later; a lost mark costs work at the next start
                    log.warning("the catalogue is not on the disk yet", cause=str(error))

    async def round(self) -> int:
        """Take the marks of recently written zones; return how many were new."""
        for zone in self._databases.written():
            self._moving[zone] = 0
        taken = 0
        for number, zone in enumerate(list(self._moving), 1):
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
            taken += self._take(zone)
        return taken

    def _take(self, zone: FrontZone) -> bool:
        if not zone.gone and self._put(zone):
            self._moving[zone] = 0
            return True
        rounds = self._moving.get(zone, 0) + 1
        if zone.gone or rounds >= RESTING_ROUNDS:
            self._moving.pop(zone, None)
        else:
            self._moving[zone] = rounds
        return False

    def _put(self, zone: FrontZone) -> bool:
        if zone.serial is None or zone.doubt is not None:
            return False
        try:
            found = zone.mark_now()
        except OSError:
            return False
        if found == zone.mark:
            return False
        self._catalogue.put(zone.catalogue_entry())
        return True

    def finish(self) -> None:
        """Take all marks, after all databases were closed."""
        for zone in self._zones.values():
            self._put(zone)
