"""Group commit: several updates are applied one after another, and a single new version is made of them all.

Each message sees the changes of the earlier ones, and a failure affects one message only. A client sees no
difference from updates that are committed one by one: every message that changes something increases the SOA
serial, so a prerequisite on an SOA that another client has changed fails.
"""

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.dns.rrtypes import SOA
from dnssecd.core.dns.serial import increment
from dnssecd.core.update.apply import apply_update
from dnssecd.core.update.structure import Cuts
from dnssecd.core.update.types import UpdateMessage, UpdatePolicy, UpdateResult, soa_serial
from dnssecd.core.zone.changeset import Change
from dnssecd.core.zone.overlay import Overlay
from dnssecd.core.zone.zoneview import ZoneView


class UpdateGroup:
    """The updates that go into one version.

    ``view`` is the zone with all of them. ``client_serial`` is the last serial a client has set, None if none
    has. ``owners_delta``: owner names added minus removed. ``names``: an upper bound of the names of the
    denial chain that they change. ``ttl_max``: the largest TTL in them, seconds.
    """

    def __init__(self, base: ZoneView) -> None:
        self.view = Overlay(base)
        self.client_serial: int | None = None
        self.owners_delta = 0
        self.names = 0
        self.ttl_max = 0
        self._cuts = Cuts(self.view)

    def apply(self, message: UpdateMessage, policy: UpdatePolicy) -> UpdateResult:
        """Apply one message; a message that fails changes nothing."""
        result = apply_update(self.view, message, policy, self._cuts)
        if result.rcode or result.is_noop:
            return result
        soa = result.soa
        if soa is None:
            soa = _next(self.soa)
        else:
            self.client_serial = soa_serial(soa)
        self.view.apply([*result.changes, Change(APEX, SOA, None, soa)])
        self._cuts.forget(result.changes)
        self.owners_delta += result.owners_delta
        self.names += result.names
        ttls = [change.new.ttl for change in result.changes if change.new is not None]
        self.ttl_max = max(self.ttl_max, soa.ttl, *ttls)
        return result

    @property
    def soa(self) -> RRset:
        """Return the SOA RRset; its serial is for comparison inside the group only."""
        soa = self.view.rrset(APEX, SOA)
        assert soa is not None, "a zone that takes updates has an SOA"
        return soa

    def changes(self) -> list[Change]:
        """Return the net changes of content without the SOA, ordered by (owner, type)."""
        return [change for change in self.view.changes() if change.owner or change.rtype != SOA]


def _next(soa: RRset) -> RRset:
    serial = increment(soa_serial(soa)).to_bytes(4, "big")
    return soa._replace(rdata=soa.rdata[:-20] + serial + soa.rdata[-16:])
