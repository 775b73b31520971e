"""DS automation in the daemon: it listens to every plan of the rollover engine, and writes history and events."""

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
from dnssecd.store.event_log import Event


class DsService(RolloverListener):
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
        lease_runs: Callable[[], bool],
    ) -> None:
        """Take the interfaces.

        count: (channel, "done" or "failed"), for metrics. listeners: those of the rollover engine. lease_runs: no other
        node owns zones of this one.
        """
        self._lease_runs = lease_runs
        self._config, self._zones, self._acts = config, zones, acts
        self.automation = DsAutomation(
            events, clock, count=count, history=self._remember, may_act=self._may_act
        )
        self._writing: set[asyncio.Task[None]] = set()
        listeners.append(self)
        mailbox.ds_overdue.subscribe(self.automation.ds_overdue)
        mailbox.disowned.subscribe(self.automation.forget)

    def planned(self, zone: FrontZone, keyset: Keyset, plan: Plan, evidence: Evidence) -> float | None:
        """Report the DS that the zone's keys need, and the DS that the parent's servers were seen to have."""
        if not zone.owned:  # the plan was made before another node took the zone over
            return None
        parent = parent_of(self._config(), zone.config)
        self.automation.ds_wanted(zone, keyset, parent, public=cds_public(keyset, evidence))
        self.automation.ds_seen(zone, evidence.parents)
        return None

    def _may_act(self, name: str) -> bool:
        """Tell whether no other node acts for a zone: a paused owner learns only later that it was replaced."""
        zone = self._zones.get(name)
        return zone is not None and zone.owned and self._lease_runs()

    def details(self, event: Event) -> str:
        """Return the text for an event's mail; "" for events that are not about DS. Any thread may call it."""
        zone = self._zones.get(event.zone)
        return "" if zone is None else self.automation.details(zone, event)

    async def close(self) -> None:
        """Stop everything."""
        await self.automation.close()
        await asyncio.gather(*self._writing, return_exceptions=True)

    def _remember(self, name: str, what: str, detail: str) -> None:
        """Write an action at the parent into the zone's history and the log."""
        if name in self._zones:
            noting = self._acts.note("dnssecd", OURSELVES, what, detail, [name])
            task = asyncio.get_running_loop().create_task(noting)
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)


def cds_public(keyset: Keyset, evidence: Evidence) -> bool:
    """Tell whether every secondary was seen to serve the CDS for the last changes of DS."""
    serials = [key.ds.serial for key in keyset.keys if key.ds.serial is not None]
    return all(
        sight.serial is not None and not is_after(serial, sight.serial)
        for serial in serials
        for sight in evidence.secondaries
    )
