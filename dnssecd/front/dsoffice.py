"""DS automation as the daemon runs it: it hears of every plan of the roll-over engine, and leaves its marks."""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping

import structlog

from dnssecd.clock import Clock
from dnssecd.config.model import Config
from dnssecd.core.evidence import Evidence
from dnssecd.core.keyset import Keyset
from dnssecd.core.rollover_types import Plan
from dnssecd.core.serial import is_after
from dnssecd.front.dsautomation import DsAutomation
from dnssecd.front.dsways import Count, parent_of
from dnssecd.front.rollover import RolloverListener
from dnssecd.front.zone import FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.store.errors import StoreError

log = structlog.get_logger("dnssecd.ds")


class DsOffice(RolloverListener):
    """One per daemon: to be put among the roll-over engine's listeners. ``config`` gives the one in force."""

    def __init__(
        self,
        config: Callable[[], Config],
        zones: Mapping[str, FrontZone],
        events: EventCore,
        clock: Clock,
        count: Count = lambda way, result: None,
    ) -> None:
        """count: (way, "done" or "failed"), for metrics."""
        self._config, self._zones, self._clock = config, zones, clock
        self.automation = DsAutomation(events, clock, count=count, history=self._remember)
        self._seen = config()
        self._writing: set[asyncio.Task[None]] = set()

    def planned(self, zone: FrontZone, keyset: Keyset, plan: Plan, evidence: Evidence) -> float | None:
        """Tell what the zone's keys want of the parent, and what its servers were seen to have."""
        config = self._config()
        if config is not self._seen:  # zones go with a change of configuration only
            self._seen = config
            for gone in self.automation.zones - self._zones.keys():
                self.automation.forget(gone)
        parent = parent_of(config, zone.config)
        self.automation.ds_wanted(zone.name, keyset, parent, public=cds_public(keyset, evidence))
        self.automation.ds_seen(zone.name, evidence.parents)
        return None

    async def close(self) -> None:
        """Stop everything."""
        await self.automation.close()
        await asyncio.gather(*self._writing, return_exceptions=True)

    def _remember(self, name: str, what: str, detail: str) -> None:
        """Put what was done outside into the zone's history; the log has it too."""
        zone = self._zones.get(name)
        if zone is not None:
            task = asyncio.get_running_loop().create_task(self._write(zone, what, detail))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    async def _write(self, zone: FrontZone, what: str, detail: str) -> None:
        try:
            await asyncio.to_thread(
                zone.database.record, int(self._clock.now()), "dnssecd", what, detail, zone.serial
            )
        except (StoreError, sqlite3.Error, OSError) as error:
            log.warning("history not written", zone=zone.name, what=what, cause=str(error))


def cds_public(keyset: Keyset, evidence: Evidence) -> bool:
    """Tell whether every secondary was seen to serve the CDS that go with the last changes of DS."""
    serials = [key.ds.serial for key in keyset.keys if key.ds.serial is not None]
    return all(
        sight.serial is not None and not is_after(serial, sight.serial)
        for serial in serials
        for sight in evidence.secondaries
    )
