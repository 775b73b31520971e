"""DS automation as the daemon runs it: it hears of every plan of the roll-over engine, and leaves its marks."""

import asyncio
from collections.abc import Callable, Mapping

from dnssecd.clock import Clock
from dnssecd.config.model import Config
from dnssecd.core.dns.serial import is_after
from dnssecd.core.keys.evidence import Evidence
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.types import Plan
from dnssecd.daemon.commands.history import OURSELVES, Acts
from dnssecd.daemon.parent.automation import DsAutomation
from dnssecd.daemon.parent.channels import Count, parent_of
from dnssecd.daemon.rollover.engine import RolloverListener
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore


class DsOffice(RolloverListener):
    """One per daemon. ``config`` gives the configuration in force."""

    def __init__(
        self,
        config: Callable[[], Config],
        zones: Mapping[str, FrontZone],
        events: EventCore,
        clock: Clock,
        acts: Acts,
        count: Count,
        listeners: list[RolloverListener],
        mailbox: Mailbox,
    ) -> None:
        """count: (way, "done" or "failed"), for metrics. listeners: those of the rollover engine."""
        self._config, self._zones, self._acts = config, zones, acts
        self.automation = DsAutomation(events, clock, count=count, history=self._remember)
        self._writing: set[asyncio.Task[None]] = set()
        listeners.append(self)
        mailbox.ds_overdue.subscribe(lambda zone: self.automation.ds_overdue(zone.name))
        mailbox.removed.subscribe(self.forget)

    def planned(self, zone: FrontZone, keyset: Keyset, plan: Plan, evidence: Evidence) -> float | None:
        """Tell what the zone's keys want of the parent, and what its servers were seen to have."""
        parent = parent_of(self._config(), zone.config)
        self.automation.ds_wanted(zone.name, keyset, parent, public=cds_public(keyset, evidence))
        self.automation.ds_seen(zone.name, evidence.parents)
        return None

    def forget(self, zone: FrontZone) -> None:
        """Drop a zone that was removed."""
        self.automation.forget(zone.name)

    async def close(self) -> None:
        """Stop everything."""
        await self.automation.close()
        await asyncio.gather(*self._writing, return_exceptions=True)

    def _remember(self, name: str, what: str, detail: str) -> None:
        """Put what was done outside into the zone's history; the log has it too."""
        if name in self._zones:
            noting = self._acts.note("dnssecd", OURSELVES, what, detail, [name])
            task = asyncio.get_running_loop().create_task(noting)
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)


def cds_public(keyset: Keyset, evidence: Evidence) -> bool:
    """Tell whether every secondary was seen to serve the CDS that go with the last changes of DS."""
    serials = [key.ds.serial for key in keyset.keys if key.ds.serial is not None]
    return all(
        sight.serial is not None and not is_after(serial, sight.serial)
        for serial in serials
        for sight in evidence.secondaries
    )
