"""Notify secondaries of versions: of jobs, of updates, and of zones that are served again or no longer served."""

from collections.abc import Mapping

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.dns.rrtypes import SOA
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.pipeline.version.apex import soa_rdata
from dnssecd.publish.notify import Goal, Notifier, ZoneServers
from dnssecd.server.acl import Address
from dnssecd.store.errors import StoreError


class Publisher:
    """Drives the notifier. Belongs to the event loop."""

    def __init__(
        self, zones: Mapping[bytes, FrontZone], notifier: Notifier, events: EventCore, mailbox: Mailbox
    ) -> None:
        """zones: by origin."""
        self._zones, self._notifier, self._events = zones, notifier, events
        mailbox.published.subscribe(self.publish)
        mailbox.committed.subscribe(self.announce)
        mailbox.expiry_changed.subscribe(self._expiry_changed)
        mailbox.withheld.subscribe(self._withdraw)

    def followed(self, zone: FrontZone) -> bool:
        """Tell whether the configured servers are followed."""
        return zone.servers is not None and zone.servers.follows(zone.secondaries, zone.watched)

    def publish(self, zone: FrontZone, *, resume: bool = False) -> None:
        """Send NOTIFY for the served version, and follow the secondaries until they have it.

        resume: it was published before this start; secondaries that have it get no NOTIFY. Its database is not opened
        for the SOA: with thousands of zones that took a fifth of the processor time after a start.
        """
        if zone.expired or zone.gone or not zone.owned:
            return
        if resume and zone.serial is not None:
            self._follow(zone, Goal(zone.serial), resume=True)
            return
        if zone.first is not None:
            ttl, rdata = zone.first.soa
            self.announce(zone, zone.first.committed.serial, RRset(APEX, SOA, ttl, rdata))
            return
        try:
            with zone.database.snapshot() as snapshot:
                soa = snapshot.rrset(APEX, SOA)
                serial = snapshot.serial
        except (StoreError, OSError) as error:
            self._events.raise_event("store-failed", zone.name, str(error))
            return
        assert soa is not None
        self.announce(zone, serial, soa)

    def announce(self, zone: FrontZone, serial: int, soa: RRset, asked_at: float | None = None) -> None:
        """Send NOTIFY for a version that was just committed; its SOA is given.

        asked_at: when the first client asked for it (monotonic, seconds), if it was made of updates.
        """
        if zone.gone or not zone.owned:  # the owner notifies: secondaries may transfer from any node
            return
        self._follow(zone, Goal(serial, soa_rdata(soa), soa.ttl), asked_at)

    def _follow(
        self, zone: FrontZone, goal: Goal, asked_at: float | None = None, *, resume: bool = False
    ) -> None:
        if zone.servers is None:
            zone.servers = ZoneServers(zone.name, self._notifier)
        zone.servers.published(goal, zone.secondaries, zone.watched, resume=resume, asked_at=asked_at)

    def fetched(self, origin: bytes, address: Address, serial: int) -> None:
        """Note that a version was sent to a server."""
        zone = self._zones.get(origin)
        if zone is not None and zone.servers is not None:
            zone.servers.fetched(str(address), serial)

    def _withdraw(self, zone: FrontZone) -> None:
        if zone.servers is not None:
            zone.servers.withdraw()

    def _expiry_changed(self, zone: FrontZone) -> None:
        if zone.gone:
            return
        if zone.expired:
            self._withdraw(zone)
        elif zone.serial is not None:
            self.publish(zone)
